"""A replay over time, and accuracy against staleness. Workstation only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from edgefuse.report.pictures.drawing import (
    BAD,
    COMPILED,
    FLOAT,
    GOOD,
    GRID,
    MUTED,
    STYLE,
    UNSURE,
    WAITING,
    make_axes,
    svg_text,
)
from edgefuse.report.units import score_text, score_unit, significant

COLUMNS = 200
"""Points across a picture: two units each, finer than which nobody sees anything."""

LINES = ((COMPILED, "o"), (GOOD, "s"), (BAD, "^"), (WAITING, "D"), (UNSURE, "v"), (FLOAT, "P"))

Series = Mapping[str, Sequence[float]]


def age_picture(name: str, number: int, found: Mapping[str, Any], duration_s: float) -> str | None:
    """How old a stream's data were at each step; None where it was never used."""
    series, limit = found["age_over_time_ms"], found["policy"]["max_age_ms"]
    if not series["t_s"]:
        return None
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=128, margins=(46, 12, 26, 40))
        highest = max(series["high"])
        axes.set(xlim=(0, duration_s), ylim=(0, max(highest * 1.12, 1e-3)))
        _grid(axes, f"{name}, ms")
        _band(axes, series, duration_s, COMPILED)
        if limit is not None:
            _limit(axes, limit, highest * 1.12, f"max_age {limit:g} ms")
        described = f"Age of {name} at the steps, at most {significant(highest)} ms"
        return svg_text(axes, f"age-{number}", described)


def steps_picture(report: Mapping[str, Any]) -> str | None:
    """What each step took, and which were late; None where none was answered."""
    measured, deadline = report["measured"], report["deadline_ms"]
    series, late = measured["step_over_time_ms"], measured["late_over_time_ms"]
    if not series["t_s"]:
        return None
    duration_s = report["recording"]["duration_s"]
    with matplotlib.rc_context(STYLE):
        axes = make_axes(height=210, margins=(46, 12, 28, 42))
        low, high = max(min(series["low"]), 1e-3), max(*series["high"], 2e-3)
        if deadline is not None and low / 5 < deadline < 5 * high:
            low, high = min(low, deadline), max(high, deadline)
        axes.set(yscale="log", xlim=(0, duration_s), ylim=(low / 1.4, high * 1.7))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        _grid(axes, "one step, ms  (log scale)")
        _band(axes, {**series, "low": np.maximum(series["low"], low / 1.4).tolist()}, duration_s, COMPILED)
        if late["t_s"]:
            axes.plot(late["t_s"], late["high"], "x", color=BAD, markersize=6, markeredgewidth=1.8, zorder=4)
        if deadline is not None:
            _limit(axes, deadline, high * 1.7, f"deadline {deadline:g} ms")
        return svg_text(
            axes, "steps", f"Latency of {report['steps']['answered']} steps, {report['steps']['late']} late"
        )


def staleness_picture(swept: Mapping[str, Any], accuracy: Mapping[str, Any]) -> str | None:
    """The metric against the delay of each stream, with 95 % intervals; None where there is no figure."""
    if not swept["steps"] or len(swept["delays_ms"]) < 2:
        return None
    metric, delays = accuracy["metric"], swept["delays_ms"]
    scale, unit = score_unit(metric)
    with matplotlib.rc_context(STYLE):
        rows = -(-len(swept["streams"]) // 3)
        axes = make_axes(height=262 + 18 * rows, margins=(46, 14, 30, 46 + 18 * rows))
        places = np.arange(len(delays), dtype=float)
        for number, (name, found) in enumerate(swept["streams"].items()):
            _draw_stream(axes, name, number, len(swept["streams"]), places, found, scale)
        axes.set_xlim(-0.3, len(delays) - 0.7)
        axes.xaxis.set_major_locator(FixedLocator(places.tolist()))
        axes.set_xticklabels([f"{delay:g}" for delay in delays])
        axes.set_xlabel("the stream arrives later by, ms")
        better = "up" if accuracy["higher_is_better"] else "down"
        _grid(axes, f"{metric}{', %' if unit else ''}  (better {better}; bars: 95 %)", below=False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3, frameon=False, handlelength=1.8)
        return svg_text(axes, "staleness", _described(swept, metric))


def _draw_stream(
    axes: Axes, name: str, number: int, count: int, places: Any, found: Sequence[Mapping[str, Any]], scale: float
) -> None:
    colour, marker = LINES[number % len(LINES)]
    values = np.array([item["value"] for item in found]) * scale
    shifted = places + (number - (count - 1) / 2) * 0.09  # bars beside each other
    axes.plot(shifted, values, marker=marker, color=colour, linewidth=2.0, markersize=6, label=name, zorder=3)
    ends = [(place, item["ci95"]) for place, item in zip(shifted, found) if item["ci95"]]
    if ends:
        axes.vlines(
            [place for place, _ in ends],
            [low * scale for _, (low, _) in ends],
            [high * scale for _, (_, high) in ends],
            color=colour,
            linewidth=1.4,
            alpha=0.55,
            zorder=2,
        )


def _described(swept: Mapping[str, Any], metric: str) -> str:
    ends = ", ".join(
        f"{name} {score_text(found[0]['value'], metric)} → {score_text(found[-1]['value'], metric)}"
        for name, found in swept["streams"].items()
    )
    return f"{metric} without delay and {swept['delays_ms'][-1]:g} ms later: {ends}"


def _grid(axes: Axes, above: str, below: bool = True) -> None:
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if below:
        axes.set_xlabel("s since the recording's start")
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(4 if below else 6, steps=[1, 2, 5, 10]))
    axes.annotate(above, (0, 1), xytext=(-34, 9), xycoords="axes fraction", textcoords="offset points", color=MUTED)


def _band(axes: Axes, series: Series, duration_s: float, colour: str) -> None:
    """From the least to the greatest value of each column, so that a single peak is seen."""
    times, low, high = _columns(series, duration_s)
    axes.fill_between(times, low, high, color=colour, alpha=0.35, linewidth=0, zorder=2)
    axes.plot(times, high, color=colour, linewidth=1.1, zorder=3)


def _columns(series: Series, duration_s: float) -> tuple[Any, Any, Any]:
    times, low, high = (np.array(series[name]) for name in ("t_s", "low", "high"))
    column = np.minimum((times / max(duration_s, 1e-9) * COLUMNS).astype(int), COLUMNS - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    return times[starts], np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)


def _limit(axes: Axes, limit: float, top: float, text: str) -> None:
    """The line where it lies inside the picture, its name above the picture in any case."""
    if limit <= top:
        axes.axhline(limit, color=BAD, linestyle=(0, (4, 2)), linewidth=1.4, zorder=4)
    shown = text if limit <= top else f"{text} ↑"
    axes.annotate(
        shown, (1, 1), xytext=(0, 9), xycoords="axes fraction", textcoords="offset points", ha="right", color=BAD
    )
