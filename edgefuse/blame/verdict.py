"""From figures to a sentence: which part is at fault, and in which arrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edgefuse.check import EXPORT_MIN_SQNR_DB
from edgefuse.report.units import decibels_text, listed, percent

MARGIN_DB = 6.0
"""An error of twice the size: one bit."""

GRAPH, ARTIFACT, TOOLCHAIN = "graph", "artifact", "toolchain"
HALF = 0.5


@dataclass(frozen=True)
class PartRow:
    """One part. Figures in dB are SQNR, plain or mean-free, whichever is lower, where the name does not say otherwise.

    ``sqnr_db``, ``sqnr_centered_db``  what it makes, against the float model's values; the worst tensor's
    ``alone_db``     the answer, when this part alone is the device's
    ``graph_db``     the same with the part as ``model.onnx`` has it, emulated at the workstation
    ``expected_db``  the same when the bundle was compiled (``plan.sensitivity``), None where that was not measured
    ``drop``         in the metric, when this part alone is the device's; None where SQNR is the measure
    ``basis``        "float"; "compiled" where the part can only be held against ``model.onnx``
    ``fault``        None, "graph", "artifact" or "toolchain"
    """

    name: str
    streams: tuple[str, ...]
    sqnr_db: float
    sqnr_centered_db: float | None
    alone_db: float
    graph_db: float
    expected_db: float | None
    drop: float | None
    basis: str
    fault: str | None = None

    @property
    def noise(self) -> float:
        """Power of the error over that of the signal."""
        return float(10 ** (-self.alone_db / 10))

    @property
    def figures(self) -> str:
        """3.1 dB alone (38.2 dB when it was compiled, on the calibration samples)."""
        now = f"{decibels_text(self.alone_db)} alone"
        if self.expected_db is not None:
            return f"{now} ({decibels_text(self.expected_db)} when it was compiled, on the calibration samples)"
        if self.basis != "float" or self.fault == GRAPH:
            return now
        return f"{now} ({decibels_text(self.graph_db)} as model.onnx is written)"


@dataclass(frozen=True)
class Whole:
    """The answer as a whole: as an application gets it, part by part, as the graph is written; what the report says of
    the day when it was compiled (None: nothing). ``fails``: the metric is certainly beyond the limit."""

    whole_db: float
    sequence_db: float
    graph_db: float
    compiled_db: float | None
    fails: bool
    shipped: bool
    samples: int
    metric: str

    @property
    def limit_db(self) -> float:
        """Below it something is wrong: an error twice as large as it was. Beyond 60 dB there is only rounding."""
        known = self.graph_db if self.compiled_db is None else self.compiled_db
        return min(known, EXPORT_MIN_SQNR_DB) - MARGIN_DB

    @property
    def bad(self) -> bool:
        """Whether anything needs an explanation. Parts that are not shipped run nowhere."""
        return self.fails or self.whole_db < self.limit_db or (self.shipped and self.sequence_db < self.limit_db)


@dataclass(frozen=True)
class Blame:
    """``parts`` at fault, the worst first; empty where none is, or none can be named: ``text`` says why. ``stage``:
    where the error comes in: "graph" (``model.onnx``), "artifact" (what was compiled and is shipped), "toolchain" (what
    this device makes of the graph), None where nothing is wrong or it cannot be told."""

    parts: tuple[str, ...]
    stage: str | None
    text: str
    rows: tuple[PartRow, ...]
    whole: Whole
    notes: tuple[str, ...] = field(default=())

    @property
    def part(self) -> str | None:
        """The worst of those at fault."""
        return self.parts[0] if self.parts else None

    def to_json(self) -> dict[str, Any]:
        """The report's ``blame``."""
        figures = {**asdict(self.whole), "limit_db": self.whole.limit_db}
        rows = [{**asdict(row), "streams": list(row.streams)} for row in self.rows]
        said = {"part": self.part, "parts": list(self.parts), "stage": self.stage, "text": self.text}
        return {**said, **figures, "rows": rows, "notes": list(self.notes)}


def suspects(rows: Sequence[PartRow], whole: Whole) -> list[PartRow]:
    """Parts that alone lose much more than the whole model did when it was compiled, the worst first."""
    return sorted((row for row in rows if row.alone_db < whole.limit_db), key=lambda row: row.alone_db)


def settle_stage(row: PartRow, fresh: PartRow | None, whole: Whole) -> PartRow:
    """*row* with its fault, if it is a suspect; *fresh* is the same part compiled from ``model.onnx`` now, where *row*
    is of the part that is shipped."""
    if not suspects([row], whole):
        return row
    if row.graph_db < whole.limit_db:
        return replace(row, fault=GRAPH)
    return replace(row, fault=ARTIFACT if fresh is not None and fresh.alone_db >= whole.limit_db else TOOLCHAIN)


def decide(rows: Sequence[PartRow], whole: Whole, notes: Sequence[str]) -> Blame:
    """*rows* have their ``fault`` settled."""
    found = sorted((row for row in rows if row.fault is not None), key=lambda row: row.alone_db)
    said: tuple[tuple[str, ...], str | None, str]
    if not whole.bad:
        said = (), None, _nothing(whole, found)
    elif found:
        said = tuple(row.name for row in found), found[0].fault, _faults(found, whole, len(rows))
    elif whole.whole_db < whole.limit_db <= whole.sequence_db:
        said = (), ARTIFACT, _artifact(whole)
    elif whole.graph_db < whole.limit_db and any(row.basis != "float" for row in rows):
        said = (), GRAPH, _untold(whole, rows)
    else:
        said = _shares(rows, whole)
    return Blame(said[0], said[1], said[2], tuple(rows), whole, tuple(notes))


def _nothing(whole: Whole, found: Sequence[PartRow]) -> str:
    fine = f"No part is at fault: the answers have {decibels_text(whole.whole_db)}{_then(whole)}."
    if found:
        names = listed([row.name for row in found])
        return f"{fine} But what is compiled from model.onnx here, now, would be worse: {names}."
    if whole.graph_db < whole.limit_db:
        return f"{fine} But model.onnx is not what was compiled: emulated, it has {decibels_text(whole.graph_db)}."
    return fine


def _then(whole: Whole) -> str:
    return "" if whole.compiled_db is None else f" ({decibels_text(whole.compiled_db)} when the bundle was compiled)"


def _faults(found: Sequence[PartRow], whole: Whole, parts: int) -> str:
    names = listed([row.name for row in found])
    start = f"The error starts in {names}" if parts > 1 else f"The model is one part, {names}, and the error is there"
    several = len(found) > 1
    said = "; ".join(f"{f'{row.name} ' if several else ''}{row.figures}, {_where(row)}" for row in found)
    return f"{start}: {said}. The whole answer has {decibels_text(whole.whole_db)}{_then(whole)}."


def _where(row: PartRow) -> str:
    if row.fault == GRAPH:
        return "in model.onnx itself, before any device"
    if row.fault == ARTIFACT:
        return "in the compiled artifact, not the graph: compiled from model.onnx again the part is right"
    return "in what this device's toolchain makes of it, not in the graph"


def _artifact(whole: Whole) -> str:
    return (
        f"The error is in the compiled artifact, not the graph: the answers have {decibels_text(whole.whole_db)}, and "
        f"{decibels_text(whole.sequence_db)} part by part. Compile the bundle again."
    )


def _untold(whole: Whole, rows: Sequence[PartRow]) -> str:
    names = listed([row.name for row in rows if row.basis != "float"])
    which = f"in which part ({names})" if len(rows) > 1 else "where"
    return (
        f"The error is in model.onnx itself, which has {decibels_text(whole.graph_db)} when it is emulated; {which} "
        "cannot be told without the float values of what crosses between the parts."
    )


def _shares(rows: Sequence[PartRow], whole: Whole) -> tuple[tuple[str, ...], str | None, str]:
    """No part is much worse than the whole was: whose error is most of it?"""
    total = sum(row.noise for row in rows)
    ranked = sorted(rows, key=lambda row: row.alone_db)
    shares = ", ".join(f"{row.name} {percent(row.noise / total) if total else '0 %'}, {row.figures}" for row in ranked)
    now = f"The answers have {decibels_text(whole.whole_db)}{_then(whole)}"
    if len(rows) == 1:
        return (rows[0].name,), None, f"{now}; the model is one part, {rows[0].name}, so nothing can be told apart."
    if total and ranked[0].noise / total >= HALF:
        return (ranked[0].name,), None, f"{now}; most of the error starts in {ranked[0].name}. Shares: {shares}."
    return (), None, f"{now}; no single part is at fault. Shares: {shares}."
