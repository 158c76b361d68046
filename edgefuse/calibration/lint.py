"""What is suspicious in a calibration set, input by input, with what to do about it. Numpy only.

An *error* means that the set cannot be used, a *warning* that its ranges are probably not the robot's, a *note* that a
person should have a look. The thresholds stand at the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration.likeness import Likeness, distance
from edgefuse.calibration.measure import Figures, Measured

ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)

FP16_MAX = float(np.finfo(np.float16).max)
FP16_NORMAL = float(np.finfo(np.float16).smallest_normal)
FP16_WHOLE = 2048
"""Whole numbers beyond it are rounded to even ones in FP16, whose significand has 11 bits."""

UNSCALED = 10.0
"""Pixels in 0 … 1, also after a mean was taken off and they were divided by a standard deviation, stay below."""

FAR_STD = 20.0
"""Times the others': of 127 INT8 steps for the largest channel the others get six in a standard deviation or fewer."""

SATURATED = 0.01
LEAST_DISTINCT = 16
"""Values of fewer kinds than this are a code and no measurement, and lie at its ends as they should."""

IMBALANCE = 5.0
CLIPPED, STEP, FAR_OUTSIDE = 1e-3, 1 / 255, 0.1
"""Share of held-out values outside the range that calibrates; and how far, in widths of it: a step of INT8 is none."""

APART = 0.2
"""Kolmogorov-Smirnov distance of the two splits."""

GROWING = 0.05
"""Of its width, by which the range grew with the last doubling of the samples."""

NEAR_SHARE = 0.5
MEASURED = ("imu", "audio", "state")
"""Modalities whose sensors have an end of scale that they should not reach."""


@dataclass(frozen=True)
class Finding:
    """``input`` is empty for what concerns all of them, "label" for the labels."""

    level: str
    input: str
    text: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def lint_input(figures: Figures, settled: Mapping[str, Any] | None) -> list[Finding]:
    """Of one input in the split that calibrates; *settled* is :func:`edgefuse.calibration.settle.settling`'s."""
    return [*_not_finite(figures), *(_lint_floats(figures, settled) if figures.floating else ())]


def _not_finite(figures: Figures) -> Iterator[Finding]:
    counts = [f"{count} {what}" for count, what in ((figures.nans, "NaN"), (figures.infinities, "infinite")) if count]
    if counts:
        text = f"{' and '.join(counts)} of {figures.values} values"
        yield Finding(ERROR, figures.item.name, text, "Remove these samples, or repair the recording.")


def _lint_floats(figures: Figures, settled: Mapping[str, Any] | None) -> Iterator[Finding]:
    low, high = figures.range
    if not np.isfinite([low, high]).all():
        return
    yield from _constant(figures)
    yield from _half_precision(figures, max(abs(low), abs(high)))
    yield from _scale(figures, low, high)
    yield from _saturated(figures, low, high)
    if settled is not None:
        yield from _growing(figures.item.name, settled)


def _constant(figures: Figures) -> Iterator[Finding]:
    low, high = figures.channel_ranges
    dead = np.flatnonzero(low == high)
    if low.min() == high.max():
        yield Finding(ERROR, figures.item.name, f"every value is {low[0]:g}", "Was the sensor connected?")
    elif len(dead):
        text = f"{_channels(dead)} always {low[dead[0]]:g}" if len(dead) == 1 else f"{_channels(dead)} never change"
        yield Finding(WARNING, figures.item.name, text, "Was that part connected, and is the field right?")


def _half_precision(figures: Figures, peak: float) -> Iterator[Finding]:
    name = figures.item.name
    if peak > FP16_MAX:
        text = f"values up to {peak:.4g}; FP16 ends at {FP16_MAX:.0f}"
        yield Finding(WARNING, name, text, "FP16 makes infinity of them: scale the input.")
    elif peak > FP16_WHOLE and _are_whole(figures):
        text = f"whole numbers up to {peak:.0f}; FP16 tells them apart up to {FP16_WHOLE}"
        yield Finding(WARNING, name, text, "Scale the input, or pass numbers that name something as int64.")
    low, high = figures.channel_ranges
    peaks = np.maximum(np.abs(low), np.abs(high))
    tiny = np.flatnonzero((peaks > 0) & (peaks < FP16_NORMAL))
    if len(tiny):
        text = f"{_channels(tiny) if figures.channels > 1 else 'all'} below {FP16_NORMAL:.2g}, where FP16 loses digits"
        yield Finding(WARNING, name, text, "Give the input in a smaller unit.")


def _are_whole(figures: Figures) -> bool:
    values = figures.picks[np.isfinite(figures.picks)]
    return bool(len(values)) and bool((values == np.rint(values)).all())


def _scale(figures: Figures, low: float, high: float) -> Iterator[Finding]:
    name = figures.item.name
    if figures.item.modality == "image":
        if high > UNSCALED:
            text = f"values from {low:.4g} to {high:.4g}: pixels as they are stored"
            yield Finding(WARNING, name, text, "Does the model take these, and not 0 to 1? Otherwise scale by 1/255.")
        elif high <= 1.5 / 255 and low >= 0:
            text = f"values from {low:.3g} to {high:.3g}: divided by 255 twice?"
            yield Finding(WARNING, name, text, "Scale once.")
        return
    std = figures.std
    live = np.flatnonzero(std > 0)
    if len(live) < 2:
        return
    for channel in live.tolist():
        others = np.median(std[live[live != channel]])
        if std[channel] > FAR_STD * others:
            text = f"channel {channel} varies {std[channel] / others:.0f} times as much as the others"
            hint = "One INT8 scale serves all channels of an input: give them comparable units."
            yield Finding(WARNING, name, text, hint)
            return


def _saturated(figures: Figures, low: float, high: float) -> Iterator[Finding]:
    values = figures.picks[np.isfinite(figures.picks)]
    if len(np.unique(values[: 1 << 14])) < LEAST_DISTINCT:
        return
    ends = [(end, share) for end in (low, high) if end and (share := float((values == end).mean())) > SATURATED]
    if ends:
        text = " and ".join(f"{_percent(share)} of the values are exactly {end:.4g}" for end, share in ends)
        level = WARNING if figures.item.modality in MEASURED else NOTE
        yield Finding(level, figures.item.name, text, "At the end of the sensor's scale: the true range is unknown.")


def _growing(name: str, settled: Mapping[str, Any]) -> Iterator[Finding]:
    change, count = settled["change"], settled["n"][-1]
    if change >= GROWING:
        text = f"the range grew by {_percent(change)} from {count // 2} to {count} samples"
        yield Finding(WARNING, name, text, "More samples would widen it further: [calibration] samples.")


def lint_splits(calibrate: Measured, golden: Measured, likeness: Likeness) -> list[Finding]:
    """What the two splits say of each other."""
    found = list(_leaks(calibrate, golden, likeness))
    for name, held_out in golden.inputs.items():
        known = calibrate.inputs[name]
        found += _not_finite(held_out)
        if known.floating:
            found += _clipped(known, held_out)
        apart = distance(known, held_out)
        if apart > APART:
            text = f"the splits differ: Kolmogorov-Smirnov distance {apart:.2f}"
            found.append(Finding(WARNING, name, text, "Both should show the robot's whole life: mix days and places."))
    return found


def _leaks(calibrate: Measured, golden: Measured, likeness: Likeness) -> Iterator[Finding]:
    if likeness.shared:
        measured = any(item.floating for item in calibrate.inputs.values())
        text = f"{likeness.shared} of {len(golden)} held-out samples equal samples that calibrate"
        hint = "The verdict needs samples that calibration has not seen: remove them from one of the splits."
        yield Finding(ERROR if measured else NOTE, "", text, hint)
    for split in (calibrate, golden):
        count = likeness.repeated[split.name]
        if count > len(split) / 100:
            text = f"{count} of {len(split)} samples in {split.name} equal another one there"
            yield Finding(WARNING, "", text, "They count twice and show nothing new.")
    if likeness.near_shared > NEAR_SHARE:
        text = f"{_percent(likeness.near_shared)} of the held-out samples are almost equal to one that calibrates"
        yield Finding(NOTE, "", text, "Neighbours in time? Split by recordings or stretches of time.")


def _clipped(known: Figures, held_out: Figures) -> Iterator[Finding]:
    (low, high), (least, most) = known.range, held_out.range
    if not held_out.outside or not np.isfinite([low, high, least, most]).all() or high <= low:
        return
    share, far = held_out.outside / held_out.values, max(low - least, most - high) / (high - low)
    if (share > CLIPPED and far > STEP) or far > FAR_OUTSIDE:
        text = f"{_percent(share)} of the held-out values lie outside its range, by up to {_percent(far)} of its width"
        yield Finding(WARNING, known.item.name, text, "INT8 clips them: other samples, or more, must calibrate.")


def lint_labels(labels: NDArray[Any] | None) -> list[Finding]:
    """Of the classes (n,) in the split that calibrates; none for measured labels."""
    if labels is None or labels.dtype.kind not in "iub":
        return []
    kinds, counts = np.unique(labels, return_counts=True)
    if len(kinds) < 2 or counts.max() <= IMBALANCE * counts.min():
        return []
    most, least = int(counts.argmax()), int(counts.argmin())
    text = f"class {kinds[most]} has {counts[most]} samples, class {kinds[least]} {counts[least]}"
    return [Finding(WARNING, "label", text, "The ranges will be those of the frequent classes.")]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _channels(numbers: NDArray[np.int64]) -> str:
    shown = ", ".join(map(str, numbers[:8].tolist())) + (" …" if len(numbers) > 8 else "")
    return f"channel {shown}" if len(numbers) == 1 else f"channels {shown}"
