"""What a calibration set holds: histograms, how ranges settle, labels. Workstation only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from edgefuse.report.pictures.drawing import BAD, COMPILED, FLOAT, GRID, MUTED, STYLE, make_axes, svg_text
from edgefuse.report.units import significant

COLOURS = {"calibrate": COMPILED, "golden": FLOAT, "recording": COMPILED}
NAMES = {"calibrate": "calibrate", "golden": "held out", "recording": "recording"}
MOST_CLASSES = 24
"""Bars that can be told apart in a picture of a phone's width."""


def histogram_picture(name: str, number: int, histogram: Mapping[str, Any]) -> str:
    """Shares of the values, one line a split. A bar that stands far above all others is cut off."""
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=158, margins=(46, 12, 26, 46))
        edges, shares = np.array(histogram["edges"]), histogram["shares"]
        for split, values in shares.items():
            given, colour = np.array(values) * 100, COLOURS[split]
            axes.stairs(given, edges, color=colour, linewidth=1.6, label=NAMES[split], zorder=3)
            if split != "golden":
                axes.stairs(given, edges, color=colour, fill=True, alpha=0.22, zorder=2)
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, _top(histogram) * 1.08))
        _finish(axes, "% of the values")
        axes.set_xlabel(f"value of {name}")
        if len(shares) > 1:
            _legend(axes)
        return svg_text(axes, f"histogram-{number}", f"Histogram of {name}")


def highest_bar(histogram: Mapping[str, Any]) -> str | None:
    """Of how many percent it is, where the picture cuts it off."""
    highest = 100 * max(max(values) for values in histogram["shares"].values())
    return f"{significant(highest, 2)} %" if highest > _top(histogram) else None


def _top(histogram: Mapping[str, Any]) -> float:
    """In percent: the highest bar, or four times the highest of the lower seven eighths."""
    ordered = np.sort(np.concatenate([np.array(values) for values in histogram["shares"].values()])) * 100
    return min(float(ordered[-1]), 4 * max(float(ordered[-max(len(ordered) // 8, 2)]), 1e-3))


def settling_picture(name: str, number: int, settled: Mapping[str, Any]) -> str:
    """Least and greatest value, and the percentiles, against the number of samples."""
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=158, margins=(46, 12, 26, 46))
        sizes = np.array(settled["n"], float)
        axes.set_xscale("log", base=2)
        axes.fill_between(sizes, settled["low"], settled["high"], color=COMPILED, alpha=0.16, linewidth=0, zorder=1)
        for key in ("low", "high"):
            axes.plot(sizes, settled[key], "o-", color=COMPILED, linewidth=1.8, markersize=4, zorder=3)
            axes.plot(sizes, settled[f"p_{key}"], "--", color=FLOAT, linewidth=1.4, zorder=2)
        axes.xaxis.set_major_locator(FixedLocator(_readable(settled["n"])))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        span = max(settled["high"]) - min(settled["low"]) or 1.0
        axes.set(ylim=(min(settled["low"]) - 0.08 * span, max(settled["high"]) + 0.08 * span))
        axes.set_xlabel("samples, at random")
        _finish(axes, "range;  dashed: 99.8 % of the values")
        return svg_text(axes, f"settling-{number}", f"Range of {name} against the number of samples")


def _readable(sizes: list[int]) -> list[int]:
    """Those whose figures do not run into each other on the logarithmic axis: never two within a factor of 1.5."""
    found = [sizes[-1]]
    for size in reversed(sizes[:-1]):
        if found[-1] / size >= 1.5:
            found.append(size)
    return found[::-1]


def classes_picture(classes: Mapping[str, Mapping[str, int]]) -> str | None:
    """Samples of each class, a bar a split; None of too many classes."""
    if not 1 < len(classes) <= MOST_CLASSES:
        return None
    splits = list(next(iter(classes.values())))
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=190, margins=(46, 12, 28, 46))
        places, width = np.arange(len(classes), dtype=float), 0.8 / len(splits)
        for number, split in enumerate(splits):
            counts = [counts[split] for counts in classes.values()]
            share = 100 * np.array(counts) / max(sum(counts), 1)
            shift = (number - (len(splits) - 1) / 2) * width
            axes.bar(places + shift, share, width * 0.92, color=COLOURS[split], label=NAMES[split], zorder=3)
        axes.xaxis.set_major_locator(FixedLocator(places.tolist()))
        axes.set_xticklabels(list(classes))
        axes.set_xlim(-0.6, len(classes) - 0.4)
        axes.axhline(100 / len(classes), color=BAD, linestyle=(0, (4, 2)), linewidth=1.2, zorder=4)
        _finish(axes, "% of the split;  dashed: balanced")
        axes.set_xlabel("class")
        if len(splits) > 1:
            _legend(axes)
        return svg_text(axes, "classes", "Samples of each class")


def _legend(axes: Axes) -> None:
    """Above the picture, where no line runs."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.02, 0.98), frameon=False, ncols=2, handlelength=1.2, columnspacing=1.2
    )


def _finish(axes: Axes, above: str) -> None:
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    if (
        max(abs(value) for value in axes.get_ylim()) < 1e-3
    ):  # an exponent of its own would stand over the picture's name
        axes.yaxis.set_major_formatter(lambda value, place: f"{value:.0e}")
    axes.annotate(above, (0, 1), xytext=(-34, 9), xycoords="axes fraction", textcoords="offset points", color=MUTED)
