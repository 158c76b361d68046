"""What the pictures share: size, style, the page's colours, and the SVG text that comes out. Workstation only.

The page's style sheet gives the colours, so that one drawing serves light, dark and print: every colour below is
a stand-in that becomes a CSS variable. Text stays text and takes the page's font. The same figures give the same
bytes.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

WIDTH = 400
"""SVG units, about a phone's width: text of 12 units is legible there, and not large in a wide window."""

INK, MUTED, GRID, FLOAT, COMPILED, BAD, PAPER, GOOD, UNSURE, WAITING = (f"#00000{number:x}" for number in range(1, 11))
CSS_COLOURS = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    FLOAT: "--float",
    COMPILED: "--compiled",
    BAD: "--bad",
    PAPER: "--paper",
    GOOD: "--good",
    UNSURE: "--unsure",
    WAITING: "--waiting",
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


def make_axes(height: float, margins: tuple[float, float, float, float]) -> Axes:
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


def svg_text(axes: Axes, name: str, described: str) -> str:
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
