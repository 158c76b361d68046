"""Two bundles' latency beside each other, their ratio, and the latency of one bundle over time. Workstation only."""

from __future__ import annotations

import calendar
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from edgefuse.report.pictures.drawing import (
    BAD,
    COMPILED,
    FLOAT,
    GOOD,
    GRID,
    INK,
    MUTED,
    PAPER,
    STYLE,
    UNSURE,
    make_axes,
    svg_text,
)
from edgefuse.report.pictures.latency import log_ticks
from edgefuse.report.units import significant

Line = Mapping[str, Any]

MOST_RUNS = 400
"""Of one picture, a mark a unit: the newest."""

MARKS = {"pass": ("o", GOOD), "fail": ("X", BAD), "inconclusive": ("D", UNSURE)}
DAY = 86_400
STEPS = (
    *(60 * minutes for minutes in (1, 2, 5, 15, 30, 60, 180, 360)),
    *(DAY * days for days in (1, 2, 7, 14, 30, 91)),
)
"""Seconds between the ticks of a time axis."""

LOG_FROM = 4.0
"""Times the least: a history that reaches further has a logarithmic scale."""


def arms_picture(arms: Mapping[str, Mapping[str, Any]]) -> str:
    """Share of calls that took at most so long, the arms ("baseline", "candidate") overlaid."""
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=256, margins=(42, 12, 14, 46))
        start = min(arm["quantiles_ms"][0] for arm in arms.values()) * 0.95
        end = max(max(arm["quantiles_ms"][99] for arm in arms.values()), start * 1.2)
        axes.set(xscale="log", xlim=(start, end), ylim=(0, 104), yticks=[0, 50, 90, 99])
        axes.set_xlabel("one call, ms  (log scale)")
        axes.xaxis.set_major_locator(FixedLocator(log_ticks(start, end)))
        axes.xaxis.set_major_formatter("{x:.4g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_yticklabels(["0 %", "p50", "p90", "p99"])
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        for (name, arm), colour in zip(arms.items(), (FLOAT, COMPILED) if len(arms) > 1 else (COMPILED,)):
            axes.plot(arm["quantiles_ms"], range(101), color=colour, linewidth=2.2, label=name, zorder=3)
            axes.plot([arm["p90_ms"]], [90], "o", color=colour, markersize=6, zorder=4)
        axes.legend(loc="lower right", handlelength=1.6)
        told = ", ".join(f"{name} p90 {significant(arm['p90_ms'])} ms" for name, arm in arms.items())
        return svg_text(axes, "arms", f"Distribution of latency: {told}")


def ratio_picture(rows: Sequence[tuple[str, float, tuple[float, float], str]], limit: float) -> str:
    """A name, a ratio of p90, its 95 % interval and a verdict each, against the *limit* on the last of them."""
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=52 + 40 * len(rows), margins=(92, 16, 8, 44))
        ends = [end for _, _, interval, _ in rows for end in interval]
        low, high = min(*ends, 0.97), max(*ends, limit * 1.01)
        pad = 0.06 * (high - low)
        axes.set(xlim=(low - pad, high + pad), ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
        axes.set_yticklabels([name for name, _, _, _ in rows], color=INK)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("times the baseline's p90  (bars: 95 %)")
        axes.axvline(1.0, color=MUTED, linewidth=1.2, zorder=1)
        axes.axvspan(limit, high + pad, facecolor=BAD, alpha=0.12, linewidth=0, zorder=0)
        axes.axvline(limit, color=BAD, linestyle=(0, (4, 2)), linewidth=1.6, zorder=2)
        for place, (_, value, interval, verdict) in enumerate(rows):
            marker, colour = MARKS[verdict]
            axes.hlines(place, *interval, color=colour, linewidth=2.4, zorder=3)
            axes.plot([value], [place], marker, color=colour, markersize=8, zorder=4)
        told = ", ".join(f"{name} {value:.3f}" for name, value, _, _ in rows)
        return svg_text(axes, "ratio", f"Ratio of p90: {told}; limit {limit:g}")


def history_picture(lines: Sequence[Line], number: int) -> str:
    """p50 and p90 of one bundle on one class of device over time, each run's verdict on its p90."""
    shown = lines[-MOST_RUNS:]
    times = [calendar.timegm(time.strptime(line["stamp"], "%Y-%m-%dT%H:%M:%SZ")) for line in shown]
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=258, margins=(46, 14, 30, 44))
        _draw_scale(axes, shown, times)
        for key, colour, name in (("p90_ms", COMPILED, "p90"), ("p50_ms", FLOAT, "p50")):
            values = [line["latency"][key] for line in shown]
            axes.plot(times, values, color=colour, linewidth=1.8, label=name, zorder=3)
        for verdict, (marker, colour) in MARKS.items():
            found = [(at, line["latency"]["p90_ms"]) for at, line in zip(times, shown) if line["verdict"] == verdict]
            if found:
                size = 8 if verdict == "fail" else 6
                axes.plot(*zip(*found), marker, color=colour, markersize=size, markeredgecolor=PAPER, zorder=5)
        _draw_builds(axes, shown, times)
        remarked = [at for at, line in zip(times, shown) if line["remarks"]]
        if remarked:
            bottom = axes.get_xaxis_transform()
            axes.plot(remarked, [0.025] * len(remarked), "^", color=MUTED, markersize=5, transform=bottom, zorder=4)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2, frameon=False, handlelength=1.6)
        last = shown[-1]
        told = f"p90 of {last['bundle']} over {len(shown)} runs, the last {significant(last['latency']['p90_ms'])} ms"
        return svg_text(axes, f"history-{number}", told)


def _draw_scale(axes: Axes, shown: Sequence[Line], times: Sequence[float]) -> None:
    """From zero, so that a change looks as large as it is; logarithmic where one run was many times slower."""
    values = [line["latency"][key] for line in shown for key in ("p50_ms", "p90_ms")]
    low, high = min(values), max(values)
    if high > LOG_FROM * min(line["latency"]["p90_ms"] for line in shown):
        axes.set(yscale="log", ylim=(low / 1.5, high * 1.4))
        axes.yaxis.set_major_locator(FixedLocator(log_ticks(low / 1.5, high * 1.4)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:.4g}")
        name = "one call, ms  (log scale)"
    else:
        axes.set_ylim(0, high * 1.15)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        name = "one call, ms"
    pad = max(0.03 * (times[-1] - times[0]), 30)
    axes.set_xlim(times[0] - pad, times[-1] + pad)
    places, labels = time_ticks(times[0] - pad, times[-1] + pad)
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.set_xticklabels(labels)
    axes.set_xlabel(f"UTC; the last on {time.strftime('%d %B %Y', time.gmtime(times[-1]))}")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.annotate(name, (0, 1), xytext=(-34, 10), xycoords="axes fraction", textcoords="offset points", color=MUTED)


def time_ticks(start: float, end: float) -> tuple[list[float], list[str]]:
    """At most five round times (seconds since 1970) between *start* and *end*, and what stands below them."""
    step = next(
        (step for step in STEPS if (end - start) / step < 5), STEPS[-1] * (1 + (end - start) // (5 * STEPS[-1]))
    )
    first = math.ceil(start / step) * step
    places = [float(first + index * step) for index in range(int((end - first) // step) + 1)]
    form = "%H:%M" if step < DAY else "%d %b" if step < 100 * DAY else "%b %Y"
    return places, [time.strftime(form, time.gmtime(place)) for place in places]


def _draw_builds(axes: Axes, shown: Sequence[Line], times: Sequence[float]) -> None:
    """A line where the bundle was compiled again."""
    for index in range(1, len(shown)):
        if shown[index]["hash"] != shown[index - 1]["hash"]:
            middle = (times[index] + times[index - 1]) / 2
            axes.axvline(middle, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.3, zorder=1)
