"""Calibration sets as they lie on a disk: ``.npz`` files of samples, and which of them are in which split. Samples are
read one at a time. Standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.errors import CalibrationError, nearest
from edgefuse.recipe import CalibrationSource
from edgefuse.samples import ArrayHeader, iterate_rows, read_headers
from edgefuse.spec import Array, DimRange, ModelSpec, TensorSpec

SPLITS = ("calibrate", "golden")
GROUP = "group"
"""An optional array: samples with the same value belong together (one recording) and are resampled together."""
STAMP = "stamp_ns"
"""An optional array: when each sample was taken. Faults that unfold in time (old or frozen data) need it."""
MARKS = (GROUP, STAMP)


@dataclass(frozen=True)
class Sample:
    """One feed, with its label, group and time where the set has them."""

    feed: dict[str, Array]
    label: Array | None = None
    group: int | None = None
    stamp_ns: int | None = None


@dataclass(frozen=True)
class _File:
    path: Path
    headers: dict[str, ArrayHeader]
    stacked: dict[str, bool]
    rows: int
    marks: frozenset[str]


@dataclass(frozen=True)
class Split:
    """A view of some samples, in order; iterate it as often as needed. ``finite``: a sample with NaN or infinity raises
    :class:`CalibrationError`."""

    name: str
    spec: ModelSpec
    label: str | None
    files: tuple[_File, ...]
    chosen: frozenset[int]
    finite: bool = True

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[Sample]:
        index = -1
        for file in self.files:
            for row_index, row in enumerate(iterate_rows(file.path, file.headers)):
                index += 1
                if index in self.chosen:
                    yield self._sample(file, row, f"{file.path}, sample {row_index}")

    def feeds(self) -> Iterator[dict[str, Array]]:
        return (sample.feed for sample in self)

    def first(self, count: int) -> Split:
        return replace(self, chosen=frozenset(sorted(self.chosen)[:count]))

    def _sample(self, file: _File, row: dict[str, Array], where: str) -> Sample:
        feed = {}
        for spec in self.spec.inputs:
            array = row[spec.name] if file.stacked[spec.name] else row[spec.name][np.newaxis]
            if self.finite:
                _check_finite(array, f"{where}: {spec.name}")
            feed[spec.name] = array
        label = row[self.label] if self.label else None
        if label is not None and self.finite:
            _check_finite(label, f"{where}: {self.label}")
        marks = {name: int(row[name]) for name in file.marks}
        return Sample(feed, label, marks.get(GROUP), marks.get(STAMP))


def _check_finite(array: Array, where: str) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise CalibrationError(
            "holds NaN or infinity", where=where, hint="Remove the sample, or repair the recording that it came from."
        )


@dataclass(frozen=True)
class CalibrationSet:
    """``rule`` is how they were split, for the report; ``origin``, where they were made just now, out of what."""

    calibrate: Split
    golden: Split
    rule: dict[str, Any]
    origin: str = ""

    @property
    def text(self) -> str:
        return f"{len(self.calibrate)} calibrate, {len(self.golden)} held out{self.origin}"


def read_set(path: Path, source: CalibrationSource, spec: ModelSpec, label: str | None) -> CalibrationSet:
    """The two splits of the set at *path*; raises :class:`CalibrationError` where it does not fit *spec*."""
    if not path.exists():
        raise CalibrationError("there is no such file or folder", where=str(path))
    folders = [path / name for name in SPLITS]
    if path.is_dir() and any(folder.is_dir() for folder in folders):
        return _split_by_folder(folders, source, spec, label)
    return _split_by_seed(path, source, spec, label)


def _split_by_folder(
    folders: list[Path], source: CalibrationSource, spec: ModelSpec, label: str | None
) -> CalibrationSet:
    for folder in folders:
        if not folder.is_dir():
            raise CalibrationError(
                f"has no folder {folder.name!r} beside the other one",
                where=str(folder.parent),
                hint="Give both folders calibrate/ and golden/, or neither.",
            )
    calibrate, golden = (_whole(folder, spec, label) for folder in folders)
    _refuse_shared_files(calibrate, golden)
    calibrate = replace(calibrate, chosen=_pick(len(calibrate), source.samples, source.seed))
    if source.golden is not None:
        golden = replace(golden, chosen=_pick(len(golden), source.golden, source.seed))
    rule = {"by": "folders", "seed": source.seed, "calibrate": len(calibrate), "golden": len(golden)}
    return CalibrationSet(replace(calibrate, name="calibrate"), replace(golden, name="golden"), rule)


def _split_by_seed(path: Path, source: CalibrationSource, spec: ModelSpec, label: str | None) -> CalibrationSet:
    whole = _whole(path, spec, label)
    count = len(whole)
    if count < 2:
        raise CalibrationError(
            f"holds {count} sample; at least 2 are needed (one calibrates, one is held out)", where=str(path)
        )
    order = np.random.default_rng(source.seed).permutation(count)
    cut = min(source.samples, count // 2)
    held_out = order[cut:] if source.golden is None else order[cut : cut + source.golden]
    calibrate = replace(whole, name="calibrate", chosen=frozenset(order[:cut].tolist()))
    golden = replace(whole, name="golden", chosen=frozenset(held_out.tolist()))
    rule = {
        "by": "numpy.random.default_rng(seed).permutation",
        "seed": source.seed,
        "calibrate": len(calibrate),
        "golden": len(golden),
    }
    return CalibrationSet(calibrate, golden, rule)


def _pick(count: int, wanted: int, seed: int) -> frozenset[int]:
    if wanted >= count:
        return frozenset(range(count))
    return frozenset(np.random.default_rng(seed).permutation(count)[:wanted].tolist())


def _whole(path: Path, spec: ModelSpec, label: str | None) -> Split:
    paths = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not paths:
        raise CalibrationError(
            "holds no .npz file", where=str(path), hint="Write one with numpy.savez_compressed(path, name=array, …)."
        )
    files = tuple(_read_file(item, spec, label) for item in paths)
    for name in MARKS:
        without = [file for file in files if name not in file.marks]
        if 0 < len(without) < len(files):
            raise CalibrationError(
                f"has no array {name!r}, which other files of the set have",
                where=str(without[0].path),
                hint="Give it to all files or to none.",
            )
    return Split(path.name, spec, label, files, frozenset(range(sum(file.rows for file in files))))


def _refuse_shared_files(calibrate: Split, golden: Split) -> None:
    shared = {file.path.resolve() for file in calibrate.files} & {file.path.resolve() for file in golden.files}
    if shared:
        raise CalibrationError(
            "is in both splits",
            where=str(sorted(shared)[0]),
            hint="The verdict needs samples that calibration has not seen.",
        )


def _read_file(path: Path, spec: ModelSpec, label: str | None) -> _File:
    headers, stacked = read_headers(path), {}
    for tensor in spec.inputs:
        if tensor.name not in headers:
            raise CalibrationError(f"has no array {tensor.name!r}", where=str(path), hint=nearest(tensor.name, headers))
        headers[tensor.name], stacked[tensor.name] = _layout(headers[tensor.name], tensor, f"{path}: {tensor.name}")
    if label is not None and label not in headers:
        raise CalibrationError(f"has no array {label!r} with the labels", where=str(path), hint=nearest(label, headers))
    marks = [name for name in MARKS if name in headers and name not in (*spec.names, label)]
    kept = {name: headers[name] for name in [*spec.names, *([label] if label else []), *marks]}
    _check_lengths(kept, path)
    if label is not None:
        _check_label(kept[label], f"{path}: {label}")
    for name in marks:
        _check_mark(kept[name], f"{path}: {name}")
    return _File(path, kept, stacked, next(iter(kept.values())).shape[0], frozenset(marks))


def _check_label(header: ArrayHeader, where: str) -> None:
    if header.dtype.kind not in "iufb":
        raise CalibrationError(
            f"has dtype {header.dtype}; expected a number", where=where, hint="Save class indices or measured values."
        )


def _check_mark(header: ArrayHeader, where: str) -> None:
    if header.dtype.kind not in "iu" or len(header.shape) != 1:
        shape = "x".join(map(str, header.shape))
        raise CalibrationError(f"is {shape} {header.dtype}; expected one integer per sample", where=where)


def _layout(header: ArrayHeader, tensor: TensorSpec, where: str) -> tuple[ArrayHeader, bool]:
    """The header as rows of samples, and whether a row already has the batch dimension.

    Rank one more than the input's: sample i is ``a[i]``. Equal rank, and the input's first dimension a batch (1, or a
    range from 1): sample i is ``a[i:i+1]``.
    """
    if header.dtype != tensor.dtype:
        raise CalibrationError(
            f"has dtype {header.dtype}; the model takes {tensor.dtype}",
            where=where,
            hint=f"Convert it with array.astype(numpy.{tensor.dtype}) before saving.",
        )
    shape, rank = header.shape, len(tensor.shape)
    if len(shape) == rank + 1 and tensor.fits(shape[1:]):
        return header, True
    batch = tensor.shape[0] if tensor.shape else 0
    is_batch = batch == 1 or (isinstance(batch, DimRange) and batch.min == 1)
    if len(shape) == rank and is_batch and tensor.fits((1, *shape[1:])):
        return header, False
    text = "x".join(map(str, shape)) or "scalar"
    stacked = f"(n)x{tensor.shape_text}"
    also = f" or (n)x{'x'.join(map(str, tensor.shape[1:]))}" if is_batch and rank > 1 else ""
    raise CalibrationError(f"has shape {text}; expected {stacked}{also}, n samples", where=where)


def _check_lengths(headers: dict[str, ArrayHeader], path: Path) -> None:
    for name, header in headers.items():
        if not header.shape:
            raise CalibrationError("is a single number; expected one value per sample", where=f"{path}: {name}")
    lengths = {name: header.shape[0] for name, header in headers.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise CalibrationError(f"the arrays have unequally many samples: {listed}", where=str(path))
    if not next(iter(lengths.values())):
        raise CalibrationError("holds no samples", where=str(path))


def check_constant(split: Split, state: Collection[str] = ()) -> None:
    """An input that never changes calibrates nothing, unless it carries the model's *state*; one pass that also meets
    NaN and damaged data early."""
    first: dict[str, Array] = {}
    varies: set[str] = set()
    for sample in split:
        for name, array in sample.feed.items():
            seen = first.setdefault(name, array)
            if name not in varies and (seen.shape != array.shape or not np.array_equal(seen, array)):
                varies.add(name)
    for name, array in first.items():
        if name in varies or name in state or len(split) < 2 or not array.size:
            continue
        if not np.ptp(array.astype(np.float64)):
            raise CalibrationError(
                f"every value of {name!r} is {array.flat[0]} in all {len(split)} samples",
                where=str(split.files[0].path.parent),
                hint="A constant input gives no range: was the sensor connected?",
            )
