"""Judging a bundle again, on the machine that runs it: ``edgefuse check``. Needs numpy and one vendor library."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from edgefuse import child
from edgefuse.backends import Runner, load_backend
from edgefuse.bundle import Bundle
from edgefuse.check import REFERENCE, Judge, compare_stages, judge_accuracy, latency_json, make_judge
from edgefuse.device_state import measure_energy, watched
from edgefuse.errors import RecipeError
from edgefuse.gates import COMPILED
from edgefuse.golden import check_golden, first_feeds, read_golden
from edgefuse.latency import Latency, measure
from edgefuse.machine import environment
from edgefuse.manifest import GOLDEN
from edgefuse.metrics import METRICS, SQNR, load_metric
from edgefuse.precision import FLOAT
from edgefuse.progress import Steps
from edgefuse.recipe import Accuracy, Limit
from edgefuse.report import FORMAT, overall_verdict
from edgefuse.robustness import check_options, measure_robustness
from edgefuse.robustness.cases import Options
from edgefuse.runtime import open_float, open_runner
from edgefuse.verdict import Verdict, combine

NO_FLOAT = "the bundle holds no float graph"
NO_ENGINE = "an engine of the float graph takes minutes to build; edgefuse compile BUNDLE measures it"


def check_bundle(
    bundle: Bundle,
    steps: Steps,
    *,
    max_drop: Limit | None = None,
    p90_ms: float | None = None,
    metrics_folder: Path | None = None,
    robustness: Options | None = None,
) -> dict[str, Any]:
    """Accuracy on the golden samples, fidelity and latency of the bundle here, against its own limits or given ones;
    and with *robustness*, whether it loses more than the float model where a sensor's data are corrupted or absent.

    A custom metric is the user's Python file, which a bundle does not carry: *metrics_folder* says where it lies.
    """
    judge = stored_judge(bundle, max_drop, metrics_folder)
    limit_ms = p90_ms if p90_ms is not None else bundle.manifest["limits"]["p90_ms"]
    golden = bundle.path / GOLDEN
    check_golden(golden, bundle.spec, judge.labelled)
    if robustness is not None:
        check_options(bundle, robustness)
    with steps.step("First inference"):
        child.call("edgefuse.probe:run_bundle_once", {"path": str(bundle.path)}, what="Running the bundle once")
    arms = {COMPILED: open_runner(bundle), "again": open_runner(bundle)}
    pair = (REFERENCE, COMPILED)
    with steps.step("Checking accuracy"):
        comparison = compare_stages(read_golden(golden), {COMPILED: arms[COMPILED]}, judge, [pair])[pair]
    with steps.step("Measuring latency"), watched() as device_state:
        feeds = first_feeds(golden)
        quick = load_backend(bundle.manifest["artifact"]["backend"]).QUICK
        if quick and FLOAT in bundle.graphs:
            arms = {FLOAT: open_float(bundle), **arms}
        latency = latency_json(measure(arms, feeds), limit_ms, NO_FLOAT if quick else NO_ENGINE)
    device_state["energy"] = measure_energy(lambda: arms[COMPILED](feeds[0]))
    accuracy = {**judge_accuracy(comparison, pair, judge), "emulated": False}
    verdicts, fragile = [overall_verdict([], accuracy, latency)], {}
    if robustness is not None:
        fragile["robustness"] = _robustness(bundle, judge, arms[COMPILED], steps, robustness)
        verdicts += [Verdict(found) for found in [fragile["robustness"]["verdict"]] if found is not None]
    return {
        "format": FORMAT,
        "verdict": combine(verdicts).value,
        "name": bundle.manifest["name"],
        "plan": bundle.manifest["plan"],
        "accuracy": [accuracy],
        "fidelity": [item.to_json() for item in comparison.fidelities.values()],
        "latency": latency,
        "device_state": device_state,
        **fragile,
        "stages": steps.to_json(),
        "environment": environment(),
    }


def measure_latency(bundle: Bundle) -> dict[str, Latency]:
    """The bundle on its first golden samples, and in turns with it the same once more ("again"): how far this machine's
    own noise goes. Raises as :func:`edgefuse.runtime.open_runner`."""
    with ExitStack() as stack:
        arms = {name: stack.enter_context(closing(open_runner(bundle))) for name in (COMPILED, "again")}
        return measure(arms, first_feeds(bundle.path / GOLDEN))


def _robustness(bundle: Bundle, judge: Judge, compiled: Runner, steps: Steps, options: Options) -> dict[str, Any]:
    with steps.step("The float model"):
        reference = open_float(bundle)
    try:
        return measure_robustness(bundle, judge, reference, compiled, steps, options)
    finally:
        reference.close()


def stored_judge(bundle: Bundle, max_drop: Limit | None, metrics_folder: Path | None) -> Judge:
    """The bundle's own rule for accuracy, with another limit where one is given."""
    stored = dict(bundle.manifest["limits"]["accuracy"])
    limit = max_drop or Limit(**stored.pop("max_drop"))
    accuracy = Accuracy(**{**stored, "max_drop": limit})
    if accuracy.metric == SQNR:
        return make_judge(accuracy, None, bundle.spec.outputs)
    if accuracy.metric not in METRICS and metrics_folder is None:
        raise RecipeError(
            f"the metric {accuracy.metric!r} is code of yours, which a bundle does not carry",
            where=str(bundle.shown),
            hint="Add --recipe with the recipe that the bundle was made from.",
        )
    return make_judge(accuracy, load_metric(accuracy.metric, metrics_folder or Path()), bundle.spec.outputs)
