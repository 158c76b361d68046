"""Everything up to the compiled artifacts, each step in a process of its own so that its time and memory are its own.

As ``python -m peers.build STEP FOLDER`` it is that process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from peers import arm_edgefuse
from peers.arms import ARMS, OURS
from peers.case import Case, digits_recipes
from peers.cost import Cost, watch

HERE = Path(__file__).resolve().parent
PREPARE_S = 1800.0
EXPORT = "export"


def prepare_case(name: str, cache: Path) -> Case:
    """The case called *name*, its float model trained or loaded, its reference answers and ONNX graph written."""
    folder = cache / name
    recipe = digits_recipes().get(name, folder / "recipe.toml")
    case = Case(name, folder.resolve(), recipe.resolve())
    case.write()
    # Not measured, so not as torch comes: its threads spin when they wait, which costs 20-fold where cores are busy.
    _step("prepare", case, PREPARE_S, {"GOMP_SPINCOUNT": "0"})
    return case


def export_case(case: Case) -> Cost:
    """What the export to ONNX costs, by EdgeFuse's exporter: the graph that all ONNX peers are given."""
    return _kept(case.arm(EXPORT), _step(EXPORT, case, PREPARE_S))


def build_arm(name: str, case: Case, timeout_s: float) -> Cost:
    """Make the artifact of an arm; raises ``Failed``. What it cost stays in the arm's folder."""
    folder = case.arm(name)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    if name == OURS:
        cost = watch(arm_edgefuse.command(case, folder), log, timeout_s, tool_path(), arm_edgefuse.EXIT_INCONCLUSIVE)
    else:
        cost = watch([sys.executable, "-m", "peers.build", name, str(case.folder)], log, timeout_s, tool_path())
    return _kept(folder, cost)


def _kept(folder: Path, cost: Cost) -> Cost:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cost.json").write_text(json.dumps(vars(cost)))
    return cost


def built_before(name: str, case: Case) -> Cost | None:
    path = case.arm(name) / "cost.json"
    return Cost(**json.loads(path.read_text())) if path.exists() else None


def _step(step: str, case: Case, timeout_s: float, environment: Mapping[str, str] | None = None) -> Cost:
    command = [sys.executable, "-m", "peers.build", step, str(case.folder)]
    return watch(command, case.folder / f"{step}.log", timeout_s, {**tool_path(), **(environment or {})})


def tool_path() -> dict[str, str]:
    """PYTHONPATH with the folder of this package and EdgeFuse's."""
    folders = [str(HERE.parent), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, folders))}


def prepare(case: Case) -> None:
    from edgefuse.calibration import open_calibration
    from edgefuse.export import load_source
    from edgefuse.golden import write_golden

    if case.name in digits_recipes():
        _export_digits(case)
    else:
        import fusion_models

        fusion_models.prepare(case.name, case.folder.parent)
    if case.golden.exists() and case.golden.stat().st_mtime > case.model.stat().st_mtime:
        return
    source = load_source(case.model, case.recipe)
    samples = open_calibration(case.recipe.calibration, source.spec, case.recipe.accuracy.label)
    write_golden(case.golden, samples.golden, source.runner)


def _export_digits(case: Case) -> None:
    """A shipped recipe's factory and weights as the same kind of file that the other models come in."""
    import importlib.util

    import torch

    assert case.recipe.model.factory is not None and case.recipe.model.weights is not None
    if case.model.exists():
        return
    file, _, function = case.recipe.model.factory.rpartition(":")
    spec = importlib.util.spec_from_file_location("factory", case.recipe.folder / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = getattr(module, function)()
    model.load_state_dict(torch.load(case.recipe.model.weights, weights_only=True))
    feed = next(case.calibrate.feeds())
    example = {name: torch.from_numpy(array) for name, array in feed.items()}
    torch.export.save(torch.export.export(model.eval(), (), example), case.model)


def export(case: Case) -> None:
    from edgefuse.export import load_source

    load_source(case.model, case.recipe).export(case.onnx)


def main() -> None:
    step, folder = sys.argv[1], Path(sys.argv[2])
    case = Case.read(folder)
    if step in ARMS:
        ARMS[step].make(case, case.arm(step))
    else:
        {"prepare": prepare, EXPORT: export}[step](case)


if __name__ == "__main__":
    main()
