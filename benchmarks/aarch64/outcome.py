"""What came out, as JSON and as a page of Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aarch64.steps import Step

NOTE = (
    "Emulated: qemu-user translates aarch64 instructions on an x86-64 machine. What is judged here is that EdgeFuse "
    "installs, compiles and is accurate on aarch64. Latencies would say nothing about an Arm processor: none are given."
)


def as_json(facts: dict[str, Any], wheels: Sequence[str], steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "note": NOTE,
        "machine": facts,
        "wheels": [name for name in wheels if not name.startswith("edgefuse-")],
        "ok": all(step.exit_code == 0 for step in steps),
        "steps": [{**vars(step), "found": _kept(step)} for step in steps],
    }


def _kept(step: Step) -> Any:
    """Of a report verdicts, plan and accuracy: its latencies are the emulator's."""
    if not isinstance(step.found, dict) or "verdict" not in step.found:
        return step.found
    report = step.found
    plan = {key: report["plan"][key] for key in ("name", "precision", "threads")}
    tried = [{key: item[key] for key in ("name", "passes", "drop")} for item in report["plan"].get("candidates", [])]
    kept = {key: report[key] for key in ("verdict", "gates", "accuracy", "fidelity", "environment") if key in report}
    return {**kept, "plan": {**plan, "candidates": tried}}


def write(outcome: dict[str, Any], path: Path) -> None:
    """``path.json`` and ``path.md``."""
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(outcome, indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(as_markdown(outcome) + "\n", encoding="utf-8")


def as_markdown(outcome: dict[str, Any]) -> str:
    machine, by_name = outcome["machine"], {step["name"]: step for step in outcome["steps"]}
    parts = [
        f"# EdgeFuse on aarch64: {machine['recipe']}",
        NOTE,
        "Made by `python benchmarks/aarch64.py`; all figures are in the JSON file of the same name.",
        _table(("", ""), _machine_rows(machine, outcome["wheels"])),
        _table(("step", "command", "exit code", "s"), _step_rows(outcome["steps"])),
        _table(
            ("accuracy against the float model", "verdict", "samples", "float", "compiled", "SQNR dB"),
            _accuracy(by_name),
        ),
    ]
    gates = (by_name.get("compile", {}).get("found") or {}).get("gates", [])
    if gates:
        rows = [(g["name"], f"{g['from']} → {g['to']}", f"{g['sqnr_db']:.1f}", g["verdict"]) for g in gates]
        parts.append(_table(("gate, on aarch64", "arrow", "SQNR dB", "verdict"), rows))
    tests = by_name.get("pytest", {}).get("found")
    if tests:
        parts.append(_table(("test on the connected device", "outcome", ""), [tuple(item.values()) for item in tests]))
    return "\n\n".join(parts)


def _machine_rows(machine: dict[str, Any], wheels: Iterable[str]) -> list[tuple[str, str]]:
    return [
        ("EdgeFuse", machine["edgefuse"]),
        ("Debian", machine["debian"]),
        ("emulator", f"qemu-user {machine['qemu']}, QEMU_CPU={machine['qemu_cpu']}"),
        ("Python, glibc", f"{machine['python']}, {machine['glibc']}"),
        ("wheels", ", ".join(f"`{name}`" for name in wheels)),
    ]


def _step_rows(steps: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(s["name"], f"`{s['command']}`", str(s["exit_code"]), f"{s['seconds']:.0f}") for s in steps]


def _accuracy(by_name: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    names = {
        "portable bundle": "emulated at the workstation, x86-64",
        "compile": "`edgefuse compile` on aarch64",
        "check": "`edgefuse check` on aarch64",
        "check --device": "`edgefuse check --device`, worker on aarch64",
    }
    found = ((label, (by_name.get(name) or {}).get("found")) for name, label in names.items())
    return [_accuracy_row(label, report) for label, report in found if report]


def _accuracy_row(label: str, report: dict[str, Any]) -> tuple[str, ...]:
    item = report["accuracy"][0]
    values = (f"{item[key]:.4f}" for key in ("reference", "candidate"))
    sqnr = min(output["sqnr_db"] for output in report["fidelity"])
    return (f"{label} ({item['metric']})", item["verdict"], str(item["samples"]), *values, f"{sqnr:.1f}")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )
