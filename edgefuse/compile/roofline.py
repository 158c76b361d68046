"""A lower bound of a graph's latency from the device profile's figures: an *estimate*, which enters no gate.

latency ≥ max(Σ operations / peak rate of their precision, bytes of weights, inputs and outputs / bandwidth)
(Williams, Waterman, Patterson 2009, "Roofline", doi:10.1145/1498765.1498785). Not counted, so that it stays a bound:
launching kernels (microseconds each, most of the time of a small model), traffic between layers, anything but
convolutions, matrix products and recurrence. Dense rates only, never marketing TOPS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from edgefuse.device import Device
from edgefuse.partition.macs import count_macs
from edgefuse.partition.tensors import Facts, infer, value_facts
from edgefuse.precision import PRECISIONS
from edgefuse.quantize.graph import Graph

CORE_TFLOPS = 0.256
"""Float32 of one Orin-generation SM at 1 GHz: 128 CUDA cores, a multiplication and an addition each."""

ASSUMES = (
    "roofline of the profile's dense rates and bandwidth; no kernel launches, no traffic between layers, so the "
    "device takes longer"
)


def estimate(graphs: Mapping[str, Path], device: Device) -> dict[str, Any] | None:
    """``at_least_ms`` by graph, and what that assumes; None where the profile or the graph lacks a figure."""
    rates = _rates(device)
    if rates is None:
        return None
    found = {name: _at_least_ms(onnx.load(path), rates) for name, path in graphs.items() if name in PRECISIONS}
    known = {name: value for name, value in found.items() if value is not None}
    sources = [device.figures[name].source for name in ("int8_tops_dense", "fp16_tflops_dense", "bandwidth_gb_s")]
    unverified = " (unverified figures)" if any("unverified" in source for source in sources) else ""
    return {"at_least_ms": known, "assumes": f"{ASSUMES}{unverified}"} if known else None


def _rates(device: Device) -> dict[str, float] | None:
    """Operations per second by precision, and bytes per second."""
    names = ("int8_tops_dense", "fp16_tflops_dense", "bandwidth_gb_s", "sms", "gpu_clock_ghz")
    values = [device.figures[name].value for name in names if name in device.figures]
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if len(numbers) < len(names) or min(numbers) <= 0:
        return None
    int8, fp16, bandwidth, sms, clock = numbers
    return {"int8": int8 * 1e12, "fp16": fp16 * 1e12, "f32": sms * clock * CORE_TFLOPS * 1e12, "bytes": bandwidth * 1e9}


def _at_least_ms(model: onnx.ModelProto, rates: Mapping[str, float]) -> float | None:
    graph, facts = Graph(model), _facts(model)
    seconds = 0.0
    for node in model.graph.node:
        products = count_macs(node, facts)
        if products is None:
            return None
        seconds += 2 * products / rates[_precision(node, graph, facts)]
    outside = [facts.get(value.name, Facts()) for value in [*model.graph.input, *model.graph.output]]
    if any(item.shape is None for item in outside):
        return None
    weights = sum(_bytes(tensor.data_type, tuple(tensor.dims)) for tensor in model.graph.initializer)
    moved = weights + sum(_bytes(item.kind, item.shape) for item in outside if item.shape is not None)
    return max(seconds, moved / rates["bytes"]) * 1e3


def _facts(model: onnx.ModelProto) -> dict[str, Facts]:
    """Element type and shape of every tensor."""
    graph = infer(model).graph
    found = {value.name: value_facts(value) for value in [*graph.value_info, *graph.input, *graph.output]}
    return found | {tensor.name: Facts(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}


def _precision(node: onnx.NodeProto, graph: Graph, facts: Mapping[str, Facts]) -> str:
    makers = [graph.makers[name].op_type for name in node.input[:2] if name in graph.makers]
    if makers == ["DequantizeLinear"] * 2:
        return "int8"
    return "fp16" if facts.get(node.output[0], Facts()).kind == TensorProto.FLOAT16 else "f32"


def _bytes(kind: int, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * helper.tensor_dtype_to_np_dtype(kind).itemsize
