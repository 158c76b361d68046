"""What corruptions cost, what is left without sensors, and what each adds. Workstation only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from edgefuse.report.pictures.drawing import (
    BAD,
    COMPILED,
    FLOAT,
    GOOD,
    GRID,
    INK,
    MUTED,
    STYLE,
    WIDTH,
    make_axes,
    svg_text,
)
from edgefuse.report.robustness_text import (
    SEVERITIES,
    Cell,
    Row,
    cell_figure,
    cell_unit,
    distance_figure,
    has_metric,
)
from edgefuse.report.units import listed, score_unit

Found = Mapping[str, Any]

NAMES, CELL, GAP, LINE, HEAD = 118, 44, 14, 22, 46
"""Units: the column of names, a cell, the gap between the halves, a row, and what stands above the rows."""

STRONGEST = 0.5
"""Opacity of the strongest colour: the figure on it stays legible, light or dark."""

BAR = 15
MODELS = (("float", FLOAT), ("compiled", COMPILED))


def heat_picture(stream: str, number: int, rows: Sequence[Row], found: Found) -> str:
    """One stream's corruptions: left what the float model loses, right how much more the compiled model does; for a
    model without metric the SQNR alone. Hatched: cannot be told; muted: not judged; framed: beyond the limit."""
    height = HEAD + LINE * len(rows) + 4
    halves = 2 if has_metric(found) else 1
    with matplotlib.rc_context({**STYLE, "hatch.linewidth": 0.9, "hatch.color": MUTED}):
        axes = make_axes(height, (0, 0, 0, 0))
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.axis("off")
        _heads(axes, found, halves)
        for place, row in enumerate(rows):
            top = HEAD + LINE * place
            axes.text(0, top + LINE / 2, row.name, va="center")
            for index, cell in enumerate(row.cells):
                if cell is not None:
                    if halves == 2:
                        _draw_drop(axes, _left(index, 0), top, cell, found)
                    _draw_extra(axes, _left(index, halves - 1), top, cell, found)
        return svg_text(axes, f"heat-{number}", f"What corruptions of {stream} cost, by severity")


def _left(index: int, half: int) -> float:
    return NAMES + CELL * index + half * (3 * CELL + GAP)


def _heads(axes: Axes, found: Found, halves: int) -> None:
    _, unit = cell_unit(found)
    titles = [f"float loses{', ' * bool(unit)}{unit}", "compiled loses more"] if halves == 2 else ["SQNR, dB"]
    for half, title in enumerate(titles):
        axes.text(_left(0, half) + 1.5 * CELL, 12, title, ha="center", va="center", weight="bold", fontsize=11.5)
        for index, severity in enumerate(SEVERITIES):
            axes.text(_left(index, half) + CELL / 2, 33, str(severity), ha="center", va="center", color=MUTED)
    axes.text(0, 33, "severity", va="center", color=MUTED)


def _draw_drop(axes: Axes, left: float, top: float, cell: Cell, found: Found) -> None:
    if cell.drop is None:
        _box(axes, left, top, GRID, 0.0, "–" if cell.mark != "error" else "error", MUTED)
        return
    clean = abs(found["float"] or 1.0) * cell_unit(found)[0]
    share = min(max(cell.drop, 0.0) / clean, 1.0) ** 0.5  # small losses are to be seen beside total ones
    _box(axes, left, top, FLOAT, STRONGEST * share, cell_figure(cell.drop), INK)


def _draw_extra(axes: Axes, left: float, top: float, cell: Cell, found: Found) -> None:
    if cell.extra is None:
        _box(axes, left, top, GRID, 0.0, "–", MUTED)
        return
    if not has_metric(found):
        near = min(
            max((cell.extra - 10) / 40, 0.0), 1.0
        )  # from 50 dB, which nobody sees, to 10, which is another answer
        _box(axes, left, top, BAD, STRONGEST * (1 - near), distance_figure(cell.extra), INK)
        return
    limit = found["limit"] * cell_unit(found)[0]
    strength = STRONGEST * min(abs(cell.extra) / (4 * limit), 1.0) if limit else 0.0
    text, colour = cell_figure(cell.extra), INK if cell.mark else MUTED
    failed = cell.mark in ("fail", "certain")
    shown = strength if cell.mark else 0.0
    _box(axes, left, top, BAD if cell.extra > 0 else GOOD, shown, text, colour, bold=failed)
    if cell.mark == "inconclusive":
        axes.add_patch(_rectangle(left, top, facecolor="none", edgecolor=GRID, hatch="////", linewidth=0, alpha=0.45))
    if failed:
        width = 2.6 if cell.mark == "certain" else 1.2
        axes.add_patch(_rectangle(left, top, facecolor="none", edgecolor=BAD, linewidth=width))


def _box(
    axes: Axes, left: float, top: float, colour: str, alpha: float, text: str, ink: str, bold: bool = False
) -> None:
    axes.add_patch(_rectangle(left, top, facecolor=GRID, alpha=0.25, linewidth=0))
    if alpha > 0:
        axes.add_patch(_rectangle(left, top, facecolor=colour, alpha=alpha, linewidth=0))
    axes.text(
        left + CELL / 2, top + LINE / 2, text, ha="center", va="center", color=ink, zorder=5,
        weight="bold" if bold else "normal",
    )  # fmt: skip


def _rectangle(left: float, top: float, **style: Any) -> Rectangle:
    return Rectangle((left + 1, top + 1), CELL - 2, LINE - 2, **style)


def subsets_picture(found: Found) -> str | None:
    """The metric of both models with all sensors, and with each subset of them; bars: 95 % of what is lost."""
    rows = [row for row in found["subsets"] if row["runners"]["float"]["value"] is not None]
    if not rows or not has_metric(found):
        return None
    scale, unit = score_unit(found["metric"])
    first = {"absent": [], "present": rows[0]["present"], "runners": {
        name: {"value": rows[0]["runners"][name]["clean"], "clean": 0.0, "ci95": None} for name, _ in MODELS
    }}  # fmt: skip
    labels = [subset_words(row) for row in (first, *rows)]
    values = [[row["runners"][name] for name, _ in MODELS] for row in (first, *rows)]
    with matplotlib.rc_context(STYLE):
        axes = _bars_axes(labels)
        for place, pair in enumerate(values):
            for offset, ((_, colour), item) in enumerate(zip(MODELS, pair)):
                y = place + (offset - 0.5) * 0.36
                axes.barh(y, item["value"] * scale, height=0.34, color=colour, linewidth=0)
                if item["ci95"]:
                    low, high = (_kept(item["clean"], end, found) * scale for end in item["ci95"])
                    axes.hlines(y, low, high, color=INK, linewidth=1.3)
        highest = max(item["value"] for pair in values for item in pair) * scale
        _finish_bars(axes, labels, found["metric"] + (", %" if unit else ""), highest)
        return svg_text(axes, "subsets", "The metric with each subset of the sensors, float and compiled")


def _kept(clean: float, loss: float, found: Found) -> float:
    return clean - loss if found["higher_is_better"] else clean + loss


def subset_words(row: Found) -> str:
    """all sensors; without camera; only keyboard."""
    if not row["absent"]:
        return "all sensors"
    if len(row["present"]) == 1:
        return f"only {row['present'][0]}"
    return f"without {listed(row['absent'])}"


def contribution_picture(found: Found) -> str | None:
    """What is lost when a sensor is absent, and when it shows another sample."""
    rows = [
        (item["stream"], words, item[kind])
        for item in found["contribution"]
        for kind, words in (("absent", "absent"), ("permuted", "of another sample"))
        if item[kind] is not None
    ]
    if not rows or not has_metric(found):
        return None
    scale, unit = score_unit(found["metric"])
    labels = [f"{stream}, {words}" for stream, words, _ in rows]
    with matplotlib.rc_context(STYLE):
        axes = _bars_axes(labels)
        for place, (_, _, models) in enumerate(rows):
            for offset, (name, colour) in enumerate(MODELS):
                y = place + (offset - 0.5) * 0.36
                axes.barh(y, models[name]["drop"] * scale, height=0.34, color=colour, linewidth=0)
                if models[name]["ci95"]:
                    low, high = (end * scale for end in models[name]["ci95"])
                    axes.hlines(y, low, high, color=INK, linewidth=1.3)
        highest = max(models[name]["drop"] for _, _, models in rows for name, _ in MODELS) * scale
        _finish_bars(axes, labels, f"drop in {found['metric']}{',' + unit if unit else ''}", highest)
        return svg_text(axes, "contribution", "What is lost without each sensor's data, float and compiled")


def _bars_axes(labels: Sequence[str]) -> Axes:
    """Room for the longest label, up to half of the picture."""
    room = min(max(len(label) for label in labels) * 6.4 + 12, WIDTH / 2)
    axes = make_axes(len(labels) * 2.6 * BAR + 62, (room, 16, 8, 54))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    return axes


def _finish_bars(axes: Axes, labels: Sequence[str], below: str, highest: float) -> None:
    axes.set_yticks(np.arange(len(labels)), [_folded(label) for label in labels])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlim(min(axes.get_xlim()[0], 0.0), max(axes.get_xlim()[1], highest * 1.02))
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(below)
    handles = [Rectangle((0, 0), 1, 1, color=colour) for _, colour in MODELS]
    below_axes = -26 / (len(labels) * 2.6 * BAR)  # in heights of the axes
    axes.legend(
        handles, [name for name, _ in MODELS], loc="upper right", bbox_to_anchor=(1.0, below_axes), ncols=2,
        frameon=False, handlelength=1.0,
    )  # fmt: skip


def _folded(label: str) -> str:
    """In two lines where it is long."""
    if len(label) * 6.4 + 12 <= WIDTH / 2 or " " not in label:
        return label
    middle = min(
        (place for place, sign in enumerate(label) if sign == " "), key=lambda place: abs(place - len(label) / 2)
    )
    return f"{label[:middle]}\n{label[middle + 1 :]}"
