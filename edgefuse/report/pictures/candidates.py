"""Every precision that was tried, latency against what it costs. Workstation only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from edgefuse.report.pictures.drawing import BAD, COMPILED, FLOAT, GRID, INK, MUTED, STYLE, make_axes, svg_text
from edgefuse.report.units import score_unit

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


def candidates_picture(plan: Mapping[str, Any], accuracy: Mapping[str, Any]) -> str | None:
    """Every precision that was tried, latency against what it costs; None where nothing was compared.

    The cost is the drop in the metric, or SQNR where all drop alike (and where SQNR is the metric).
    """
    rows = [row for row in plan["candidates"] if row.get("p50_ms") is not None]
    if len(rows) < 2:
        return None
    by_drop = len({row["drop"] for row in rows}) > 1
    scale, unit = score_unit(accuracy["metric"])
    points = [(row["p50_ms"], row["drop"] * scale if by_drop else _capped_db(row)) for row in rows]
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=268, margins=(46, 14, 30, 46))
        axes.set_xlim(_padded([x for x, _ in points], least=0.4, room=0.12))
        axes.set_xlabel("p50 of one call, ms  (faster to the left)")
        axes.grid(color=GRID, linewidth=0.8)
        losses = [y for _, y in points]
        if by_drop:
            _drop_scale(axes, losses, accuracy["limit"] * scale, f"drop in {accuracy['metric']}", unit)
        else:
            _decibel_scale(axes, losses, accuracy)
        _draw_candidates(axes, rows, points, plan["name"])
        return svg_text(axes, "candidates", f"{len(rows)} candidates, {plan['name']} chosen")


def _capped_db(row: Mapping[str, Any]) -> float:
    return min(max(float(row["sqnr_db"]), -20.0), 160.0)


def _padded(values: Sequence[float], *, least: float, room: float) -> tuple[float, float]:
    """The range of *values* with *room* beside it, never narrower than *least* of the largest: noise must not
    look like a difference."""
    low, high = min(values), max(values)
    missing = max(least * high - (high - low), 0.0) / 2
    low, high = low - missing, high + missing
    return max(low - room * (high - low), 0.0), high + room * (high - low)


def _drop_scale(axes: Axes, drops: Sequence[float], limit: float, name: str, unit: str) -> None:
    low, high = min(0.0, *drops), max(limit, *drops)
    pad = 0.22 * ((high - low) or 1.0)  # room for a label above the uppermost point
    axes.set_ylim(high + pad, low - pad)
    axes.axhspan(limit, high + pad, facecolor=BAD, alpha=0.12, linewidth=0, zorder=0)
    axes.axhline(limit, color=BAD, linestyle=(0, (4, 2)), linewidth=1.4)
    _above(axes, f"{name}{',' + unit if unit else ''}  (better up; shaded: beyond the limit)")


def _decibel_scale(axes: Axes, found: Sequence[float], accuracy: Mapping[str, Any]) -> None:
    axes.set_ylim(min(0.0, *found), max(*found, 1.0) * 1.15)
    if accuracy["metric"] != "sqnr":
        _above(axes, "SQNR, dB  (better up)")
        return
    axes.axhspan(axes.get_ylim()[0], accuracy["limit"], facecolor=BAD, alpha=0.12, linewidth=0, zorder=0)
    axes.axhline(accuracy["limit"], color=BAD, linestyle=(0, (4, 2)), linewidth=1.4)
    _above(axes, "SQNR, dB  (better up; shaded: below the floor)")


def _above(axes: Axes, text: str) -> None:
    axes.annotate(text, (0, 1), xytext=(-34, 10), xycoords="axes fraction", textcoords="offset points", color=MUTED)


def _draw_candidates(axes: Axes, rows: Sequence[Mapping[str, Any]], points: Sequence[Point], chosen: str) -> None:
    taken = [*_line_boxes(axes), *(_marker_box(axes, point) for point in points)]
    named = {row["name"]: point for row, point in zip(rows, points, strict=True)}
    for row, point in zip(rows, points, strict=True):
        if row["passes"]:
            colour = FLOAT if row["precision"] == "float" else COMPILED
            axes.plot(*point, "o", markersize=9, color=colour, zorder=5)
        else:
            axes.plot(*point, "x", markersize=9, markeredgewidth=2.6, color=BAD, zorder=5)
    if chosen in named:  # first, so that its name gets the best place
        axes.plot(*named[chosen], "o", markersize=17, color="none", markeredgecolor=INK, markeredgewidth=1.6)
        _label_candidate(axes, f"{chosen}, chosen", named.pop(chosen), taken, weight="bold")
    for name, point in named.items():
        _label_candidate(axes, name, point, taken, weight="normal")


def _label_candidate(axes: Axes, text: str, point: Point, taken: list[Box], *, weight: str) -> None:
    """Write the name at the first place around its point that is free and inside the axes, if there is one."""
    x, y = axes.transData.transform(point)
    found = _free_place((x, y), 7.4 * len(text), axes.get_window_extent().extents, taken)
    if found is None:
        return
    (dx, dy), box = found
    taken.append(box)
    leader = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.9, "shrinkA": 1, "shrinkB": 5}
    axes.annotate(
        text,
        point,
        xytext=(dx, dy),
        textcoords="offset points",
        ha="center",
        va="center",
        weight=weight,
        zorder=6,
        arrowprops=leader if math.hypot(max(abs(dx) - 3.7 * len(text), 0), dy) > 20 else None,
    )


def _free_place(point: Point, width: float, frame: Box, taken: Sequence[Box]) -> tuple[Point, Box] | None:
    """Offset of a text's middle from *point*, and the text's box; near places first, and at best none whose leader
    crosses something else."""
    places = [(offset, _text_box(point, offset, width)) for offset in _places_around(width / 2)]
    free = [
        (offset, box)
        for offset, box in places
        if frame[0] < box[0]
        and frame[1] < box[1]
        and box[2] < frame[2]
        and box[3] < frame[3]
        and not any(_overlap(box, other) for other in taken)
    ]
    others = [box for box in taken if not _overlap(box, (*point, *point))]
    clear = [(offset, box) for offset, box in free if not _crosses(point, offset, others)]
    return next(iter([*clear, *free]), None)


def _places_around(side: float) -> list[Point]:
    """Beside, above, below and at the corners, then the same farther out; *side* is half of the text's width."""
    return [
        place
        for reach in (14, 26, 40, 56)
        for place in (
            (reach + side, 0),
            (-reach - side, 0),
            (0, reach + 4),
            (0, -reach - 4),
            (side + 4, reach),
            (side + 4, -reach),
            (-side - 4, reach),
            (-side - 4, -reach),
        )
    ]


def _text_box(point: Point, offset: Point, width: float) -> Box:
    x, y = point[0] + offset[0], point[1] + offset[1]
    return x - width / 2, y - 8, x + width / 2, y + 8


def _crosses(point: Point, offset: Point, boxes: Sequence[Box]) -> bool:
    steps = [(point[0] + share * offset[0], point[1] + share * offset[1]) for share in (0.3, 0.5, 0.7)]
    return any(_overlap(box, (*step, *step)) for box in boxes for step in steps)


def _marker_box(axes: Axes, point: Point) -> Box:
    x, y = axes.transData.transform(point)
    return x - 10, y - 10, x + 10, y + 10


def _line_boxes(axes: Axes) -> list[Box]:
    """Where the horizontal limit lines run, which no label may cross."""
    frame = axes.get_window_extent()
    heights = [float(np.asarray(line.get_ydata())[0]) for line in axes.lines]
    levels = [axes.transData.transform((0.0, height))[1] for height in heights]
    return [(frame.x0, level - 2, frame.x1, level + 2) for level in levels]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
