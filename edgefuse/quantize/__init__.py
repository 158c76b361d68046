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
from edgefuse.quantize.placement import eligible
from edgefuse.quantize.rewrite import insert_qdq
from edgefuse.spec import Feed


@dataclass(frozen=True)
class Quantized:
    """How much of the graph is INT8: ``int8`` of ``eligible`` operations, out of ``operations``."""

    int8: int
    eligible: int
    operations: int


def quantize_int8(float_path: Path, out: Path, samples: Iterable[Feed]) -> Quantized:
    """Write the INT8 version of the ONNX file *float_path* to *out*, its ranges taken from *samples*."""
    model = onnx.load(float_path)
    graph = Graph(model)
    candidates = eligible(graph)
    ranges = observe_ranges(model, (item.data for item in candidates), samples)
    chosen = [item for item in candidates if item.data in ranges]
    if not chosen:
        raise ModelError(
            "has no convolution or matrix product with constant weights that INT8 could speed up",
            where=str(float_path.name),
            hint="Use --precision float.",
        )
    quantized = insert_qdq(graph, chosen, ranges)
    onnx.checker.check_model(quantized)
    onnx.save(quantized, out)
    return Quantized(len(chosen), len(candidates), len(model.graph.node))
