"""The page of a calibration set or of a recording, self-contained as the report of a compile is. Workstation only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgefuse.report.calibration_text import (
    counted_findings,
    input_text,
    likeness_texts,
    set_facts,
    settling_text,
    topic_rows,
    topics_text,
)
from edgefuse.report.html import Figure, page_environment
from edgefuse.report.pictures.calibration import classes_picture, highest_bar, histogram_picture, settling_picture
from edgefuse.report.units import percent, significant
from edgefuse.whole_file import whole_file

TEMPLATE = "calibration.html.j2"
TITLES = {"calibrate": "samples that calibrate", "golden": "held-out samples", "recording": "samples shown"}


def write_html(path: Path, found: Mapping[str, Any]) -> None:
    """Write what ``edgefuse calibration show`` found as a self-contained page to *path*, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(render(found), encoding="utf-8")


def render(found: Mapping[str, Any]) -> str:
    """The page as text; the same findings give the same page."""
    topics = found["kind"] == "topics"
    return (
        page_environment()
        .get_template(TEMPLATE)
        .render(
            found=found,
            headline=topics_text(found) if topics else None,
            topics=topic_rows(found) if topics else [],
            figures=[] if topics else _figures(found),
            facts=[] if topics else set_facts(found),
            counted=counted_findings(found.get("findings", ())),
            inputs=[] if topics else [_input(name, i, item) for i, (name, item) in enumerate(found["inputs"].items())],
            labels=None if topics else _labels(found["labels"]),
            likeness=[] if topics else likeness_texts(found),
        )
    )


def _figures(found: Mapping[str, Any]) -> list[Figure]:
    """The numbers that are looked at first."""
    figures = []
    for name, split in found["splits"].items():
        groups = f"in {split['groups']} groups" if split["groups"] else "each for itself"
        figures.append(Figure(TITLES[name], str(split["samples"]), groups))
    settled = [item["settling"] for item in found["inputs"].values() if item["settling"]]
    if settled:
        enough = sum(item["enough"] for item in settled)
        detail = f"grew by less than 1 % from {settled[0]['n'][-1] // 2} to {settled[0]['n'][-1]} samples"
        figures.append(Figure("ranges that have settled", f"{enough} of {len(settled)}", detail))
    count, detail = len(found["findings"]), counted_findings(found["findings"])
    failed = "fail" if any(item["level"] == "error" for item in found["findings"]) else None
    return [*figures, Figure("findings", str(count), detail if count else "nothing is suspicious", failed)]


def _input(name: str, number: int, item: Mapping[str, Any]) -> dict[str, Any]:
    settled, histogram, golden = item["settling"], item["histogram"], item["golden"]
    outside = None
    if golden is not None:
        outside = f"{percent(golden['outside'])} of the held-out values lie outside the range that calibrates"
        if not golden["outside"]:
            outside = "All held-out values lie inside the range that calibrates"
        outside += f"; Kolmogorov-Smirnov distance of the splits {significant(golden['distance'], 2)}"
    return {
        "name": name,
        "text": input_text(item),
        "outside": outside,
        "settled": settling_text(settled) if settled else None,
        "histogram": Markup(histogram_picture(name, number, histogram)) if histogram else None,
        "highest": highest_bar(histogram) if histogram else None,
        "settling": Markup(settling_picture(name, number, settled)) if settled else None,
        "channels": _channels(item),
    }


def _channels(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table, with the share of the widest channel's range."""
    channels = [row for row in item["channels"] or [] if row["low"] is not None]
    widest = max((row["high"] - row["low"] for row in channels), default=0.0) or 1.0
    return [
        {"number": number, "share": (row["high"] - row["low"]) / widest, **row} for number, row in enumerate(channels)
    ]


def _labels(labels: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if labels is None:
        return None
    if labels["classes"] is not None:
        picture = classes_picture(labels["classes"])
        return {"pictures": [Markup(picture)] if picture else [], "classes": labels["classes"]}
    many = len(labels["dimensions"]) > 1
    pictures = [
        Markup(histogram_picture(f"label {number}" if many else "the label", 1000 + number, item["histogram"]))
        for number, item in enumerate(labels["dimensions"])
        if item["histogram"]
    ]
    return {"pictures": pictures, "classes": None}
