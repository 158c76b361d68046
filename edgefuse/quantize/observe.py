"""The ranges of a graph's tensors over the calibration set.

Minimum and maximum, exactly: the ranges of small vectors (IMU, joint state) suffer from any clipping (nncf's default
range gave a maximal error of 0.219 against 0.016). One sample is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgefuse.backends.onnxruntime import open_session
from edgefuse.spec import Feed


@dataclass(frozen=True)
class Range:
    low: float
    high: float


def observe_ranges(model: onnx.ModelProto, tensors: Iterable[str], samples: Iterable[Feed]) -> dict[str, Range]:
    """The range of every tensor in *tensors* that holds finite floats, over all *samples*."""
    wanted = list(dict.fromkeys(tensors))
    session = _session_with_outputs(model, wanted)
    names = [output.name for output in session.get_outputs() if output.name in wanted]
    inputs = {node.name for node in session.get_inputs()}
    ranges: dict[str, Range] = {}
    for feed in samples:
        arrays = session.run(names, {key: value for key, value in feed.items() if key in inputs})
        arrays_by_name = dict(zip(names, arrays)) | {key: feed[key] for key in wanted if key in feed}
        for name, array in arrays_by_name.items():
            _widen(ranges, name, array)
    return {name: found for name, found in ranges.items() if np.isfinite([found.low, found.high]).all()}


def _widen(ranges: dict[str, Range], name: str, array: np.ndarray) -> None:
    if array.dtype != np.float32 or not array.size:
        return
    low, high = float(array.min()), float(array.max())
    known = ranges.get(name)
    ranges[name] = Range(min(low, known.low), max(high, known.high)) if known else Range(low, high)


def _session_with_outputs(model: onnx.ModelProto, tensors: list[str]) -> Any:
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    present = {value.name for value in [*observed.graph.output, *observed.graph.input]}
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in present)
    return open_session(observed.SerializeToString(), optimize="basic")
