"""A child process: parses and builds ONNX files with TensorRT-RTX for SM 8.6, which needs no GPU, and prints JSON.

``python ask_nvidia.py FOLDER`` answers for each ``*.onnx`` in it: ``parsed``, ``built``, ``said`` (errors and
warnings), ``shapes`` of the outputs, and ``kernels``, the input types of each that computes a convolution or product.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import tensorrt_rtx_libs  # noqa: F401  # isort: skip  its libraries must be loaded before the bindings
import tensorrt_rtx_bindings as trt  # isort: skip

LAYER = re.compile(r"LayerType: (\w+), Inputs: \[(.*?)\], Outputs:")
COMPUTES = ("correlation", "gemm", "runtime_fusion", "deconv")


class Log(trt.ILogger):  # type: ignore[misc]
    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.lines: list[tuple[str, str]] = []

    def log(self, severity: Any, message: str) -> None:
        self.lines.append((severity.name, message))


def ask(path: Path) -> dict[str, Any]:
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    parsed = bool(parser.parse_from_file(str(path)))
    built = parsed and _build(builder, network)
    said = [message for severity, message in log.lines if severity not in ("VERBOSE", "INFO")]
    said += [parser.get_error(index).desc() for index in range(parser.num_errors)]
    shapes = [list(network.get_output(index).shape) for index in range(network.num_outputs)]
    return {
        "parsed": parsed,
        "built": built,
        "said": "\n".join(said),
        "shapes": shapes,
        "kernels": list(_kernels(log)),
    }


def _build(builder: Any, network: Any) -> bool:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    return builder.build_serialized_network(network, config) is not None


def _kernels(log: Log) -> Any:
    layers = next((message for _, message in log.lines if message.startswith("Layers:")), "")
    for kind, inputs in LAYER.findall(layers):
        if kind in COMPUTES:
            yield re.findall(r"Datatype: (\w+)", inputs)


if __name__ == "__main__":
    json.dump({path.stem: ask(path) for path in sorted(Path(sys.argv[1]).glob("*.onnx"))}, sys.stdout)
