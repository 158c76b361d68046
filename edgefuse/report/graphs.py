"""What the report says of the ONNX graphs for TensorRT: what runs in which precision, what NVIDIA's toolchain and the
linter answered. Imports nothing of the workstation's: the device prints it too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgefuse.report.units import megabytes

COUNT = re.compile(r"^(?P<answer>.*), (?P<count>\d+ of \d+ in INT8)$")
"""The toolchain's sentence about a graph with INT8 in it: what is the same for all graphs, and its own count."""


@dataclass(frozen=True)
class GraphFacts:
    """One graph as the page shows it. ``mark`` is "first" or "chosen" for the plan's graph. ``answer`` is NVIDIA's,
    word for word, and ``parsed`` whether the graph was taken. ``int8_nodes`` are those that NVIDIA's build runs in
    INT8, ``float32_nodes`` those that stay in FP32 although the graph is an FP16 one."""

    name: str
    mark: str
    file: str
    size: str
    precisions: tuple[tuple[str, str], ...]
    parsed: bool
    answer: str
    int8_nodes: tuple[str, ...]
    float32_nodes: tuple[str, ...]


def tensorrt_graphs(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The report's ``graphs`` where they are for TensorRT; other toolchains compile theirs with no more to say."""
    return list(report.get("graphs", ())) if report.get("backend", {}).get("name") == "tensorrt" else []


def graph_facts(report: Mapping[str, Any]) -> list[GraphFacts]:
    """A card for each graph; empty where the target is none of TensorRT's."""
    planned = report["plan"]["graph"] if "plan" in report else ""
    mark = "first" if report.get("finish") else "chosen"
    return [_facts(item, mark if item["graph"] == planned else "") for item in tensorrt_graphs(report)]


def _facts(item: Mapping[str, Any], mark: str) -> GraphFacts:
    checked = item["toolchain"]
    return GraphFacts(
        name=item["graph"],
        mark=mark,
        file=item["file"],
        size=megabytes(item["size_bytes"]),
        precisions=tuple(_precisions(item)),
        parsed=checked["verdict"] == "pass",
        answer=checked["text"],
        int8_nodes=tuple(checked.get("int8", ())),
        float32_nodes=tuple(item.get("float32_nodes", ())),
    )


def _precisions(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How many operations in which precision, as ("INT8", "16 of 16 …")."""
    found, others = [], "all operations"
    if "int8" in item:
        found.append(("INT8", f"{item['int8']} of {item['eligible']} eligible operations"))
        others = f"the other {item['operations'] - item['int8']} operations"
    if "float32_nodes" not in item:
        return [*found, ("FP32", others)]
    kept = len(item["float32_nodes"])
    if not kept:
        return [*found, ("FP16", others), ("FP32", "nothing")]
    return [*found, ("FP16", f"{others}, less those in FP32"), ("FP32", f"{kept} operation{'' if kept == 1 else 's'}")]


def parser_answers(report: Mapping[str, Any]) -> list[str]:
    """NVIDIA's answers, each once with the graphs that got it; those of graphs that it took come first."""
    by_answer: dict[str, list[str]] = {}
    graphs = tensorrt_graphs(report)
    for item in sorted(graphs, key=lambda item: bool(item["toolchain"]["verdict"] != "pass")):
        text, name = item["toolchain"]["text"], item["graph"]
        if (found := COUNT.match(text)) is not None:
            text, name = found["answer"], f"{name} ({found['count']})"
        by_answer.setdefault(text, []).append(name)
    if len(by_answer) == 1 and graphs[0]["toolchain"]["verdict"] != "pass":
        return list(by_answer)
    return [_answer(text, names) for text, names in by_answer.items()]


def _answer(text: str, names: list[str]) -> str:
    """A sentence with a colon of its own (not run: …) stands behind the names."""
    return f"{', '.join(names)}: {text}" if ": " in text else f"{text}: {', '.join(names)}"


def lint_findings(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The linter's findings, each once, with ``graphs``: the names of those that have it."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for graph in tensorrt_graphs(report):
        for item in graph["lint"]:
            known = found.setdefault((item["rule"], item["node"], item["message"]), {**item, "graphs": {}})
            known["graphs"][graph["graph"]] = None  # a set in order: a node without a name can be found twice
    return [{**item, "graphs": list(item["graphs"])} for item in found.values()]
