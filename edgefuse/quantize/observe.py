"""The ranges of a graph's tensors over the calibration set.

Minimum and maximum, exactly: the ranges of small vectors (IMU, joint state) suffer from any clipping (nncf's default
range gave a maximal error of 0.219 against 0.016). One sample is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgefuse.backends.onnxruntime import open_session
from edgefuse.machine import usable_cores
from edgefuse.spec import Array, Feed

SETTLED = 0.01
"""Of a range's width: with more of them the scale would be off by a step and a quarter of 127."""


@dataclass(frozen=True)
class Range:
    """Minimum and maximum of a tensor over the samples, and its largest shape (by number of elements)."""

    low: float
    high: float
    shape: tuple[int, ...] = ()

    @property
    def peak(self) -> float:
        return max(abs(self.low), abs(self.high))

    def union(self, other: Range) -> Range:
        """The range of both; the shape is the one with more elements."""
        shape = max(self.shape, other.shape, key=math.prod)
        return Range(min(self.low, other.low), max(self.high, other.high), shape)


def observe_ranges(
    model: onnx.ModelProto,
    tensors: Iterable[str],
    samples: Iterable[Feed],
    finite_part: bool = False,
    growth: dict[str, float] | None = None,
) -> dict[str, Range]:
    """The range of every tensor in *tensors* that holds finite floats, over all *samples*; with *finite_part*, of the
    finite values also of those that hold others. *growth*, where given, gets the share of each range's width that only
    the second half of the samples has shown."""
    wanted = list(dict.fromkeys(tensors))
    session = _session_with_outputs(model, wanted)
    names = [output.name for output in session.get_outputs() if output.name in wanted]
    inputs = {node.name for node in session.get_inputs()}
    ranges: dict[str, Range] = {}
    widths: dict[str, list[tuple[int, float]]] = {}
    count = 0
    for count, feed in enumerate(samples, 1):
        arrays = session.run(names, {key: value for key, value in feed.items() if key in inputs})
        arrays_by_name = dict(zip(names, arrays)) | {key: feed[key] for key in wanted if key in feed}
        for name, array in arrays_by_name.items():
            if isinstance(array, np.ndarray) and array.dtype == np.float32:  # a sequence is a list
                _widen(ranges, name, array.shape, array[np.isfinite(array)] if finite_part else array)
        if growth is not None:
            _note_widths(widths, ranges, count)
    finite = {name: found for name, found in ranges.items() if np.isfinite([found.low, found.high]).all()}
    if growth is not None:
        growth |= {name: _growth(widths[name], count // 2) for name in finite}
    return finite


def _note_widths(widths: dict[str, list[tuple[int, float]]], ranges: dict[str, Range], count: int) -> None:
    """Where a range has become wider: of n samples that happens about 2 ln n times, so that little is kept."""
    for name, found in ranges.items():
        known = widths.setdefault(name, [(0, 0.0)])
        if found.high - found.low > known[-1][1]:
            known.append((count, found.high - found.low))


def _growth(widths: list[tuple[int, float]], half: int) -> float:
    last = widths[-1][1]
    return 1 - next(width for count, width in reversed(widths) if count <= half) / last if last else 0.0


def settled_text(growth: dict[str, float]) -> str:
    """What a person should know of it: ranges that still grow would grow further with more samples."""
    share = sum(value < SETTLED for value in growth.values()) / max(len(growth), 1)
    return f"ranges of {share:.0%} of the tensors moved by less than {SETTLED:.0%} over the last half of the samples"


def _widen(ranges: dict[str, Range], name: str, shape: tuple[int, ...], values: Array) -> None:
    if values.size:
        found = Range(float(values.min()), float(values.max()), shape)
        ranges[name] = ranges[name].union(found) if name in ranges else found


def _session_with_outputs(model: onnx.ModelProto, tensors: list[str]) -> Any:
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    present = {value.name for value in [*observed.graph.output, *observed.graph.input]}
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in present)
    return open_session(observed.SerializeToString(), optimize="basic", threads=usable_cores())
