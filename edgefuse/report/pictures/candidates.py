"""Every candidate that was tried, latency against what it costs, and the Pareto front. Workstation only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from edgefuse.precision import PRECISIONS
from edgefuse.report.pictures.drawing import BAD, COMPILED, FLOAT, GRID, INK, MUTED, PAPER, STYLE, make_axes, svg_text
from edgefuse.report.pictures.labels import Point, line_boxes, marker_box, path_boxes, write_label
from edgefuse.report.tried import front, is_glance
from edgefuse.report.units import score_unit

CAP_DB = 80.0
"""Above it an error is rounding, whatever its size: the axis ends there, so that the quantized ones stay apart."""

LEAST_DB = 24.0
"""The axis spans at least so much: half a decibel must not look like a difference."""

PALE = 0.4
"""Opacity of what was judged at a glance."""


def candidates_picture(plan: Mapping[str, Any], accuracy: Mapping[str, Any]) -> str | None:
    """Every candidate that was tried, latency against what it costs; None where nothing was compared.

    The cost is the drop in the metric, or SQNR where all drop alike (and where SQNR is the metric).
    """
    rows = [row for row in plan["candidates"] if row.get("p50_ms") is not None]
    if len(rows) < 2:
        return None
    by_drop = len({row["drop"] for row in rows}) > 1
    scale, unit = score_unit(accuracy["metric"])
    points = {row["name"]: (row["p50_ms"], row["drop"] * scale if by_drop else _capped_db(row)) for row in rows}
    best = front(rows, {row["name"]: -row["drop"] if by_drop else row["sqnr_db"] for row in rows})
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=300, margins=(46, 14, 30, 46))
        axes.set_xlim(_padded([x for x, _ in points.values()], least=0.4, room=0.12))
        axes.set_xlabel("p50 of one call, ms  (faster to the left)")
        axes.grid(color=GRID, linewidth=0.8)
        losses = [y for _, y in points.values()]
        if by_drop:
            _drop_scale(axes, losses, accuracy["limit"] * scale, f"drop in {accuracy['metric']}", unit)
        else:
            _decibel_scale(axes, losses, accuracy)
        _draw_candidates(axes, rows, points, best, plan["name"])
        return svg_text(
            axes,
            "candidates",
            f"{len(rows)} candidates, {plan['name']} chosen; none is both faster and more accurate than "
            f"one of {', '.join(best) or 'none'}",
        )


def _capped_db(row: Mapping[str, Any]) -> float:
    return min(max(float(row["sqnr_db"]), -20.0), CAP_DB)


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
    judged = accuracy["metric"] == "sqnr"
    values = [*found, min(accuracy["limit"], CAP_DB)] if judged else list(found)
    low, high = min(values), max(values)
    missing = max(LEAST_DB - (high - low), 0.0) / 2
    low, high = low - missing, high + missing
    axes.set_ylim(low - 0.12 * (high - low), high + 0.14 * (high - low))
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= CAP_DB])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"≥{tick:g}" if tick == CAP_DB else f"{tick:g}"))
    if not judged:
        _above(axes, "SQNR, dB  (better up)")
        return
    axes.axhspan(axes.get_ylim()[0], accuracy["limit"], facecolor=BAD, alpha=0.12, linewidth=0, zorder=0)
    axes.axhline(accuracy["limit"], color=BAD, linestyle=(0, (4, 2)), linewidth=1.4)
    _above(axes, "SQNR, dB  (better up; shaded: below the floor)")


def _above(axes: Axes, text: str) -> None:
    axes.annotate(text, (0, 1), xytext=(-34, 10), xycoords="axes fraction", textcoords="offset points", color=MUTED)


def _draw_candidates(
    axes: Axes, rows: Sequence[Mapping[str, Any]], points: Mapping[str, Point], best: Sequence[str], chosen: str
) -> None:
    taken = [*line_boxes(axes), *(marker_box(axes, point) for point in points.values())]
    if len(best) > 1:
        line = [points[name] for name in best]
        axes.plot(*zip(*line), color=COMPILED, alpha=PALE, linewidth=3, zorder=3)
        taken += path_boxes(axes, line)
    for row in rows:
        _draw_marker(axes, row, points[row["name"]])
    uniform = [name for name in points if name in PRECISIONS]  # one precision for the whole model, nothing special
    if chosen in points:  # first, so that its name gets the best place
        axes.plot(*points[chosen], "o", markersize=17, color="none", markeredgecolor=INK, markeredgewidth=1.6, zorder=6)
        write_label(axes, f"{chosen}, chosen", points[chosen], taken, weight="bold")
    for name in dict.fromkeys([*best, *uniform]):
        if name != chosen:
            write_label(axes, name, points[name], taken, weight="normal")


def _draw_marker(axes: Axes, row: Mapping[str, Any], point: Point) -> None:
    opacity = PALE if is_glance(row) else 1.0
    if not row["passes"]:
        axes.plot(*point, "x", markersize=9, markeredgewidth=2.6, color=BAD, alpha=opacity, zorder=5)
        return
    colour = FLOAT if row["precision"] == "float" else COMPILED
    axes.plot(*point, "o", markersize=9, color=PAPER, markeredgewidth=0, zorder=4)  # the front ends at the circle
    axes.plot(*point, "o", markersize=9, color=colour, alpha=opacity, markeredgewidth=0, zorder=5)
