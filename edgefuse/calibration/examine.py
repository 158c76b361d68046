"""What is in a calibration set, as plain JSON values: for ``edgefuse calibration show`` and the report of a
compilation. Numpy only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration.labels import MOST_CLASSES, MOST_VALUES
from edgefuse.calibration.likeness import compare, distance
from edgefuse.calibration.lint import ERROR, LEVELS, WARNING, Finding, lint_input, lint_labels, lint_splits
from edgefuse.calibration.measure import Figures, Measured, measure
from edgefuse.calibration.sets import CalibrationSet
from edgefuse.calibration.settle import TAIL, settling
from edgefuse.errors import CalibrationError

BINS = 40
FORMAT = 1


def examine(found: CalibrationSet, state: Collection[str] = ()) -> dict[str, Any]:
    """One pass over each split. Where a split is not ``finite``, NaN and infinity are findings and no errors."""
    spec = found.calibrate.spec
    calibrate = measure("calibrate", found.calibrate, len(found.calibrate), spec, state)
    ranges = {name: figures.range for name, figures in calibrate.inputs.items()}
    golden = measure("golden", found.golden, len(found.golden), spec, state, ranges)
    return describe_set(calibrate, golden, state)


def describe_set(calibrate: Measured, golden: Measured | None, state: Collection[str] = ()) -> dict[str, Any]:
    """The same of what has been measured; *golden* None: there is no other split."""
    splits = [calibrate, *([golden] if golden is not None else [])]
    likeness = compare(calibrate, golden)
    settled = {name: settling(figures) for name, figures in calibrate.inputs.items()}
    labels = [_label_columns(split) for split in splits]
    findings = [item for name, figures in calibrate.inputs.items() for item in lint_input(figures, settled[name])]
    findings += lint_splits(calibrate, golden, likeness) if golden is not None else []
    findings += lint_labels(_classes(labels[0]))
    findings += _untold_labels(calibrate)
    findings += [_resting(name) for name in sorted(state)]
    inputs = {}
    for name, figures in calibrate.inputs.items():
        given = {split.name: split.inputs[name] for split in splits}
        inputs[name] = {**_input_json(figures, given), "settling": settled[name]}
    return {
        "format": FORMAT,
        "splits": {split.name: _split_json(split) for split in splits},
        "inputs": inputs,
        "labels": _labels_json(dict(zip((split.name for split in splits), labels))),
        "likeness": likeness.to_json(),
        "state": sorted(state),
        "findings": [item.to_json() for item in sorted(findings, key=lambda item: LEVELS.index(item.level))],
    }


def _resting(name: str) -> Finding:
    hint = "Its range, and those of what is computed from it, are those of a stream's first step."
    return Finding("note", name, "carries the model's state, which every sample has as a stream begins", hint)


def _untold_labels(split: Measured) -> list[Finding]:
    """Labels that no row shows are said to be there."""
    sizes = {item.size for item in split.labels} if split.labels else set()
    if not sizes or (len(sizes) == 1 and max(sizes) <= MOST_VALUES):
        return []
    each = f"{max(sizes)} numbers" if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)} numbers"
    text = f"has {each} a sample; labels are shown in figures where they have at most {MOST_VALUES}"
    return [Finding("note", "label", text)]


def check_set(found: CalibrationSet, state: Collection[str] = ()) -> CalibrationSet:
    """*found* with what there is to say of it for the report. Raises :class:`CalibrationError` for the first finding
    that makes it useless."""
    examined = examine(found, state)
    for item in examined["findings"]:
        if item["level"] == ERROR:
            where = str(found.golden.files[0].path)
            named = f"{where}: {item['input']}" if item["input"] else where
            raise CalibrationError(item["text"], where=named, hint=item["hint"])
    warnings = sum(item["level"] == WARNING for item in examined["findings"])
    told = f"; {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
    return replace(found, rule=found.rule | summary(examined), origin=found.origin + told)


def summary(examined: Mapping[str, Any]) -> dict[str, Any]:
    """What a compilation's report keeps of it: findings, and each input's range with how far it has settled."""
    inputs = {
        name: {
            **{key: item[key] for key in ("low", "high")},
            "change": item["settling"]["change"] if item["settling"] else None,
        }
        for name, item in examined["inputs"].items()
    }
    return {"findings": examined["findings"], "inputs": inputs}


def _split_json(split: Measured) -> dict[str, Any]:
    stamps = np.array(split.stamps_ns, np.int64)
    return {
        "samples": len(split),
        "groups": len(set(split.groups)) or None,
        "span_s": float((stamps.max() - stamps.min()) / 1e9) if len(stamps) else None,
    }


def _input_json(figures: Figures, given: Mapping[str, Figures]) -> dict[str, Any]:
    item, (low, high), (mean, std) = figures.item, figures.range, figures.overall
    held_out = given.get("golden")
    return {
        "shape": item.shape_text,
        "dtype": item.dtype,
        "modality": item.modality,
        "values": figures.values,
        "low": _number(low),
        "high": _number(high),
        "mean": _number(mean),
        "std": _number(std),
        "percentiles": _percentiles(figures),
        "not_finite": {name: split.nans + split.infinities for name, split in given.items()},
        "channels": _channels_json(figures) if figures.channels > 1 else None,
        "histogram": _histogram({name: split.picks.reshape(-1) for name, split in given.items()}),
        "golden": None
        if held_out is None
        else {
            "low": _number(held_out.range[0]),
            "high": _number(held_out.range[1]),
            "outside": held_out.outside / max(held_out.values, 1),
            "distance": distance(figures, held_out),
        },
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _percentiles(figures: Figures) -> list[float] | None:
    values = figures.picks[np.isfinite(figures.picks)]
    return [float(v) for v in np.percentile(values, [TAIL, 100 - TAIL])] if len(values) else None


def _channels_json(figures: Figures) -> list[dict[str, Any]]:
    low, high = figures.channel_ranges
    return [
        {"low": _number(low[i]), "high": _number(high[i]), "mean": float(figures.mean[i]), "std": float(figures.std[i])}
        for i in range(figures.channels)
    ]


def _histogram(values: Mapping[str, NDArray[np.float64]]) -> dict[str, Any] | None:
    """``edges`` (b + 1,) from the one tail to the other, and for each split the shares (b,) of its values; what lies
    beyond counts for the bins at the ends."""
    finite = {name: given[np.isfinite(given)] for name, given in values.items()}
    both = np.concatenate(list(finite.values()))
    if not len(both):
        return None
    low, high = np.percentile(both, [TAIL, 100 - TAIL])
    if high <= low:
        low, high = both.min(), both.max()
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    shares = {
        name: (np.histogram(np.clip(given, low, high), edges)[0] / max(len(given), 1)).tolist()
        for name, given in finite.items()
    }
    return {"edges": edges.tolist(), "shares": shares}


def _label_columns(split: Measured) -> NDArray[Any] | None:
    """(n, d) in the labels' own type; None where there are none, or they are too large to be told in a few numbers."""
    if not split.labels or split.labels[0].size > MOST_VALUES or len({item.size for item in split.labels}) > 1:
        return None
    return np.stack([item.reshape(-1) for item in split.labels])


def _classes(labels: NDArray[Any] | None) -> NDArray[Any] | None:
    """(n,) where the labels are classes."""
    if labels is None or labels.shape[1] != 1 or labels.dtype.kind not in "iub":
        return None
    return labels[:, 0] if len(np.unique(labels)) <= MOST_CLASSES else None


def _labels_json(columns: Mapping[str, NDArray[Any] | None]) -> dict[str, Any] | None:
    """``classes``: class to its counts by split; or ``dimensions``: range, mean and histogram of each number."""
    given = {name: values for name, values in columns.items() if values is not None}
    if not given:
        return None
    classes = {name: found for name, values in given.items() if (found := _classes(values)) is not None}
    if len(classes) == len(given):
        kinds = np.unique(np.concatenate(list(classes.values())))
        counts = {str(kind): {name: int((v == kind).sum()) for name, v in classes.items()} for kind in kinds}
        return {"classes": counts, "dimensions": None}
    return {"classes": None, "dimensions": _dimensions(given)}


def _dimensions(given: Mapping[str, NDArray[Any]]) -> Sequence[dict[str, Any]]:
    found = []
    for column in range(next(iter(given.values())).shape[1]):
        values = {name: array[:, column].astype(np.float64) for name, array in given.items()}
        first = next(iter(values.values()))
        first = first[np.isfinite(first)]
        found.append(
            {
                "low": _number(first.min(initial=np.inf)),
                "high": _number(first.max(initial=-np.inf)),
                "mean": _number(float(first.mean())) if len(first) else None,
                "histogram": _histogram(values),
            }
        )
    return found
