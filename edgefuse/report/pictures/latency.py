"""The distribution of latency, float and compiled overlaid. Workstation only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from edgefuse.report.pictures.drawing import BAD, COMPILED, FLOAT, GRID, STYLE, make_axes, svg_text
from edgefuse.report.units import p90_interval, significant


def latency_picture(latency: Mapping[str, Any]) -> str | None:
    """Share of calls that took at most so long, float and compiled overlaid; None without the quantiles."""
    arms = {name: arm for name in ("float", "compiled") if (arm := latency[name]) and "quantiles_ms" in arm}
    if "compiled" not in arms:
        return None
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=268, margins=(42, 12, 30, 46))
        start, end = _latency_scale(list(arms.values()), latency["limit_p90_ms"])
        axes.set(xscale="log", xlim=(start, end), ylim=(0, 108), yticks=[0, 50, 90, 99])
        axes.set_xlabel("one call, ms  (log scale)")
        axes.xaxis.set_major_locator(FixedLocator(log_ticks(start, end)))
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
        return svg_text(
            axes,
            "latency",
            "Distribution of latency, "
            + ", ".join(
                f"{name} p50 {significant(arm['p50_ms'])} ms and p90 {significant(arm['p90_ms'])} ms"
                for name, arm in arms.items()
            ),
        )


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


def log_ticks(start: float, end: float) -> list[float]:
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
