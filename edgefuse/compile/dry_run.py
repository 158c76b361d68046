"""``--dry-run``: what would be tried, and about how long that takes. Nothing is built, judged or written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgefuse.backends.onnxruntime import open_graph
from edgefuse.candidates import reach
from edgefuse.compile.graphs import Graphs
from edgefuse.compile.parts import Parts, find_parts
from edgefuse.compile.planner import first_round
from edgefuse.compile.prepared import Prepared, Request
from edgefuse.latency import measure
from edgefuse.machine import usable_cores
from edgefuse.plan import wanted_precisions
from edgefuse.precision import FLOAT, PRECISIONS, base_of
from edgefuse.progress import Steps
from edgefuse.search import CONTENDERS, ROUGH_RUNS

BUILD_S = 1.5
"""One graph compiled in a child process: most of it is the start of the vendor's library."""

STATISTICS_SAMPLES = 4
"""Enough to tell what could be quantized; the real statistics take all."""

Prepare = Callable[[Path, Path, Request, Steps], Prepared]


def dry_run(request: Request, prepare: Prepare, steps: Steps) -> dict[str, Any]:
    """``candidates`` (name, precision, graph), ``parts`` and ``about_s``, an estimate from the float graph's speed
    in onnxruntime: not a promise."""
    here = reach(request.device, request.place)
    supported = here.found["precisions"] if here.found else request.device.precisions
    precisions = wanted_precisions(request.precision, supported, request.device.name)
    with tempfile.TemporaryDirectory(prefix="edgefuse-") as folder:
        work = Path(folder) / "work"
        work.mkdir()
        prepared = prepare(Path(folder), work, request, steps)
        spec, samples = prepared.source.spec, prepared.samples
        parts = find_parts(prepared.graphs.float_onnx, spec, request.recipe.state)
        few = Graphs(work, samples.calibrate.first(STATISTICS_SAMPLES), spec, request.device)
        names = _graph_names(precisions, few, request.precision == "auto" and here.found is not None)
        runner = open_graph(prepared.graphs.float_onnx, spec, usable_cores())
        feed = next(iter(samples.calibrate.feeds()))
        call_s = measure({FLOAT: runner}, [feed], 0.2, min_runs=4, warmup=2)[FLOAT].percentile(50) / 1e3
    rows = [
        {
            "name": f"{precision}{name.removeprefix(base_of(name)).replace('-', ' ')}",
            "precision": precision,
            "graph": name,
        }
        for name in names
        for precision in precisions
        if PRECISIONS[precision][0] == base_of(name)
    ]
    seconds = _estimate(len(names), len(rows), call_s, len(samples.calibrate), len(samples.golden), parts)
    return {"candidates": rows, "parts": _part_rows(parts), "about_s": seconds, "later": _later(request, parts)}


def _graph_names(precisions: list[str], graphs: Graphs, searched: bool) -> list[str]:
    names = list(dict.fromkeys(PRECISIONS[name][0] for name in precisions))
    return [*names, *(first_round(graphs) if searched and "int8" in names else ())]


def _estimate(graphs: int, rows: int, call_s: float, calibrate: int, golden: int, parts: Parts) -> float:
    calls = rows * ROUGH_RUNS * 2 + CONTENDERS * calibrate + calibrate * 2 + golden * 4 + 400
    return graphs * BUILD_S + 3 * BUILD_S * (len(parts.partition.parts) > 1) + 12 + calls * call_s


def _part_rows(parts: Parts) -> list[dict[str, Any]]:
    return [{"name": p.name, "streams": list(p.streams), "operations": p.operations} for p in parts.partition.parts]


def _later(request: Request, parts: Parts) -> list[str]:
    """What depends on what is found out."""
    if request.precision != "auto":
        return []
    found = ["the fastest ones with other numbers of threads"]
    found.append("where INT8 loses too much, INT8 with the operations that lose most in float")
    if len(parts.partition.parts) > 1:
        found.append("INT8 only in the parts where it was measured faster, and the model part by part")
    return found
