"""What the workstation knows of a bundle's parts, and what it makes of a device's answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from edgefuse.blame.basis import FLOAT, Basis
from edgefuse.blame.seams import Seam
from edgefuse.blame.verdict import PartRow, Whole
from edgefuse.bundle import Bundle
from edgefuse.check import REFERENCE, Comparison, Judge, compare_stages, judge_accuracy
from edgefuse.errors import ModelError
from edgefuse.fidelity import Fidelity
from edgefuse.golden import GoldenSample
from edgefuse.manifest import REPORT
from edgefuse.part_answers import PartAnswers, Row
from edgefuse.parts import Part, Partition
from edgefuse.spec import Array

PAIR = (REFERENCE, "candidate")


@dataclass(frozen=True)
class Evidence:
    """``given``: for each of ``samples`` the boundary tensors that a part is fed with to be seen alone. ``written``:
    what ``model.onnx`` makes of the samples as it is written. ``floats`` and ``compiled``: the float graph (None: there
    is none) and ``model.onnx``, in which parts are replaced. ``seams``: what each boundary tensor stands for."""

    bundle: Bundle
    judge: Judge
    partition: Partition
    samples: Sequence[GoldenSample]
    seams: Mapping[str, Seam]
    floats: Basis | None
    compiled: Basis
    given: Sequence[Row]
    written: PartAnswers
    notes: tuple[str, ...]

    @cached_property
    def report(self) -> dict[str, Any]:
        path = self.bundle.path / REPORT
        if REPORT not in self.bundle.manifest["files"]:
            return {}
        self.bundle.check_files(path)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def judge_part(self, part: Part, answers: PartAnswers) -> PartRow:
        """What *part* did in *answers*, and what it should have done."""
        basis = self._basis(part)
        made, written = (_made_by(part, found) for found in (answers, self.written))
        alone = self._compare(basis.effect(part, self.given, made))
        own = self._tensors(part, basis, made) or list(alone.fidelities.values())
        return PartRow(
            part.name,
            part.streams,
            min(item.sqnr_db for item in own),
            min((item.sqnr_centered_db for item in own if item.sqnr_centered_db is not None), default=None),
            alone.worst_sqnr_db,
            self._compare(basis.effect(part, self.given, written)).worst_sqnr_db,
            _expected_db(self.report, part.name),
            _drop(alone, self.judge),
            basis.kind,
        )

    def judge_whole(self, answers: PartAnswers, shipped: bool) -> Whole:
        """The answers as they are; *shipped*: whether the parts are the bundle's own."""
        whole, in_a_row, written = (
            self._compare([{name: row[name] for name in self.bundle.spec.outputs} for row in rows])
            for rows in (answers.whole, answers.sequence, self.written.sequence)
        )
        return Whole(
            whole.worst_sqnr_db,
            in_a_row.worst_sqnr_db,
            written.worst_sqnr_db,
            _compiled_db(self.report),
            _fails(whole, self.judge),
            shipped,
            len(self.samples),
            self.judge.accuracy.metric,
        )

    def _basis(self, part: Part) -> Basis:
        """The float graph, where it has every boundary tensor of *part*."""
        touched = {tensor.name for tensor in self.partition.tensors} & {*part.inputs, *part.outputs}
        return self.floats if self.floats is not None and touched <= self.floats.seams.keys() else self.compiled

    def _tensors(self, part: Part, basis: Basis, made: Sequence[Row]) -> list[Fidelity]:
        """Of the boundary tensors that *part* makes, by the values that they stand for."""
        found = []
        for name in (name for name in part.outputs if name in basis.seams):
            item, decode = Fidelity(name), self.seams[name].decode
            for real, row in zip(basis.real(name), made):
                item.add(real if basis.kind == FLOAT else decode(real), decode(row[name]))
            found.append(item)
        return found

    def _compare(self, outputs: Sequence[Row]) -> Comparison:
        return compare_stages(self.samples, {"candidate": _Rows(outputs)}, self.judge, [PAIR])[PAIR]


class _Rows:
    """A runner that answers with *rows*, one after another."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows: Iterator[Row] = iter(rows)

    def __call__(self, feed: Mapping[str, Array]) -> Row:
        return next(self._rows)

    def close(self) -> None:
        self._rows = iter(())


def _made_by(part: Part, answers: PartAnswers) -> list[Row]:
    """What *part* made: from given values where it reads other parts, else in the row of all."""
    return [{name: row[name] for name in part.outputs} for row in answers.alone.get(part.name, answers.sequence)]


def _drop(comparison: Comparison, judge: Judge) -> float | None:
    if judge.metric is None:
        return None
    try:
        return float(judge_accuracy(comparison, PAIR, judge)["drop"])
    except ModelError:  # every answer is NaN or infinite: the dB say so
        return None


def _fails(comparison: Comparison, judge: Judge) -> bool:
    """Whether the answers are certainly beyond the limit."""
    try:
        return comparison.nonfinite > 0 or bool(judge_accuracy(comparison, PAIR, judge)["verdict"] == "fail")
    except ModelError:
        return True


def _compiled_db(report: Mapping[str, Any]) -> float | None:
    """What the whole answer had when the bundle was compiled, plain or mean-free."""
    found = [item.get(key) for item in report.get("fidelity") or () for key in ("sqnr_db", "sqnr_centered_db")]
    return min((float(value) for value in found if value is not None), default=None)


def _expected_db(report: Mapping[str, Any], part: str) -> float | None:
    """What *part* alone lost in INT8 when the bundle was compiled, where the plan has it in INT8."""
    plan = report.get("plan") or {}
    int8 = {row["name"] for row in plan.get("parts") or () if row.get("int8")}
    rows = [row for row in plan.get("sensitivity") or () if row["name"] == row["part"] == part]
    return float(rows[0]["sqnr_db"]) if rows and part in int8 else None
