"""Our INT8 placement for TensorRT against NVIDIA ModelOpt's and onnxruntime's: fidelity, accuracy, what a tool costs.

    python benchmarks/placements.py [--modelopt-python PATH] [RECIPE or MODEL …]

Same float graph, same calibration samples, same held-out samples; every tool in a process of its own. No GPU: outputs
are what onnxruntime computes with Q and DQ as written, kernels are what TensorRT-RTX chooses when it builds.

This file is also that process, so whatever is heavy is imported where it is used: imports are a part of the cost.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from edgefuse import child
from edgefuse.backends import load_backend
from edgefuse.calibration import open_calibration
from edgefuse.errors import EdgeFuseError
from edgefuse.fidelity import Fidelity
from edgefuse.golden import read_golden, write_golden
from edgefuse.metrics import load_metric
from edgefuse.recipe import CalibrationSource, Recipe, read_recipe
from edgefuse.resources import shipped_names
from edgefuse.spec import Array, Feed, ModelSpec

COMPUTE_CAPABILITY = "8.6"
"""The nearest to Orin's 8.7 that TensorRT-RTX builds for."""
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SHOWN_CHARACTERS = 200
HERE = Path(__file__).resolve()

HOW_TO_INSTALL = """\
ModelOpt is not installed. It pins other releases of onnx and onnxruntime, so give it an environment that borrows ours:
    python -m venv ~/modelopt
    ours=$(python -c 'import site; print(site.getsitepackages()[0])')
    echo "import site; site.addsitedir('$ours')" > $(echo ~/modelopt/lib/python3.*/site-packages)/borrowed.pth
    ~/modelopt/bin/python -m pip install --no-deps nvidia-modelopt==0.47.0 onnx-graphsurgeon onnxslim polygraphy \\
        onnxconverter-common lief cppimport pulp omegaconf nvidia-ml-py tqdm
    python benchmarks/placements.py --modelopt-python ~/modelopt/bin/python
"""

Quantize = Callable[[Path, Mapping[str, Array], Path], object]
"""``(float graph, name → samples (n, …), INT8 graph to write)``."""


def feeds(samples: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    for index in range(len(next(iter(samples.values())))):
        yield {name: array[index : index + 1] for name, array in samples.items()}


def edgefuse_int8() -> Quantize:
    from edgefuse.quantize import quantize_int8

    return lambda graph, samples, out: quantize_int8(graph, out, feeds(samples), "tensorrt")


def edgefuse_int8_fp16() -> Quantize:
    from edgefuse.quantize import quantize_int8
    from edgefuse.quantize.fp16 import observe_floats, to_fp16

    def quantize(graph: Path, samples: Mapping[str, Array], out: Path) -> None:
        int8 = out.with_name("int8.onnx")
        quantize_int8(graph, int8, feeds(samples), "tensorrt")
        to_fp16(int8, out, observe_floats(graph, feeds(samples)))

    return quantize


def modelopt(method: str, glue: str, **settings: Any) -> Quantize:
    from modelopt.onnx.quantization import quantize

    return lambda graph, samples, out: quantize(
        str(graph),
        quantize_mode="int8",
        calibration_data=dict(samples),
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype=glue,
        output_path=str(out),
        **settings,
    )


class Reader:
    """onnxruntime's protocol for samples: the next one, None at the end."""

    def __init__(self, samples: Mapping[str, Array]) -> None:
        self.feeds = feeds(samples)

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)


def onnxruntime(**settings: Any) -> Quantize:
    from onnxruntime.quantization import quantize_static

    return lambda graph, samples, out: quantize_static(graph, out, Reader(samples), **settings)


FOR_TENSORRT = {
    "per_channel": True,
    "op_types_to_quantize": list(PRODUCTS),
    "extra_options": {
        "ActivationSymmetric": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
    },
}
"""The nearest that onnxruntime's options come to NVIDIA's rules: S8S8, zero points of 0, no INT32 bias, nothing between
a product and its activation. With outputs quantized too it is 1.5 to 28 dB worse, or TensorRT-RTX does not build it;
pre-processing and entropy or percentile calibration change less than 0.3 dB."""

TOOLS: dict[str, Callable[[], Quantize]] = {
    "onnxruntime, its defaults": onnxruntime,
    "onnxruntime, S8S8": lambda: onnxruntime(**FOR_TENSORRT),
    "ModelOpt max": lambda: modelopt("max", "fp32"),
    "ModelOpt max, attention in float": lambda: modelopt("max", "fp32", disable_mha_qdq=True),
    "ModelOpt entropy": lambda: modelopt("entropy", "fp32"),
    "ModelOpt max + fp16": lambda: modelopt("max", "fp16"),
    "ModelOpt entropy + fp16 (its default)": lambda: modelopt("entropy", "fp16"),
    "EdgeFuse": edgefuse_int8,
    "EdgeFuse + fp16": edgefuse_int8_fp16,
}


def run_tool(name: str, folder: Path) -> None:
    """The child's side: ``float.onnx`` and ``calibrate.npz`` in *folder* to ``model.onnx`` and ``cost.json`` in its
    subfolder *name*."""
    with np.load(folder / "calibrate.npz") as archive:
        samples = dict(archive)
    out = folder / name / "model.onnx"
    started = time.perf_counter()
    quantize = TOOLS[name]()
    imported, worked = time.perf_counter(), time.process_time()
    quantize(folder / "float.onnx", samples, out)
    cost = Cost(time.perf_counter() - imported, time.process_time() - worked, imported - started, peak_mb())
    out.with_name("cost.json").write_text(json.dumps(vars(cost)))


def peak_mb() -> float:
    """The most memory that this process has had; ``ru_maxrss`` would begin with the size of its parent."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of CPU without the imports, seconds of the imports, and the process's peak with them."""

    tool_s: float
    cpu_s: float
    import_s: float
    peak_mb: float


@dataclass(frozen=True)
class Case:
    """A model to compare on, with everything about it in *folder*: float graph, calibration, held-out samples."""

    recipe: Recipe
    spec: ModelSpec
    folder: Path
    calibrated: int

    @property
    def golden(self) -> Path:
        return self.folder / "golden.npz"

    def score(self, outputs: Feed, label: Array) -> float:
        """The recipe's metric of one sample."""
        accuracy = self.recipe.accuracy
        metric = load_metric(accuracy.metric, self.recipe.folder)
        return metric.score(outputs[accuracy.output or self.spec.outputs[0]], label)


def prepare(name: str, folder: Path) -> Case:
    """Export the model called *name* and split its samples."""
    from edgefuse.export import load_source

    recipe, model = shipped(name) if name in shipped_names("recipes", "*/recipe.toml") else untrained(name, folder)
    source = load_source(model, recipe)
    samples = open_calibration(recipe.calibration, source.spec, recipe.accuracy.label)
    source.export(folder / "float.onnx")
    write_golden(folder / "golden.npz", samples.golden, source.runner)
    calibrate = list(samples.calibrate.feeds())
    arrays = {key: np.concatenate([feed[key] for feed in calibrate]) for key in source.spec.names}
    np.savez(folder / "calibrate.npz", **arrays)
    return Case(recipe, source.spec, folder, len(calibrate))


def shipped(name: str) -> tuple[Recipe, Path]:
    recipe = read_recipe(shipped_names("recipes", "*/recipe.toml")[name])
    assert recipe.model.weights is not None
    return recipe, recipe.model.weights


def untrained(name: str, folder: Path) -> tuple[Recipe, Path]:
    import models
    import torch

    calibrated, held_out = (16, 16) if name == models.LARGE else (64, 128)
    shapes = models.LARGE_INPUTS if name == models.LARGE else models.INPUTS
    arrays = models.samples(calibrated + held_out, shapes=shapes)
    example = {key: torch.from_numpy(array[0]) for key, array in arrays.items()}
    torch.export.save(torch.export.export(models.build(name), (), example), folder / "model.pt2")
    np.savez(folder / "samples.npz", **arrays)
    source = CalibrationSource(folder / "samples.npz", samples=calibrated)
    return Recipe(name, folder, calibration=source), folder / "model.pt2"


def start_tool(name: str, python: str, folder: Path) -> Cost | str:
    """Run the tool in a process of its own; what it cost, or its last words."""
    (folder / name).mkdir()
    log = folder / name / "log.txt"
    path = os.pathsep.join(filter(None, [str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]))
    with log.open("wb") as stream:
        arguments = [python, str(HERE), "--tool", name, "--folder", str(folder)]
        done = subprocess.run(arguments, stdout=stream, stderr=stream, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"the tool fails: {lines[-1][:200] if lines else done.returncode}"
    return Cost(**json.loads((folder / name / "cost.json").read_text()))


@dataclass(frozen=True)
class Graph:
    """What a file says of itself: products are named, for they are what TensorRT is asked about."""

    quantizers: int
    dequantizers: int
    products: tuple[str, ...]
    placed: int

    @classmethod
    def read(cls, path: Path) -> Graph:
        import onnx

        nodes = onnx.load(path).graph.node
        makers = {name: node for node in nodes for name in node.output}
        products = [node for node in nodes if node.op_type in PRODUCTS]
        kinds = Counter(node.op_type for node in nodes)
        placed = sum(all(_dequantized(makers, name) for name in node.input[:2]) for node in products)
        names = tuple(node.name for node in products)
        return cls(kinds["QuantizeLinear"], kinds["DequantizeLinear"], names, placed)


def _dequantized(makers: Mapping[str, Any], name: str) -> bool:
    """Whether *name* comes from a DequantizeLinear, with nothing but moves of data between."""
    maker = makers.get(name)
    if maker is not None and maker.op_type in ("Transpose", "Reshape", "Cast", "Squeeze", "Unsqueeze"):
        return _dequantized(makers, maker.input[0])
    return maker is not None and maker.op_type == "DequantizeLinear"


def ask_nvidia(path: Path, graph: Graph, spec: ModelSpec) -> tuple[str, str]:
    """How many of the graph's products TensorRT-RTX runs in INT8, or why it refuses the graph; and kernels in all."""
    arguments = {
        "onnx_path": str(path),
        "spec": spec.to_json(),
        "compute_capability": COMPUTE_CAPABILITY,
        "expected_int8": list(graph.products),
    }
    target = "edgefuse.backends.tensorrt.offline:check_offline"
    try:
        found = child.call(target, arguments, what="TensorRT-RTX", timeout_s=900)
    except EdgeFuseError as error:
        sentence = " ".join(error.what.replace("the parser refused the graph", "parse fails").split())
        return (sentence if len(sentence) <= SHOWN_CHARACTERS else f"{sentence[:SHOWN_CHARACTERS]}…", "")
    int8 = len(found["int8"]) + len(set(found["unknown"]) & fused_attention(found["kernels"]))
    lost = f", {graph.placed} placed" if graph.placed != int8 else ""
    return (f"{int8} of {len(graph.products)}{lost}", str(len(found["kernels"])))


def fused_attention(kernels: list[dict[str, Any]]) -> set[str]:
    """The nodes that are in a kernel for the whole of attention ("_gemm_mha_v2") that reads Int8 on both sides."""
    fused = [kernel for kernel in kernels if "mha" in kernel["kernel"] and set(kernel["inputs"]) == {"Int8"}]
    return {node for kernel in fused for node in kernel["nodes"]}


def judge(case: Case, path: Path) -> tuple[str, str, str]:
    """SQNR of the worst output, the same without means, and the metric's drop, as onnxruntime emulates the graph: INT8
    as written, FP16 rounded after every operation."""
    from edgefuse.quantize.emulate import write_emulation

    backend: Any = load_backend("onnxruntime")
    try:
        emulation = path.with_suffix(".emulated.onnx")
        write_emulation(path, emulation)
        runner = backend.open_graph(emulation, case.spec, threads=2, emulate=True)
    except EdgeFuseError:
        return ("does not run", "", "")
    fidelities, drops = {name: Fidelity(name) for name in case.spec.outputs}, []
    for sample in read_golden(case.golden):
        got = runner(sample.feed)
        for name, fidelity in fidelities.items():
            fidelity.add(sample.reference[name], got[name])
        if sample.label is not None:
            drops.append(case.score(sample.reference, sample.label) - case.score(got, sample.label))
    plain = min(item.sqnr_db for item in fidelities.values())
    centered = min(db for item in fidelities.values() if (db := item.sqnr_centered_db) is not None)
    return (f"{plain:.1f}", f"{centered:.1f}", f"{100 * np.mean(drops):+.2f}" if drops else "–")


COLUMNS = (
    *("", "Q / DQ", "KB", "SQNR dB", "mean-free dB", "drop, pt"),
    *("tool s", "CPU s", "import s", "peak MB", "in INT8", "kernels"),
)


def compare(case: Case, modelopt_python: str | None) -> Table:
    """One row for each tool."""
    held_out = sum(1 for _ in read_golden(case.golden))
    float_kb = (case.folder / "float.onnx").stat().st_size / 1024
    title = f"{case.recipe.name}: {float_kb:,.0f} KB in float, {case.calibrated} samples calibrate, {held_out} held out"
    table = Table(*COLUMNS, title=title, box=MARKDOWN)
    for name in TOOLS:
        python = modelopt_python if name.startswith("ModelOpt") else sys.executable
        table.add_row(name, *(row(case, name, python) if python else ("not installed",)))
    return table


def row(case: Case, name: str, python: str) -> tuple[str, ...]:
    cost = start_tool(name, python, case.folder)
    if isinstance(cost, str):
        return (*[""] * 9, cost)
    path = case.folder / name / "model.onnx"
    graph = Graph.read(path)
    return (
        f"{graph.quantizers} / {graph.dequantizers}",
        f"{path.stat().st_size / 1024:,.0f}",
        *judge(case, path),
        f"{cost.tool_s:.1f}",
        f"{cost.cpu_s:.1f}",
        f"{cost.import_s:.1f}",
        f"{cost.peak_mb:.0f}",
        *ask_nvidia(path, graph, case.spec),
    )


def version(package: str, python: str = sys.executable) -> str | None:
    """The release of *package* that *python* has; None without."""
    asked = [python, "-c", f"import importlib.metadata as m; print(m.version('{package}'))"]
    found = subprocess.run(asked, capture_output=True, text=True)
    return found.stdout.strip() or None


def versions(modelopt_python: str) -> str:
    """What is compared; ModelOpt's environment may hold another onnx and onnxruntime than ours."""
    ours = [f"{name} {version(name)}" for name in ("onnx", "onnxruntime", "tensorrt_rtx_cu12_libs")]
    peers = [f"{name} {version(name, modelopt_python)}" for name in ("nvidia-modelopt", "onnx", "onnxruntime")]
    return f"{', '.join(ours)}; {', '.join(peers)}"


def known_names() -> list[str]:
    import models

    return [*shipped_names("recipes", "*/recipe.toml"), *models.MODELS, models.LARGE]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="RECIPE or MODEL")
    parser.add_argument("--modelopt-python", default=sys.executable, metavar="PATH", help="the one that has ModelOpt")
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool:
        return run_tool(options.tool, options.folder)
    unknown = set(options.names) - set(known_names())
    if unknown:
        sys.exit(f"there is no model {sorted(unknown)[0]!r}; known: {', '.join(known_names())}")
    if shutil.which(options.modelopt_python) is None:
        sys.exit(f"--modelopt-python: there is no program {options.modelopt_python!r}")
    python = options.modelopt_python if version("nvidia-modelopt", options.modelopt_python) else None
    console = Console(width=400)
    console.print(versions(python) if python else HOW_TO_INSTALL, markup=False, highlight=False)
    for name in options.names or known_names():
        with tempfile.TemporaryDirectory() as folder:
            console.print(compare(prepare(name, Path(folder)), python))


if __name__ == "__main__":
    main()
