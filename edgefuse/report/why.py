"""The verdict's reason in words. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgefuse.report.graphs import tensorrt_graphs
from edgefuse.report.units import about, decibels_text, drop_text, listed, p90_interval, significant


def why(report: dict[str, Any]) -> str:
    """What failed, what is in doubt, or what held; of a portable bundle also what waits for which device."""
    text = f"{_capital('; '.join(_reasons(report)))}."
    return f"{text} {_capital(waiting(report['finish']))}." if report["verdict"] == "pending" else text


def waiting(finish: dict[str, Any]) -> str:
    """What only the device can judge: compilation, accuracy on the device and latency wait for NAME."""
    names = [{"compile": "compilation"}.get(name, name) for name in finish["pending"]]
    return f"{listed(names)} {'waits' if len(names) == 1 else 'wait'} for {finish['on']}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _reasons(report: dict[str, Any]) -> Iterator[str]:
    verdict, latency = report["verdict"], report["latency"]
    if verdict == "fail":
        yield from (_arrow_reason(gate) for gate in report.get("gates", ()) if gate["verdict"] == "fail")
    held = "pass" if verdict == "pending" else verdict
    yield from (_accuracy_reason(entry) for entry in report["accuracy"] if entry["verdict"] == held)
    if latency["verdict"] == verdict != "pending":
        yield _latency_reason(latency)
    if verdict == "pending":
        yield from _passed_arrows(report["gates"])
        yield from _parsed_graphs(report)


def _passed_arrows(gates: list[dict[str, Any]]) -> Iterator[str]:
    names = [gate["name"] for gate in gates if gate["verdict"] == "pass"]
    if names:
        yield f"the arrow {names[0]} passes" if len(names) == 1 else f"the arrows {listed(names)} pass"


def _parsed_graphs(report: dict[str, Any]) -> Iterator[str]:
    graphs = tensorrt_graphs(report)
    parsed = [item for item in graphs if item["toolchain"]["verdict"] == "pass"]
    if parsed:
        count = f"all {len(graphs)}" if len(parsed) == len(graphs) > 1 else f"{len(parsed)} of {len(graphs)}"
        yield f"NVIDIA's parser and builder take {count} graph{'' if len(graphs) == 1 else 's'}"


def _arrow_reason(gate: dict[str, Any]) -> str:
    sqnr = decibels_text(gate["sqnr_db"])
    return f"the arrow {gate['from']} → {gate['to']} ({gate['name']}) fails at {sqnr} SQNR"


def _accuracy_reason(entry: dict[str, Any]) -> str:
    metric, verdict = entry["metric"], entry["verdict"]
    accuracy = "emulated accuracy" if entry.get("emulated") else "accuracy"
    if metric == "sqnr":
        return f"{accuracy} {_floor_reason(entry)}"
    low, high, limit = (drop_text(value, metric) for value in (*entry["ci95"], entry["limit"]))
    if verdict == "pass":
        return f"{accuracy} holds: {metric} drops by at most {high} (95 % sure), and {limit} is allowed"
    if verdict == "fail":
        return f"{accuracy} fails: {metric} drops by at least {low} (95 % sure), and {limit} is allowed"
    more = f"; about {about(entry['more_samples'])} more would settle it" if entry["more_samples"] else ""
    return (
        f"{accuracy} is open: {entry['samples']} samples cannot tell whether {metric} drops by more than the "
        f"{limit} that is allowed{more}"
    )


def _floor_reason(entry: dict[str, Any]) -> str:
    found, floor = decibels_text(entry["candidate"]), f"the floor of {entry['limit']:g} dB"
    if entry["verdict"] == "inconclusive":
        more = f"; about {about(entry['more_samples'])} more would settle it" if entry["more_samples"] else ""
        between = " … ".join(decibels_text(value) for value in entry["ci95"] or ())
        sure = f" (95 %: {between})" if between else ""
        samples = f"{entry['samples']} samples cannot tell whether it holds {floor}"
        return f"is open: the worst output has {found} SQNR{sure}, and {samples}{more}"
    word, relation = ("holds", "above") if entry["verdict"] == "pass" else ("fails", "below")
    return f"{word}: the worst output has {found} SQNR, {relation} {floor}"


def _latency_reason(latency: dict[str, Any]) -> str:
    p90, limit = f"{significant(latency['compiled']['p90_ms'])} ms", f"{latency['limit_p90_ms']:g} ms"
    if latency["verdict"] != "inconclusive":
        word, relation = ("holds", "within") if latency["verdict"] == "pass" else ("fails", "over")
        return f"latency {word}: p90 is {p90}, {relation} the limit of {limit}"
    low, high = (significant(value) for value in p90_interval(latency))
    return (
        f"latency is open: with this machine's noise p90 lies between {low} and {high} ms, and so does the "
        f"limit of {limit}"
    )
