"""The accuracy against its limit. Workstation only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes

from edgefuse.report.pictures.drawing import BAD, COMPILED, MUTED, STYLE, WIDTH, make_axes, svg_text
from edgefuse.report.units import decibels_text, score_unit, significant


def accuracy_picture(entry: Mapping[str, Any]) -> str:
    """The drop with its 95 % interval against the limit; for "sqnr" the figure against its floor."""
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=138, margins=(14, 14, 26, 44))
        axes.set(ylim=(0, 1), yticks=[])
        axes.spines["left"].set_visible(False)
        described = _draw_floor(axes, entry) if entry["metric"] == "sqnr" else _draw_interval(axes, entry)
        return svg_text(axes, "accuracy", described)


def _kind(entry: Mapping[str, Any]) -> str:
    return "emulated " if entry.get("emulated") else ""


def _draw_interval(axes: Axes, entry: Mapping[str, Any]) -> str:
    scale, unit = score_unit(entry["metric"])
    low, high = (value * scale for value in entry["ci95"])
    drop, limit = entry["drop"] * scale, entry["limit"] * scale
    left, right = min(low, 0.0), max(high, limit)
    span = (right - left) or 1.0
    start, end = left - 0.22 * span, right + 0.34 * span
    axes.set_xlim(start, end)
    axes.set_xlabel(f"{_kind(entry)}drop in {entry['metric']}{',' + unit if unit else ''}  (worse to the right)")
    _zone(axes, limit, end, foot=0.36)
    axes.vlines(0, 0.36, 1, color=MUTED, linewidth=1.2)
    axes.annotate("no change", (0, 1), xytext=(-4, 5), textcoords="offset points", ha="right", color=MUTED)
    axes.vlines(limit, 0.36, 1, color=BAD, linestyle=(0, (4, 2)), linewidth=1.6)
    axes.annotate(f"limit {significant(limit)}{unit}", (limit, 1), xytext=(4, 5), textcoords="offset points", color=BAD)
    axes.errorbar(
        drop,
        0.68,
        xerr=[[max(drop - low, 0)], [max(high - drop, 0)]],
        fmt="D",
        color=COMPILED,
        markersize=8,
        linewidth=4,
        capsize=7,
        capthick=2.5,
        zorder=3,
    )
    text = f"drop {significant(drop)}{unit}  (95 %: {significant(low)} … {significant(high)})"
    half = 3.7 * len(text) / (WIDTH - 28) * (end - start)  # of the text, so that it stays inside
    middle = min(max((low + high) / 2, start + half), end - half)
    axes.text(middle, 0.2, text, ha="center", va="center", weight="bold")
    return f"{_kind(entry)}{text}, limit {significant(limit)}{unit}"


def _draw_floor(axes: Axes, entry: Mapping[str, Any]) -> str:
    found, floor = entry["candidate"], entry["limit"]
    shown = min(max(found, 0.0), max(2.5 * floor, 150.0))
    end = max(shown, floor, 1.0) * 1.4
    axes.set(xlim=(0, end), xlabel=f"{_kind(entry)}SQNR of the worst output, dB  (better to the right)")
    _zone(axes, 0, floor, foot=0.2)
    axes.vlines(floor, 0.2, 1, color=BAD, linestyle=(0, (4, 2)), linewidth=1.6, zorder=4)
    axes.annotate(f"floor {floor:g} dB", (floor, 1), xytext=(4, 5), textcoords="offset points", color=BAD)
    axes.barh(0.6, shown, height=0.34, color=COMPILED, zorder=3)
    text = decibels_text(found)
    axes.annotate(text, (shown, 0.6), xytext=(8, 0), textcoords="offset points", va="center", weight="bold")
    return f"{_kind(entry)}SQNR {text}, floor {floor:g} dB"


def _zone(axes: Axes, start: float, end: float, foot: float) -> None:
    """What the limit forbids."""
    axes.axvspan(start, end, ymin=foot, facecolor=BAD, alpha=0.12, linewidth=0, zorder=0)
