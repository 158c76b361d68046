"""Names beside points, where there is room for them. Workstation only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from edgefuse.report.pictures.drawing import MUTED

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

WIDTHS = {"normal": 6.7, "bold": 7.4}
"""Units a letter of 12 units takes in the widest of the page's fonts."""


def write_label(axes: Axes, text: str, point: Point, taken: list[Box], *, weight: str) -> None:
    """Write the name at the first place around its point that is free and inside the axes, if there is one."""
    x, y = axes.transData.transform(point)
    width = WIDTHS[weight] * len(text)
    found = _free_place((x, y), width, axes.get_window_extent().extents, taken)
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
        arrowprops=leader if math.hypot(max(abs(dx) - width / 2, 0), dy) > 20 else None,
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


def marker_box(axes: Axes, point: Point) -> Box:
    x, y = axes.transData.transform(point)
    return x - 10, y - 10, x + 10, y + 10


def line_boxes(axes: Axes) -> list[Box]:
    """Where the horizontal limit lines run, which no label may cross."""
    frame = axes.get_window_extent()
    heights = [float(np.asarray(line.get_ydata())[0]) for line in axes.lines]
    levels = [axes.transData.transform((0.0, height))[1] for height in heights]
    return [(frame.x0, level - 2, frame.x1, level + 2) for level in levels]


def path_boxes(axes: Axes, points: Sequence[Point]) -> list[Box]:
    """Where a line through *points* runs."""
    places = [axes.transData.transform(point) for point in points]
    found = []
    for one, other in itertools.pairwise(places):
        steps = max(int(np.hypot(*(other - one)) / 8), 1)
        found += [one + (other - one) * step / steps for step in range(steps + 1)]
    return [(x - 2, y - 2, x + 2, y + 2) for x, y in found]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
