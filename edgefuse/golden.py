"""``golden.npz``: the held-out samples with the float model's outputs, so that accuracy can be checked
without torch.

Arrays, each with one row per sample: ``inputs.NAME``, ``reference.OUTPUT``, and where the set has them ``label``,
``group`` and ``stamp_ns``. Numpy only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefuse.backends import Runner
from edgefuse.calibration import Sample
from edgefuse.errors import BundleError, CalibrationError, ModelError
from edgefuse.manifest import GOLDEN
from edgefuse.samples import ArrayHeader, SampleWriter, iterate_rows, read_headers
from edgefuse.spec import Array, Feed, ModelSpec

LATENCY_FEEDS = 16


@dataclass(frozen=True)
class GoldenSample:
    feed: dict[str, Array]
    reference: dict[str, Array]
    label: Array | None
    group: int | None
    stamp_ns: int | None = None


def write_golden(path: Path, samples: Iterable[Sample], reference: Runner) -> None:
    """Run the float model over *samples* and write both to *path*, one sample in memory."""
    with SampleWriter(path) as writer:
        for index, sample in enumerate(samples):
            outputs = reference(sample.feed)
            _check_finite(outputs, index)
            row = {f"inputs.{name}": array for name, array in sample.feed.items()}
            row |= {f"reference.{name}": array for name, array in outputs.items()}
            if sample.label is not None:
                row["label"] = np.asarray(sample.label)
            if sample.group is not None:
                row["group"] = np.asarray(sample.group, np.int64)
            if sample.stamp_ns is not None:
                row["stamp_ns"] = np.asarray(sample.stamp_ns, np.int64)
            writer.write(row)


def write_outputs(path: Path, golden: Path, runners: Mapping[str, Runner]) -> None:
    """What each of *runners* answers to the golden samples, as arrays ``RUNNER.OUTPUT`` with one row per sample."""
    with SampleWriter(path) as writer:
        for sample in read_golden(golden):
            answers = {name: runner(sample.feed) for name, runner in runners.items()}
            writer.write({f"{name}.{key}": array for name, found in answers.items() for key, array in found.items()})


class Recorded:
    """A runner that answers what was written by :func:`write_outputs`, sample after sample, whatever it is fed."""

    def __init__(self, path: Path, name: str) -> None:
        self._rows, self._prefix = iterate_rows(path, read_headers(path)), f"{name}."

    def __call__(self, feed: Feed) -> dict[str, Array]:
        return _part(next(self._rows), self._prefix)

    def close(self) -> None:
        self._rows = iter(())


def _check_finite(outputs: dict[str, Array], index: int) -> None:
    """−inf may be meant (a masked logit); NaN never is."""
    for name, array in outputs.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ModelError(
                f"the float model's output {name!r} holds NaN for held-out sample {index}",
                hint="Check the weights and this sample's inputs before compiling.",
            )


def read_golden(path: Path) -> Iterator[GoldenSample]:
    """The samples in order, one in memory at a time."""
    for row in iterate_rows(path, read_headers(path)):
        yield GoldenSample(
            _part(row, "inputs."),
            _part(row, "reference."),
            row.get("label"),
            int(row["group"]) if "group" in row else None,
            int(row["stamp_ns"]) if "stamp_ns" in row else None,
        )


def first_feeds(path: Path) -> list[Feed]:
    """The feeds that latency is measured with."""
    return [sample.feed for sample in itertools.islice(read_golden(path), LATENCY_FEEDS)]


class GoldenRanges:
    """The samples of *path* for whoever asks for them range by range: the file is packed, so that a range which begins
    where the last one ended is read on from there."""

    def __init__(self, path: Path) -> None:
        self.path, self._next = path, -1
        self._rows: Iterator[GoldenSample] = iter(())

    def take(self, start: int, count: int) -> Iterator[GoldenSample]:
        """Samples *start* to *start + count*, or as many as there are."""
        if start != self._next:
            self._rows = itertools.islice(read_golden(self.path), start, None)
        self._next = start
        for sample in itertools.islice(self._rows, count):
            self._next += 1
            yield sample


def stacked(rows: Sequence[Mapping[str, Array]], prefix: str = "") -> dict[str, Array]:
    """The tensors of several samples, each as one array ``(len(rows), *shape)`` whose name begins with *prefix*."""
    return {f"{prefix}{name}": np.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def answering(runner: Runner, samples: Path) -> Runner:
    """*runner* for one pass over *samples* from the first on: one on another machine answers many at a time."""
    over = getattr(runner, "over", None)
    answers: Runner = runner if over is None else over(samples)
    return answers


def check_golden(path: Path, spec: ModelSpec, labelled: bool) -> int:
    """How many samples *path* holds; raises :class:`BundleError` unless it fits the model and, where *labelled*, has
    labels."""
    headers = _headers(path)
    wanted = {f"inputs.{tensor.name}": tensor for tensor in spec.inputs}
    needed = [*wanted, *(f"reference.{name}" for name in spec.outputs), *(["label"] if labelled else [])]
    rows = _check_rows(path, headers, needed)
    for name, tensor in wanted.items():
        found = headers[name]
        if found.dtype != np.dtype(tensor.dtype) or not tensor.fits(found.shape[1:]):
            raise _damaged(
                path, f"{name} is {found.dtype} {found.shape[1:]}; expected {tensor.dtype} {tensor.shape_text}"
            )
    return rows


def check_outputs(path: Path, runners: Iterable[str], outputs: Iterable[str], rows: int) -> None:
    """Raise :class:`BundleError` unless *path* holds what each of *runners* answered to *rows* samples."""
    outputs = tuple(outputs)
    needed = [f"{name}.{output}" for name in runners for output in outputs]
    found = _check_rows(path, _headers(path), needed)
    if found != rows:
        raise _damaged(path, f"holds answers to {found} samples; {GOLDEN} has {rows}")


def _headers(path: Path) -> dict[str, ArrayHeader]:
    try:
        return read_headers(path)
    except CalibrationError as error:
        raise _damaged(path, error.what) from None


def _check_rows(path: Path, headers: dict[str, ArrayHeader], needed: Iterable[str]) -> int:
    for name in needed:
        if name not in headers:
            raise _damaged(path, f"lacks the array {name!r}")
        if headers[name].dtype.kind not in "biuf":
            raise _damaged(path, f"{name} is {headers[name].dtype}; expected numbers")
    rows = {header.shape[0] if header.shape else 0 for header in headers.values()}
    if len(rows) != 1 or rows == {0}:
        raise _damaged(
            path, f"its arrays have {', '.join(map(str, sorted(rows)))} rows; expected equally many, and some"
        )
    return rows.pop()


def _damaged(path: Path, what: str) -> BundleError:
    return BundleError(what, where=path.name, hint="Copy or compile the bundle again.")


def _part(row: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in row.items() if name.startswith(prefix)}
