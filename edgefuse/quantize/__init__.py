"""Post-training INT8 quantization: our own Q/DQ placement, with onnxruntime for the statistics.

The result is plain ONNX with QuantizeLinear/DequantizeLinear, so the precision is a property of the graph and every
toolchain that reads it gets the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgefuse.errors import ModelError
from edgefuse.quantize.graph import Graph
from edgefuse.quantize.observe import observe_ranges
from edgefuse.quantize.placement import add_inputs, eligible, for_tensor_cores, place, share_concat_scales
from edgefuse.quantize.rewrite import insert_qdq
from edgefuse.quantize.schemes import SCHEMES
from edgefuse.spec import Feed


@dataclass(frozen=True)
class Quantized:
    """How much of the graph is INT8: the named ``nodes`` of ``eligible`` operations, out of ``operations``."""

    nodes: tuple[str, ...]
    eligible: int
    operations: int

    @property
    def int8(self) -> int:
        return len(self.nodes)


def quantize_int8(float_path: Path, out: Path, samples: Iterable[Feed], backend: str = "openvino") -> Quantized:
    """Write the INT8 version of the ONNX file *float_path* to *out*, as *backend* reads it; ranges from *samples*."""
    model, scheme = onnx.load(float_path), SCHEMES[backend]
    graph = Graph(model)
    candidates = eligible(graph)
    observed = [item.data for item in candidates] + (add_inputs(graph) if scheme.tensor_cores else [])
    ranges = observe_ranges(model, observed, samples)
    if scheme.tensor_cores:
        candidates = for_tensor_cores(graph, candidates, ranges)
    placement = place(graph, candidates, ranges, scheme)
    if not placement.weighted:
        raise ModelError(
            "has no convolution or matrix product with constant float32 weights that INT8 could speed up",
            hint="Use --precision float, or fp16 where the device has it.",
        )
    if scheme.tensor_cores:
        ranges = share_concat_scales(graph, placement, ranges)
    quantized = insert_qdq(graph, placement, ranges, scheme)
    onnx.checker.check_model(quantized)
    onnx.save(quantized, out)
    return Quantized(tuple(item.node.name for item in placement.weighted), len(candidates), len(model.graph.node))
