"""A calibration set or a recording in a terminal. Standard library only; the command line prints, and the page shows
the same sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgefuse.report.units import listed, megabytes, percent, significant

Rows = list[tuple[str, str]]

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 40
"""Characters of a histogram: with the names before it 80 columns are enough."""

SPLIT_NAMES = {"calibrate": "calibrate", "golden": "held out", "recording": ""}


def set_rows(found: Mapping[str, Any]) -> Rows:
    """Name and text of everything but the findings."""
    rows = set_facts(found)
    for name, item in found["inputs"].items():
        rows += [(name, input_text(item)), *[("", text) for text in _input_lines(item)]]
    return rows + label_rows(found["labels"]) + [("likeness", text) for text in likeness_texts(found)]


def set_facts(found: Mapping[str, Any]) -> Rows:
    """How much there is, and where it is from."""
    if found["kind"] == "recording":
        return recording_rows(found["recording"], sum(split["samples"] for split in found["splits"].values()))
    return [("samples", splits_text(found)), *(built_rows(found["built"]) if found["built"] else [])]


def splits_text(found: Mapping[str, Any]) -> str:
    parts = []
    for name, split in found["splits"].items():
        groups = f" in {split['groups']} groups" if split["groups"] else ""
        parts.append(f"{split['samples']} {SPLIT_NAMES[name]}{groups}")
    rule = found.get("rule")
    return f"{', '.join(parts)}; split by {rule['by']}" if rule else ", ".join(parts)


def built_rows(built: Mapping[str, Any]) -> Rows:
    """Out of what the set was made, and what was left out."""
    rows = [("from", source_text(item)) for item in built["recordings"]]
    rows += [
        ("not used", f"{name}: of {stream['deliveries']} deliveries {', '.join(lost)}")
        for item in built["recordings"]
        for name, stream in item["streams"].items()
        if (lost := lost_texts(stream))
    ]
    split, total = built["split"], sum(item["instants"] for item in built["recordings"])
    gap = f"{split['gap_ms']:.0f} ms between the splits, {split['in_gaps']} instants in these gaps"
    rows.append(("split", f"{split['stretches']} stretches of time, {split['golden_stretches']} held out; {gap}"))
    if built["dropped"]:
        rows.append(("dropped", dropped_text(built["dropped"], total)))
    return rows + [("note", note) for note in built["notes"]]


def source_text(item: Mapping[str, Any]) -> str:
    return (
        f"{item['path']}, {significant(item['duration_s'])} s: {item['instants']} instants at {item['anchor']}, "
        f"{item['complete']} complete"
    )


def dropped_text(dropped: Mapping[str, int], total: int) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    return f"{sum(dropped.values())} of {total} instants: {reasons}"


def recording_rows(facts: Mapping[str, Any], samples: int) -> Rows:
    rows = [("recording", source_text(facts))]
    rows += [(name, stream_text(stream)) for name, stream in facts["streams"].items()]
    rows += [
        ("unreadable", f"{name}: {', '.join(f'{count} {reason}' for reason, count in reasons.items())}")
        for name, reasons in facts["unreadable"].items()
    ]
    rows += [("damage", facts["damage"])] if facts["damage"] else []
    rows += [("note", note) for note in facts["notes"]]
    if facts["dropped"]:
        rows.append(("dropped", dropped_text(facts["dropped"], facts["instants"])))
    return [*rows, ("shown", f"{samples} samples, evenly over the time")]


def stream_text(stream: Mapping[str, Any]) -> str:
    rate = f" at {significant(stream['rate_hz'])} Hz" if stream["rate_hz"] else ""
    count = stream["gaps"]
    gaps = f", {count} gap{'' if count == 1 else 's'} (longest {stream['longest_gap_ms']:.0f} ms)" if count else ""
    back = "".join(f", {text}" for text in lost_texts(stream))
    limit = "any age" if stream["tolerance_ms"] is None else f"at most {stream['tolerance_ms']:g} ms old"
    return f"{stream['kind']}, {stream['deliveries']} deliveries{rate}{gaps}{back}; {limit} in a sample"


def lost_texts(stream: Mapping[str, Any]) -> list[str]:
    """Deliveries whose stamps put them out of the recording's time."""
    reasons = {"not_in_order": "not in order", "other_clock": "with a clock more than 1 h off"}
    return [f"{stream[key]} {text}" for key, text in reasons.items() if stream.get(key)]


def input_text(item: Mapping[str, Any]) -> str:
    kind = f" {item['modality']}" if item["modality"] else ""
    return f"{item['shape']} {item['dtype']}{kind}: {range_text(item)}"


def range_text(item: Mapping[str, Any]) -> str:
    if item["low"] is None:
        return "no finite value"
    tails = item["percentiles"]
    inner = f" (99.8 % in {_number(tails[0])} … {_number(tails[1])})" if tails else ""
    spread = f"mean {_number(item['mean'])}, std {_number(item['std'])}"
    return f"{_number(item['low'])} … {_number(item['high'])}{inner}, {spread}"


def _input_lines(item: Mapping[str, Any]) -> list[str]:
    lines = histogram_lines(item["histogram"]) if item["histogram"] else []
    if item["settling"]:
        lines.append(settling_text(item["settling"]))
    if item["golden"] and item["golden"]["outside"]:
        lines.append(f"held out: {percent(item['golden']['outside'])} of the values outside this range")
    return lines


def histogram_lines(histogram: Mapping[str, Any]) -> list[str]:
    """One line a split: bars from the least to the greatest value."""
    return [f"{bars(shares)} {SPLIT_NAMES[name]}".rstrip() for name, shares in histogram["shares"].items()]


def bars(shares: Sequence[float]) -> str:
    """A character each; what is not zero is seen."""
    highest = max(shares, default=0.0) or 1.0
    return "".join(BARS[0 if not share else max(1, round(share / highest * (len(BARS) - 1)))] for share in shares)


def settling_text(settled: Mapping[str, Any]) -> str:
    """By how much the range grew, and whether that is enough."""
    count = settled["n"][-1]
    text = f"range grew by {_share(settled['change'])} from {count // 2} to {count} samples"
    worst = settled["worst_channel"]
    if worst and worst["change"] > settled["change"]:
        text += f" (channel {worst['channel']}: {_share(worst['change'])})"
    return f"{text}: {'enough' if settled['enough'] else 'more would widen it'}"


def _share(value: float) -> str:
    return f"{significant(100 * value, 2)} %" if value >= 1e-4 else "0 %"


def label_rows(labels: Mapping[str, Any] | None) -> Rows:
    if labels is None:
        return []
    if labels["classes"] is not None:
        return [("label", class_text(labels["classes"]))]
    rows = []
    for number, item in enumerate(labels["dimensions"]):
        span = "no finite value" if item["low"] is None else f"{_number(item['low'])} … {_number(item['high'])}"
        rows.append((f"label {number}" if len(labels["dimensions"]) > 1 else "label", span))
        rows += [("", line) for line in (histogram_lines(item["histogram"]) if item["histogram"] else [])]
    return rows


def class_text(classes: Mapping[str, Mapping[str, int]]) -> str:
    """Each class with its counts, those that calibrate first."""
    listing = ", ".join(f"{kind}: {' + '.join(map(str, counts.values()))}" for kind, counts in classes.items())
    both = len(next(iter(classes.values()))) > 1
    return f"{listing} (calibrate + held out)" if both else listing


def likeness_texts(found: Mapping[str, Any]) -> list[str]:
    given, splits = found["likeness"], list(found["splits"])
    same = [f"{given['repeated'][name]} in {SPLIT_NAMES[name] or name}" for name in splits]
    texts = [f"equal samples: {', '.join(same)}"]
    if len(splits) > 1:
        texts[0] += f", {given['shared']} across"
    near = [f"{percent(given['near'][name])} in {SPLIT_NAMES[name] or name}" for name in splits]
    text = f"almost equal to another: {', '.join(near)}"
    return [*texts, f"{text}, {percent(given['near_shared'])} across" if len(splits) > 1 else text]


def topic_rows(found: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Topic, type (without ROS 2's "msg", as docs/recordings.md has it), count, rate and gaps."""
    return [
        (
            row["topic"],
            row["type"].replace("/msg/", "/"),
            str(row["count"]),
            f"{significant(row['rate_hz'])} Hz" if row["rate_hz"] else "–",
            f"{row['gaps']} (longest {significant(row['longest_gap_ms'])} ms)" if row["gaps"] else "–",
        )
        for row in found["topics"]
    ]


def topics_text(found: Mapping[str, Any]) -> str:
    duration = f", {significant(found['duration_s'])} s" if found["duration_s"] is not None else ""
    damage = f"; {found['damage']}" if found["damage"] else ""
    return f"{found['name']}: {megabytes(found['size_bytes'])}{duration}{damage}"


MOST_WARNINGS = 3
"""That a terminal shows beside a compilation's result."""


def warning_rows(report: Mapping[str, Any]) -> Rows:
    """Of a compilation's report: what is suspicious in its samples."""
    found = [item for item in report.get("calibration", {}).get("findings", ()) if item["level"] == "warning"]
    rows = [("samples", finding_text(item)) for item in found[:MOST_WARNINGS]]
    more = len(found) - MOST_WARNINGS
    return [*rows, ("samples", f"{more} more warning{'' if more == 1 else 's'}: in the report")] if more > 0 else rows


def finding_text(item: Mapping[str, str]) -> str:
    return f"{item['input']}: {item['text']}" if item["input"] else item["text"]


def counted_findings(findings: Sequence[Mapping[str, str]]) -> str:
    """2 warnings and 1 note."""
    counts = {level: sum(item["level"] == level for item in findings) for level in ("error", "warning", "note")}
    words = [f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items() if count]
    return listed(words) if words else "no findings"


def _number(value: float) -> str:
    return significant(value) if value else "0"
