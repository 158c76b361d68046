"""The report's pictures: matplotlib figures as SVG text to stand inside an HTML page. Workstation only.

The page's style sheet gives the colours, so that one drawing serves light, dark and print: every colour below is
a stand-in that becomes a CSS variable. Text stays text and takes the page's font. The same figures give the same
bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

WIDTH = 400
"""SVG units, about a phone's width: text of 12 units is legible there, and not large in a wide window."""

INK, MUTED, GRID, FLOAT, COMPILED, BAD, PAPER = (f"#00000{number}" for number in range(1, 8))
CSS_COLOURS = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    FLOAT: "--float",
    COMPILED: "--compiled",
    BAD: "--bad",
    PAPER: "--paper",
}

STYLE: Any = {  # matplotlib 3.11 types the keys as a Literal of its own
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 12,
    "axes.linewidth": 1.0,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 12,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.solid_capstyle": "round",
    "legend.facecolor": PAPER,
    "legend.edgecolor": PAPER,
}
METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


def significant(value: float, digits: int = 3) -> str:
    """*value* with so many significant digits and no exponent where that is readable: 0.970, 12.3, 1234."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}".replace("-", "−")


def score_unit(metric: str) -> tuple[float, str]:
    """What a score of *metric* is multiplied by for a person, and the unit of a difference (top-k: points)."""
    return (100.0, " pt") if metric.startswith("top") else (1.0, "")


def latency_picture(latency: Mapping[str, Any]) -> str | None:
    """Share of calls that took at most so long, float and compiled overlaid; None without the quantiles."""
    arms = {name: arm for name in ("float", "compiled") if (arm := latency[name]) and "quantiles_ms" in arm}
    if "compiled" not in arms:
        return None
    with matplotlib.rc_context(STYLE):
        axes = _axes(height=268, margins=(42, 12, 30, 46))
        start, end = _latency_scale(list(arms.values()), latency["limit_p90_ms"])
        axes.set(xscale="log", xlim=(start, end), ylim=(0, 108), yticks=[0, 50, 90, 99])
        axes.set_xlabel("one call, ms  (log scale)")
        axes.xaxis.set_major_locator(FixedLocator(_log_ticks(start, end)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_yticklabels(["0 %", "p50", "p90", "p99"])
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        for name, arm in arms.items():
            colour = {"float": FLOAT, "compiled": COMPILED}[name]
            axes.plot(arm["quantiles_ms"], range(101), color=colour, linewidth=2.2, label=name, zorder=3)
        for level in (50, 90, 99):
            _mark_level(axes, level, {name: arm[f"p{level}_ms"] for name, arm in arms.items()})
        low, high = p90_interval(latency)
        axes.errorbar(
            (low + high) / 2, 90, xerr=(high - low) / 2, color=COMPILED, linewidth=1.6, capsize=3.5, fmt="none"
        )
        if latency["limit_p90_ms"] is not None:
            _draw_latency_limit(axes, latency["limit_p90_ms"], start, end)
        axes.legend(loc="lower right", handlelength=1.6)  # below and right of the curves nothing else can be
        return _svg(
            axes,
            "latency",
            "Distribution of latency, "
            + ", ".join(
                f"{name} p50 {significant(arm['p50_ms'])} ms and p90 {significant(arm['p90_ms'])} ms"
                for name, arm in arms.items()
            ),
        )


def p90_interval(latency: Mapping[str, Any]) -> tuple[float, float]:
    """What the limit is held against: the 95 % interval of p90, widened by the canary as the verdict does."""
    (low, high), canary = latency["p90_ci95_ms"], latency["canary_p90_ratio"]
    noise = max(canary, 1 / canary)
    return low / noise, high * noise


def _latency_scale(arms: Sequence[Mapping[str, Any]], limit: float | None) -> tuple[float, float]:
    """From the first to the 99th percentile and somewhat more, and to the limit where that is not far away."""
    low = min(arm["quantiles_ms"][1] for arm in arms) * 0.9
    high = max(arm["quantiles_ms"][99] for arm in arms)
    high *= max(high / low, 1.1) ** 0.16  # the rightmost label needs room after its point
    if limit is not None and low / 2.5 < limit < 2.5 * high:
        low, high = min(low, limit / 1.15), max(high, limit * 1.15)
    # The leftmost label needs room before its point: 15 % of the width.
    p50 = min(arm["p50_ms"] for arm in arms)
    return min(low, math.exp((math.log(p50) - 0.15 * math.log(high)) / 0.85)), float(high)


def _log_ticks(start: float, end: float) -> list[float]:
    """1, 2 and 5 of each decade; over a short range ordinary ticks."""
    decades = range(math.floor(math.log10(start)), math.ceil(math.log10(end)) + 1)
    found = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    found = [tick for tick in found if start <= tick <= end]
    if len(found) < 3:
        found = [tick for tick in MaxNLocator(5).tick_values(start, end) if start <= tick <= end]
    return found


def _mark_level(axes: Axes, level: int, found: Mapping[str, float | None]) -> None:
    """A point on each curve, its value beside it: the fastest to the left, where no curve is, others to the right."""
    values = {name: value for name, value in found.items() if value is not None}
    for name, value in values.items():
        colour = {"float": FLOAT, "compiled": COMPILED}[name]
        axes.plot([value], [level], "o", color=colour, markersize=5.5, zorder=4)
        left = name == min(values, key=lambda other: values[other])
        axes.annotate(
            significant(value),
            (value, level),
            xytext=(-6, 1) if left else (6, -2),
            textcoords="offset points",
            color=colour,
            weight="bold",
            zorder=5,
            ha="right" if left else "left",
            va="bottom" if left else "top",
        )


def _draw_latency_limit(axes: Axes, limit: float, start: float, end: float) -> None:
    text = f"limit p90 {limit:g} ms"
    if limit < end:
        axes.axvspan(max(limit, start), end, facecolor=BAD, alpha=0.12, linewidth=0, zorder=0)
    if start < limit < end:
        axes.axvline(limit, color=BAD, linestyle=(0, (4, 2)), linewidth=1.6, zorder=2)
        place, right = ("data", limit), limit * limit > start * end  # beyond the middle
    else:
        place, right = ("axes fraction", float(limit >= end)), limit >= end
        text = f"{text} →" if right else f"← {text}"
    axes.annotate(
        text,
        (place[1], 1),
        xytext=(4 if right else -4, 6),
        xycoords=(place[0], "axes fraction"),
        textcoords="offset points",
        ha="right" if right else "left",
        color=BAD,
    )


def accuracy_picture(entry: Mapping[str, Any]) -> str:
    """The drop with its 95 % interval against the limit; for "sqnr" the figure against its floor."""
    with matplotlib.rc_context(STYLE):
        axes = _axes(height=138, margins=(14, 14, 26, 44))
        axes.set(ylim=(0, 1), yticks=[])
        axes.spines["left"].set_visible(False)
        described = _draw_floor(axes, entry) if entry["metric"] == "sqnr" else _draw_interval(axes, entry)
        return _svg(axes, "accuracy", described)


def _draw_interval(axes: Axes, entry: Mapping[str, Any]) -> str:
    scale, unit = score_unit(entry["metric"])
    low, high = (value * scale for value in entry["ci95"])
    drop, limit = entry["drop"] * scale, entry["limit"] * scale
    left, right = min(low, 0.0), max(high, limit)
    span = (right - left) or 1.0
    start, end = left - 0.22 * span, right + 0.34 * span
    axes.set_xlim(start, end)
    axes.set_xlabel(f"drop in {entry['metric']}{',' + unit if unit else ''}  (worse to the right)")
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
    return f"{text}, limit {significant(limit)}{unit}"


def _draw_floor(axes: Axes, entry: Mapping[str, Any]) -> str:
    found, floor = entry["candidate"], entry["limit"]
    shown = min(max(found, 0.0), max(2.5 * floor, 150.0))
    end = max(shown, floor, 1.0) * 1.4
    axes.set(xlim=(0, end), xlabel="SQNR of the worst output, dB  (better to the right)")
    _zone(axes, 0, floor, foot=0.2)
    axes.vlines(floor, 0.2, 1, color=BAD, linestyle=(0, (4, 2)), linewidth=1.6, zorder=4)
    axes.annotate(f"floor {floor:g} dB", (floor, 1), xytext=(4, 5), textcoords="offset points", color=BAD)
    axes.barh(0.6, shown, height=0.34, color=COMPILED, zorder=3)
    text = decibels_text(found)
    axes.annotate(text, (shown, 0.6), xytext=(8, 0), textcoords="offset points", va="center", weight="bold")
    return f"SQNR {text}, floor {floor:g} dB"


def decibels_text(value: float) -> str:
    """±300 dB stand for "no error at all" and "nothing but error" (fidelity.EXACT_DB)."""
    if value >= 300:
        return "identical"
    return "no signal left" if value <= -300 else f"{value:.1f} dB".replace("-", "−")


def _zone(axes: Axes, start: float, end: float, foot: float) -> None:
    """What the limit forbids."""
    axes.axvspan(start, end, ymin=foot, facecolor=BAD, alpha=0.12, linewidth=0, zorder=0)


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
        axes = _axes(height=268, margins=(46, 14, 30, 46))
        axes.set_xlim(_padded([x for x, _ in points], least=0.4, room=0.12))
        axes.set_xlabel("p50 of one call, ms  (faster to the left)")
        axes.grid(color=GRID, linewidth=0.8)
        losses = [y for _, y in points]
        if by_drop:
            _drop_scale(axes, losses, accuracy["limit"] * scale, f"drop in {accuracy['metric']}", unit)
        else:
            _decibel_scale(axes, losses, accuracy)
        _draw_candidates(axes, rows, points, plan["precision"])
        return _svg(axes, "candidates", f"{len(rows)} candidates, {plan['precision']} chosen")


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
    named = {row["precision"]: point for row, point in zip(rows, points, strict=True)}
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


def _axes(height: float, margins: tuple[float, float, float, float]) -> Axes:
    """Axes of WIDTH x *height* units (1/72 inch); *margins* left, right, top, bottom."""
    left, right, top, bottom = margins
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor="none")
    FigureCanvasSVG(figure)
    axes = figure.add_axes(
        (left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (top + bottom) / height), facecolor="none"
    )
    axes.tick_params(length=3, labelsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return axes


def _svg(axes: Axes, name: str, described: str) -> str:
    """The figure as an ``<svg>`` element: page colours and font, no size of its own, ids unique to *name*."""
    assert isinstance(axes.figure, Figure)
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": f"edgefuse-{name}"}):
        axes.figure.savefig(stream, format="svg", metadata=METADATA, transparent=True)
    # The first <defs> holds nothing but a style sheet, which would reach out of the picture into the page.
    body = stream.getvalue().partition("</defs>")[2]
    body = re.sub(r' id="[\w.]+_\d+"', "", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", body)
    body = re.sub(r"(font: [^;\"']*?px) [^;\"]*", r"\1 var(--font)", body)  # older matplotlib's form
    for stand_in, variable in CSS_COLOURS.items():
        body = body.replace(stand_in, f"var({variable})")
    height = round(axes.figure.get_figheight() * 72)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(described)}" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">\n{body}'
    )
