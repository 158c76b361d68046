"""The gates after each arrow of the straight line: export, quantize, compile, and the whole from end to end."""

from __future__ import annotations

import contextlib
from typing import Any

from edgefuse.backends.onnxruntime import open_graph
from edgefuse.check import REFERENCE, Comparison, Judge, compare_stages, judge_accuracy, judge_parity
from edgefuse.compile.build import Builder
from edgefuse.compile.plan import Candidate
from edgefuse.golden import read_golden

Comparisons = dict[tuple[str, str], Comparison]
WHOLE = (REFERENCE, "compiled")
ARROWS = {
    (REFERENCE, "onnx"): "export",
    ("onnx", "quantized"): "quantize",
    ("quantized", "compiled"): "compile",
    ("onnx", "compiled"): "compile",
}


def run_gates(builder: Builder, chosen: Candidate, judge: Judge) -> Comparisons:
    """One pass over the held-out samples through every stage of the straight line."""
    stages = ["onnx", *(["quantized"] if chosen.quantized else []), "compiled"]
    arrows = list(zip([REFERENCE, *stages], stages))
    with contextlib.ExitStack() as stack:
        runners = {"onnx": open_graph(builder.float_onnx, builder.spec)}
        if chosen.quantized:
            runners["quantized"] = open_graph(chosen.onnx_path, builder.spec, emulate=True)
        runners |= stack.enter_context(builder.opened({"compiled": chosen}))
        return compare_stages(read_golden(builder.golden), runners, judge, [*arrows, WHOLE])


def describe_gates(comparisons: Comparisons, chosen: Candidate, judge: Judge) -> list[dict[str, Any]]:
    """The report's ``gates``: export by parity, the others by the same test as the whole."""
    names = {
        REFERENCE: "float model",
        "onnx": "ONNX",
        "quantized": "INT8 ONNX",
        "compiled": f"compiled {chosen.precision}",
    }
    found = []
    for (earlier, later), comparison in comparisons.items():
        if (earlier, later) == WHOLE:
            continue
        name = ARROWS[earlier, later]
        entry = {"name": name, "from": names[earlier], "to": names[later], "sqnr_db": comparison.sqnr_db}
        entry["worst_sqnr_db"] = comparison.worst_sqnr_db
        if name == "export":
            found.append({**entry, "verdict": judge_parity(comparison).value, "drop": None})
        else:
            judged = judge_accuracy(comparison, (earlier, later), judge)
            found.append({**entry, "verdict": judged["verdict"], "drop": judged["drop"]})
    return found
