"""Is the device as good as the float model, within the limit? The gate of ``compile`` and ``check``, on its answers."""

from __future__ import annotations

from typing import Any

from edgefuse.check import REFERENCE, judge_accuracy
from edgefuse.comparison import compare_stages
from edgefuse.errors import EdgeFuseError
from edgefuse.golden import Recorded, check_golden, read_golden
from edgefuse.pytest_plugin.case import DEVICE, Case
from edgefuse.pytest_plugin.figures import accuracy_figures, accuracy_sentence
from edgefuse.pytest_plugin.outcome import Finding
from edgefuse.pytest_plugin.records import read_answers
from edgefuse.pytest_plugin.worst import tally
from edgefuse.report.units import decibels_text
from edgefuse.verdict import Verdict

PAIR = (REFERENCE, DEVICE)


def run(case: Case) -> Finding:
    """A failure names the worst samples, and the part of the model where the error starts."""
    judge = case.judge
    check_golden(case.golden, case.bundle.spec, judge.labelled)
    answers = case.answers()
    runner = Recorded(answers, DEVICE)
    comparison = compare_stages(read_golden(case.golden), {DEVICE: runner}, judge, [PAIR])[PAIR]
    entry = judge_accuracy(comparison, PAIR, judge)
    fidelity = [item.to_json() for item in comparison.fidelities.values()]
    result: dict[str, Any] = {"accuracy": entry, "fidelity": fidelity}
    lines: list[str] = []
    if entry["verdict"] == Verdict.FAIL.value:
        found = tally(read_golden(case.golden), read_answers(answers, f"{DEVICE}."), judge)
        blame, said = _blame(case)
        lines = [*map(_fidelity_line, fidelity), *found.lines(judge), *said]
        result |= {"worst": [item.to_json() for item in found.worst], "blame": blame}
    return Finding("accuracy", entry["verdict"], accuracy_sentence(entry), accuracy_figures(entry), lines, result)


def _fidelity_line(item: dict[str, Any]) -> str:
    centered = item["sqnr_centered_db"]
    free = "" if centered is None else f", mean-free {decibels_text(centered)}"
    odd = f", {item['nonfinite_mismatches']} elements NaN or infinite" if item["nonfinite_mismatches"] else ""
    return f"{item['output']}: SQNR {decibels_text(item['sqnr_db'])}{free}, at most {item['max_abs']:.3g} apart{odd}"


def _blame(case: Case) -> tuple[dict[str, Any] | None, list[str]]:
    """The part where the error starts. That it cannot be told is told, and changes no verdict."""
    try:
        from edgefuse.blame import find_parts_at_fault, run_on
    except ModuleNotFoundError as error:
        what = f"the part where the error starts is not looked for: {error.name} is not installed here"
        return None, [f"{what}. pip install 'edgefuse[compile]'"]
    try:
        sent = case.device.put_bundle(case.bundle.path, case.bundle.shown)
        found = find_parts_at_fault(case.bundle, run_on(case.device.remote(), case.bundle, sent), judge=case.judge)
    except EdgeFuseError as error:
        return None, [f"the part where the error starts cannot be told: {error.what}"]
    return found.to_json(), [found.text, *found.notes]
