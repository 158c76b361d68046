"""A bench's result in a terminal: the verdict first, then what it rests on. Standard library only; the page shows the
same sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgefuse.report.device import device_rows
from edgefuse.report.units import about, drop_text, score_text, significant

Rows = list[tuple[str, str]]
Report = Mapping[str, Any]


def bench_rows(report: Report) -> Rows:
    """Name and sentence."""
    return [
        *([("baseline", arm_text(report["baseline"]))] if report["baseline"] else []),
        *[("baseline", text) for text in recorded_texts(report)],
        ("candidate" if report["baseline"] else "bundle", arm_text(report["candidate"])),
        ("canary", canary_text(report)),
        *[("to decide", text) for text in more_texts(report)],
        *[("accuracy", text) for text in accuracy_texts(report)],
        *[("changed", text) for text in changed_texts(report)],
        *device_rows(report),
    ]


def verdict_text(report: Report) -> str:
    """Why the verdict is what it is."""
    found = report["comparison"]
    if found["p90_ratio"] is None:
        return f"nothing to compare with: {found['why']}"
    low, high = found["widened_ci95"]
    whose = "the baseline's" if found["kind"] == "interleaved" else f"that of {found['runs']} recorded runs"
    text = (
        f"the p90 is {ratio_text(found['p90_ratio'])} times {whose} "
        f"(95 %: {ratio_text(low)} … {ratio_text(high)}; limit {found['limit']:g})"
    )
    if report["verdict"] == "fail" and found["verdict"] != "fail":
        text = f"accuracy failed; {text}"
    return f"{text}: {found['why']}" if found["why"] else text


def ratio_text(value: float) -> str:
    return f"{value:.3f}" if value < 10 else significant(value)


def arm_text(arm: Mapping[str, Any]) -> str:
    """What it is, and its figures."""
    return f"{arm['name']} ({arm['plan']}, {arm['hash'][:8]}): {latency_text(arm['latency'])}"


def latency_text(latency: Mapping[str, Any]) -> str:
    sure = latency["p90_early_stopping_ms"]
    mlperf = f" (MLPerf's estimate {significant(sure)})" if sure is not None else ""
    p99 = f", p99 {significant(latency['p99_ms'])}" if latency["p99_ms"] is not None else ""
    return (
        f"p50 {significant(latency['p50_ms'])}, p90 {significant(latency['p90_ms'])}{mlperf}{p99}, "
        f"max {significant(latency['max_ms'])} ms, {latency['runs']} runs"
    )


def recorded_texts(report: Report) -> list[str]:
    """What the recorded baseline is made of; nothing where two bundles were measured in turns."""
    found = report["comparison"]
    if found["kind"] != "recorded" or found["recorded"] is None:
        return []
    known, left = found["recorded"], found["left_out"]
    failed = f"; {left} failed, noisy or older runs left out" if left else ""
    builds = f", {known['hashes']} builds" if known["hashes"] > 1 else ""
    return [
        f"{found['runs']} runs recorded from {known['first'][:10]} to {known['last'][:10]}{builds}: p50 "
        f"{significant(known['p50_ms'])}, p90 {significant(known['p90_ms'])} ms, the slowest {found['spread']:.2f} "
        f"times the fastest{failed}. Not measured in turns: weaker than bench A B"
    ]


def canary_text(report: Report) -> str:
    found, what = report["canary"], "baseline" if report["baseline"] else "bundle"
    low, high = found["ci95"]
    quiet = "too noisy to decide anything" if found["doubt"] else "quiet enough"
    return (
        f"the same {what} against itself: p90 {ratio_text(found['p90_ratio'])} times "
        f"({ratio_text(low)} … {ratio_text(high)}): {quiet}"
    )


def more_texts(report: Report) -> list[str]:
    """What an inconclusive bench needs."""
    found = report["comparison"]
    if found["verdict"] != "inconclusive":
        return []
    return [*_needed(report), *_looks(report)]


def _looks(report: Report) -> list[str]:
    """A noisy machine decides nothing, but what it shows is worth a second look."""
    found = report["comparison"]
    ends = found["widened_ci95"]
    if not ends or not report["canary"]["doubt"] or ends[0] <= found["limit"]:
        return []
    return ["it looks slower all the same: the whole interval lies beyond the limit"]


def _needed(report: Report) -> list[str]:
    found = report["comparison"]
    if found["more_runs"] is not None:
        return [f"about {about(found['more_runs'])} more runs of each, or a quieter machine"]
    if found["p90_ratio"] is None:
        return ["record more runs on a quiet machine: each bench with --history adds one"]
    if report["canary"]["doubt"]:
        return ["a quieter machine: more runs would not help"]
    return ["bench A B, with the earlier bundle as A: in turns on one machine"]


def accuracy_texts(report: Report) -> list[str]:
    found = report["accuracy"]
    if found["candidate"] is None:
        return [f"not compared: {found['reason']}"]
    if found["paired"] is not None:
        return [_paired_text(found["paired"])]
    return [f"{name}: {_own_text(found[name])}" for name in ("baseline", "candidate") if found[name]]


def _paired_text(entry: Mapping[str, Any]) -> str:
    metric = entry["metric"]
    low, high = (drop_text(end, metric) for end in entry["ci95"])
    return (
        f"{metric} {score_text(entry['reference'], metric)} → {score_text(entry['candidate'], metric)}, drop "
        f"{drop_text(entry['drop'], metric)} (95 %: {low} … {high}), limit {drop_text(entry['limit'], metric)}, "
        f"{entry['samples']} samples: {entry['verdict']}"
    )


def _own_text(entry: Mapping[str, Any]) -> str:
    if entry["metric"] == "sqnr":
        return f"{entry['candidate']:.1f} dB SQNR, {entry['limit_text']}: {entry['verdict']}"
    return f"against the float model {_paired_text(entry)}"


def changed_texts(report: Report) -> list[str]:
    changed = report["comparison"].get("changed", [])
    return [f"since the last recorded run: {', '.join(changed)}"] if changed else []


def history_rows(lines: Sequence[Report]) -> Rows:
    """For each bundle on each class of device, how it went from the first to the last recorded run."""
    return [(name, _history_text(device, found)) for (name, device), found in grouped(lines).items()]


def grouped(lines: Sequence[Report]) -> dict[tuple[str, str], list[Report]]:
    """The lines of each bundle's name and class of device, by their time."""
    found: dict[tuple[str, str], list[Report]] = {}
    for line in sorted(lines, key=lambda line: str(line["stamp"])):
        found.setdefault((line["bundle"], line["device_class"]), []).append(line)
    return found


def _history_text(device: str, lines: Sequence[Report]) -> str:
    first, last = lines[0], lines[-1]
    count = {verdict: sum(line["verdict"] == verdict for line in lines) for verdict in ("pass", "fail", "inconclusive")}
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in count.items() if number)
    p50, p90 = (
        " → ".join(significant(line["latency"][key]) for line in (first, last)[len(lines) == 1 :])
        for key in ("p50_ms", "p90_ms")
    )
    return (
        f"on {device}: {len(lines)} benches from {first['stamp'][:10]} to {last['stamp'][:10]}, p50 {p50}, p90 {p90} "
        f"ms; {verdicts}, the last {last['verdict']}"
    )
