"""The gates after each arrow of the straight line: export, quantize, compile, and the whole from end to end.

Knows the stages by name only; who runs them is the caller's business. Numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner
from edgefuse.check import REFERENCE, Comparison, Judge, compare_stages, judge_accuracy, judge_parity
from edgefuse.golden import Recorded, answering, read_golden
from edgefuse.precision import FLOAT, PRECISIONS
from edgefuse.verdict import Verdict

ONNX, QUANTIZED, COMPILED, PARTS = "onnx", "quantized", "compiled", "parts"
ARROWS = {ONNX: "export", QUANTIZED: "quantize", COMPILED: "compile", PARTS: "split"}
"""The arrow that leads to each stage."""

GRAPH_NAMES = {"float": "ONNX", "fp16": "FP16 ONNX", "int8": "INT8 ONNX", "int8+fp16": "INT8 + FP16 ONNX"}

Pair = tuple[str, str]
Comparisons = dict[Pair, Comparison]


def arrows_between(stages: Sequence[str]) -> list[Pair]:
    """From the float model through *stages* in order."""
    return list(zip([REFERENCE, *stages], stages))


def recorded_stages(emulated: Path, graph: str) -> dict[str, Runner]:
    """The stages up to *graph* ("int8" …), in order, as the file *emulated* recorded their answers."""
    stages: dict[str, Runner] = {ONNX: Recorded(emulated, FLOAT)}
    return stages if graph == FLOAT else {**stages, QUANTIZED: Recorded(emulated, graph)}


def run_gates(stages: Mapping[str, Runner], arrows: Sequence[Pair], golden: Path, judge: Judge) -> Comparisons:
    """One pass over the held-out samples: every one of *arrows*, and the whole, from the float model to each of the
    last two of *stages*."""
    wholes = [(REFERENCE, stage) for stage in list(stages)[-2:]]
    ahead = {name: answering(runner, golden) for name, runner in stages.items()}
    return compare_stages(read_golden(golden), ahead, judge, dict.fromkeys([*arrows, *wholes]))


def describe_gates(
    comparisons: Comparisons, arrows: Sequence[Pair], precision: str, judge: Judge
) -> list[dict[str, Any]]:
    """The report's ``gates``: export by parity, the others by the same test as the whole."""
    return [_describe(comparisons[pair], pair, precision, judge) for pair in arrows]


def _describe(comparison: Comparison, pair: Pair, precision: str, judge: Judge) -> dict[str, Any]:
    entry = _arrow(pair, precision)
    entry |= {"sqnr_db": comparison.sqnr_db, "worst_sqnr_db": comparison.worst_sqnr_db}
    if entry["name"] == "export":
        return {**entry, "verdict": judge_parity(comparison).value, "drop": None}
    judged = judge_accuracy(comparison, pair, judge)
    return {**entry, "verdict": judged["verdict"], "drop": judged["drop"]}


def pending_compile(earlier: str, precision: str, command: str | None) -> dict[str, Any]:
    """The entry of the arrow that only the device can judge, with the *command* that does, if one can."""
    unknown = {"sqnr_db": None, "worst_sqnr_db": None, "drop": None}
    return {**_arrow((earlier, COMPILED), precision), **unknown, "verdict": Verdict.PENDING.value, "command": command}


def _arrow(pair: Pair, precision: str) -> dict[str, Any]:
    names = {
        REFERENCE: "float model",
        ONNX: GRAPH_NAMES["float"],
        QUANTIZED: GRAPH_NAMES[PRECISIONS[precision][0]],
        COMPILED: f"compiled {precision}",
        PARTS: "part by part",
    }
    return {"name": ARROWS[pair[1]], "from": names[pair[0]], "to": names[pair[1]]}
