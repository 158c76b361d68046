"""What each part of a bundle's model answers on this device: in a row, and alone. Numpy and one vendor library.

:mod:`edgefuse.blame` asks, at the workstation, and tells from the answers where an error starts. The parts are those
that the bundle ships, or ONNX files that the workstation cut from ``model.onnx`` and that are compiled here.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.assembled import Assembled, part_spec
from edgefuse.backends import load_backend
from edgefuse.bundle import Bundle, open_bundle
from edgefuse.golden import GoldenSample, read_golden, stacked
from edgefuse.manifest import GOLDEN
from edgefuse.parts import Part, Partition
from edgefuse.runtime import open_parts, open_runner
from edgefuse.spec import Array

Row = dict[str, Array]
"""Tensors of one sample, by name."""


@dataclass(frozen=True)
class Question:
    """``rows``: which golden samples. ``partition``: of the parts that are to be compiled; None: of those shipped."""

    rows: tuple[int, ...]
    partition: Partition | None = None

    def to_json(self) -> dict[str, Any]:
        return {"rows": list(self.rows), "partition": self.partition.to_json() if self.partition else None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Question:
        cut = data["partition"]
        return cls(tuple(data["rows"]), None if cut is None else Partition.from_json(cut))


@dataclass
class PartAnswers:
    """One row a sample in each list. ``whole``: the outputs as an application gets them. ``sequence``: all that the
    parts make, run one after another. ``alone``: part to all that it makes from given boundary tensors, for parts that
    read some.
    """

    whole: list[Row]
    sequence: list[Row]
    alone: dict[str, list[Row]]

    def to_arrays(self, partition: Partition) -> dict[str, Array]:
        """Each tensor as one array ``(samples, *shape)``."""
        found = {**stacked(self.whole, "whole."), **stacked(self.sequence, "sequence.")}
        for place, part in enumerate(partition.parts):
            found |= stacked(self.alone.get(part.name, []), f"alone.{place}.")
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], partition: Partition) -> PartAnswers:
        alone = {part.name: rows_of(arrays, f"alone.{place}.") for place, part in enumerate(partition.parts)}
        return cls(
            rows_of(arrays, "whole."),
            rows_of(arrays, "sequence."),
            {name: rows for name, rows in alone.items() if rows},
        )


def rows_of(arrays: Mapping[str, Array], prefix: str = "") -> list[Row]:
    """The samples of those *arrays* whose name starts with *prefix*, which is taken off."""
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    count = len(next(iter(own.values()))) if own else 0
    return [{name: array[index] for name, array in own.items()} for index in range(count)]


def given_arrays(given: Sequence[Row]) -> dict[str, Array]:
    """Boundary tensors, as they are sent to the device."""
    return stacked(given, "given.")


def given_rows(question: Question, arrays: Mapping[str, Array]) -> list[Row]:
    """What :func:`given_arrays` sent; a model of one part has none."""
    return rows_of(arrays, "given.") or [{} for _ in question.rows]


def reads_others(part: Part, partition: Partition) -> bool:
    """Whether *part* reads what another part makes."""
    return not {tensor.name for tensor in partition.tensors}.isdisjoint(part.inputs)


def read_rows(path: Path, rows: Sequence[int]) -> list[GoldenSample]:
    """Those golden samples of *path*; each read once, in the file's order."""
    wanted, last = set(rows), max(rows, default=-1)
    found = []
    for index, sample in enumerate(read_golden(path)):
        if index > last:
            break
        if index in wanted:
            found.append(sample)
    return found


def run_in_a_row(parts: Assembled, samples: Iterable[GoldenSample]) -> list[Row]:
    """All that the parts make of each sample."""
    found = []
    for sample in samples:
        values: Row = dict(sample.feed)
        parts.run(parts.partition.parts, values)
        found.append({name: values[name] for part in parts.partition.parts for name in part.outputs})
    return found


def run_alone(parts: Assembled, samples: Sequence[GoldenSample], given: Sequence[Row]) -> dict[str, list[Row]]:
    """Each part that reads others' tensors, fed with *given* ones in their place."""
    found = {}
    for part in (item for item in parts.partition.parts if reads_others(item, parts.partition)):
        rows = []
        for sample, boundary in zip(samples, given):
            values: Row = {**sample.feed, **boundary}
            parts.run([part], values)
            rows.append({name: values[name] for name in part.outputs})
        found[part.name] = rows
    return found


def answer(
    bundle: Bundle, question: Question, given: Sequence[Row], onnx_paths: Mapping[str, Path] | None = None
) -> PartAnswers:
    """Run the bundle, and its parts, on golden samples. *given* holds every boundary tensor for each of them;
    *onnx_paths* the parts of the question's partition. Raises as :func:`edgefuse.runtime.open_runner`."""
    samples = read_rows(bundle.path / GOLDEN, question.rows)
    whole = open_runner(bundle)
    try:
        outputs = [whole(sample.feed) for sample in samples]
    finally:
        whole.close()
    with _opened(bundle, question.partition, onnx_paths or {}) as parts:
        return PartAnswers(outputs, run_in_a_row(parts, samples), run_alone(parts, samples, given))


@contextmanager
def _opened(bundle: Bundle, cut: Partition | None, onnx_paths: Mapping[str, Path]) -> Iterator[Assembled]:
    with tempfile.TemporaryDirectory(prefix="edgefuse-") as folder:
        parts = open_parts(bundle) if cut is None else _compiled(bundle, cut, onnx_paths, Path(folder))
        try:
            yield parts
        finally:
            parts.close()


def _compiled(bundle: Bundle, cut: Partition, onnx_paths: Mapping[str, Path], folder: Path) -> Assembled:
    """The parts, compiled as the whole graph was."""
    backend, settings, runners = load_backend(bundle.manifest["artifact"]["backend"]), bundle.settings, {}
    for place, part in enumerate(cut.parts):
        out, spec = folder / str(place), part_spec(part, cut, bundle.spec)
        out.mkdir()
        named = shutil.copyfile(onnx_paths[part.name], folder / f"{place}.onnx")  # OpenVINO goes by the file's name
        backend.compile(named, out, spec, settings)
        runners[part.name] = backend.open(out, spec, settings)
    return Assembled(cut, runners, bundle.spec)


def answer_in_files(path: str, question: dict[str, Any], given: str, out: str, onnx_paths: dict[str, str]) -> int:
    """:func:`answer` for a child process: *given* and *out* are ``.npz`` files. Returns how many samples."""
    asked = Question.from_json(question)
    with np.load(given, allow_pickle=False) as arrays, open_bundle(Path(path), hashes=False) as bundle:
        rows = given_rows(asked, arrays)
        found = answer(bundle, asked, rows, {name: Path(file) for name, file in onnx_paths.items()})
        np.savez(out, **found.to_arrays(asked.partition or bundle.partition))  # type: ignore[arg-type]
    return len(found.whole)
