"""What ``edgefuse check --robustness`` found, in words and rows: the terminal and the page show the same sentences.
Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgefuse.report.units import about, decibels_text, listed, percent, score_text, score_unit, significant

SEVERITIES = (1, 2, 3)
WORST = 5
"""So many cases have a sentence of their own."""

TELLING = 0.005
"""A smaller share of values outside the range explains nothing."""

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One severity of a row: what the float model loses (or None), how much more the compiled model loses, and how sure
    that is: "pass", "fail", "certain" (it fails in spite of the number of cases), "inconclusive", or "" (not judged).
    In :func:`cell_unit`; without a metric ``extra`` is the SQNR in dB."""

    drop: float | None
    extra: float | None
    mark: str


@dataclass(frozen=True)
class Row:
    """One corruption of one stream, by severity; None where it has no such severity or was not run."""

    stream: str
    name: str
    cells: tuple[Cell | None, ...]


def heat_rows(found: Found) -> list[Row]:
    """In the order of the cases: stream by stream."""
    scale, _ = cell_unit(found)
    rows: dict[tuple[str, str], dict[int, Cell]] = {}
    for case in found["cases"]:
        rows.setdefault((case["stream"], case["name"]), {})[case["severity"]] = _cell(case, found, scale)
    return [
        Row(stream, name, tuple(cells.get(severity) for severity in SEVERITIES))
        for (stream, name), cells in rows.items()
    ]


def _cell(case: Found, found: Found, scale: float) -> Cell:
    if case["error"]:
        return Cell(None, None, "error")
    if not has_metric(found):
        return Cell(None, case["sqnr_db"], "")
    drop, extra = case["float"]["drop"], case["interaction"]["value"] if case["interaction"] else None
    return Cell(None if drop is None else drop * scale, None if extra is None else extra * scale, mark(case))


def mark(case: Found) -> str:
    """How sure a case is; see :class:`Cell`."""
    certain = case["verdict"] == "fail" and case["interaction"]["certain"]
    return "certain" if certain else str(case["verdict"] or "")


def has_metric(found: Found) -> bool:
    return bool(found["limit"] is not None)


def cell_unit(found: Found) -> tuple[float, str]:
    """What a difference is multiplied by for a cell, and that in words: points where answers are right or wrong, else
    the power of ten in which the limit has a figure before or right behind its point (×0.001)."""
    scale, unit = score_unit(found["metric"])
    limit = (found["limit"] or 0.0) * scale
    power = max(math.floor(-math.log10(limit)), 0) if limit > 0 else 0
    return scale * 10**power, f"{unit.strip()}{f' ×{10**-power:g}' if power else ''}".strip()


def cell_words(found: Found) -> str:
    """For people who wonder what a cell's figure is of."""
    scale, unit = cell_unit(found)
    return (
        f"figures in {score_unit(found['metric'])[0] / scale:g}{' pt of' if 'pt' in unit else ' of'} {found['metric']}"
    )


def cell_figure(value: float) -> str:
    """A number in :func:`cell_unit`, of at most five characters."""
    size = abs(value)
    text = f"{value:.0f}" if size >= 99.95 else f"{value:.1f}" if size >= 0.095 or size < 0.005 else f"{value:.2f}"
    text = text if size < 99999.5 else f"{value:.0e}".replace("e+0", "e")
    return ("0.0" if text == "-0.0" else text).replace("-", "−")


def figure(value: float) -> str:
    """A number of a few points with its sign where it is negative, and short."""
    if 0 < abs(value) < 0.05:  # of a metric in small units
        text = f"{value:.1g}" if abs(value) >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")
    else:
        text = f"{value + 0.0:.1f}" if abs(value) < 99.95 else f"{value:.0f}"
    return text.replace("-", "−")


def distance_figure(value_db: float) -> str:
    """An SQNR short enough for a cell; ±300 dB stand for no error at all and for NaN in one model alone."""
    if abs(value_db) >= 300:
        return "equal" if value_db > 0 else "NaN"
    return f"{value_db:.0f}".replace("-", "−")


def verdict_text(found: Found) -> str:
    """The sentence that stands beside the verdict."""
    if found["verdict"] is None:
        return f"no verdict: {found['reason']}"
    counts, cases = found["counts"], listed_counts(found)
    if found["verdict"] == "fail":
        beyond = [mean["stream"] for mean in found["means"] if mean["certain"]]
        what = f"{found['certain']} of {judged_count(found)} cases {'is' if found['certain'] == 1 else 'are'}"
        if beyond and not found["certain"]:
            what = f"the mean over the cases of {listed(beyond)} is"
        return f"{what} beyond the limit of {amount_text(found['limit'], found)} in spite of their number ({cases})"
    if found["verdict"] == "pass":
        limit = amount_text(found["limit"], found)
        return (
            f"on average over each sensor's cases the compiled model loses less than {limit} more than the float "
            f"model, and no case is shown to be beyond ({cases})"
        )
    alone = f"{counts['fail']} cases fail by themselves, which can be chance" if counts["fail"] else ""
    unsure = [mean["stream"] for mean in found["means"] if mean["verdict"] != "pass"]
    means = f"the mean of {listed(unsure)} cannot be told from the limit" if unsure else ""
    return f"{'; '.join(filter(None, [alone, means]))} ({cases})"


def judged_count(found: Found) -> int:
    return sum(found["counts"][name] for name in ("pass", "fail", "inconclusive"))


def listed_counts(found: Found) -> str:
    """41 pass, 23 inconclusive, 6 not judged."""
    return ", ".join(f"{count} {name}" for name, count in found["counts"].items() if count)


def summary_rows(found: Found) -> list[tuple[str, str]]:
    """Name and sentence; the worst cases first."""
    if not has_metric(found):
        return [("robustness", verdict_text(found)), *_sqnr_rows(found), *_reasons(found)]
    rows = [("robustness", f"{str(found['verdict'] or 'not judged').upper()}: {verdict_text(found)}")]
    rows += [("worst" if not place else "", text) for place, text in enumerate(worst_texts(found))]
    rows += [("mean", mean_text(mean, found)) for mean in found["means"]]
    if found["no_case_beyond"] and found["verdict"] != "fail":
        rows.append(("at most", beyond_text(found)))
    rows.append(("chance", chance_text(found)))
    rows += [("without", absent_text(row, found)) for row in found["subsets"] if len(row["absent"]) == 1]
    return [*rows, *_reasons(found)]


def _sqnr_rows(found: Found) -> list[tuple[str, str]]:
    known = [case for case in found["cases"] if not case["error"]]
    if not known:
        return []
    worst = min(known, key=lambda case: case["sqnr_db"])
    text = f"{decibels_text(found['sqnr_db'])} clean; worst {decibels_text(worst['sqnr_db'])} when {case_words(worst)}"
    return [("SQNR", f"of compiled against float {text}")]


def _reasons(found: Found) -> list[tuple[str, str]]:
    """What was not measured, each reason once."""
    reasons: dict[str, list[str]] = {}
    for item in found["unmeasured"]:
        reasons.setdefault(item["reason"], []).append(f"{item['stream']} {item['name']}")
    for case in found["cases"]:
        if case["error"]:
            reasons.setdefault(case["error"], []).append(f"{case['stream']} {case['name']} {case['severity']}")
    return [("left out", f"{shortened(names)}: {reason}") for reason, names in reasons.items()]


def shortened(names: Sequence[str]) -> str:
    return listed([*names[:3], f"{len(names) - 3} more"] if len(names) > 4 else names)


def worst_cases(found: Found) -> list[Found]:
    """Judged cases in which the compiled model loses more than the float one: what is sure first, then what is much."""
    order = {"certain": 0, "fail": 1}
    cases = [case for case in found["cases"] if case["verdict"] and case["interaction"]["value"] > 0]
    return sorted(cases, key=lambda case: (order.get(mark(case), 2), -case["interaction"]["value"]))


def worst_texts(found: Found, count: int = WORST) -> list[str]:
    return [case_text(case, found) for case in worst_cases(found)[:count]]


def case_text(case: Found, found: Found) -> str:
    """compiled loses 3.1 pt more than float when the camera is dark (severity 3): 12 % of its values …"""
    test = case["interaction"]
    scale, _ = score_unit(found["metric"])
    low, high = (significant(end * scale, 2) for end in test["ci95"])
    sure = {"certain": "fails", "fail": "fails by itself"}.get(mark(case), case["verdict"])
    return (
        f"compiled loses {amount_text(test['value'], found)} more than float (95 %: {low} … {high}) when "
        f"{case_words(case)}: {sure}{_explained(case)}"
    )


def case_words(case: Found) -> str:
    """camera is dark (severity 3), with how old its data were where that is the matter."""
    late = case.get("mean_delay_ms")
    old = f"; {significant(late)} ms old on average" if late is not None else ""
    degree = f"severity {case['severity']}" if case["unit"] else ""
    return f"{case['words']} ({degree}{old})" if degree else str(case["words"])


def _explained(case: Found) -> str:
    """What lies outside the range that the model knows."""
    shares = {**case["outside"], **(case["boundary_outside"] or {})}
    inputs = max(case["outside"].values(), default=0.0)
    text = f"; {percent(inputs)} of its values lie outside the range of the clean samples" if inputs > TELLING else ""
    inner = [name for name, share in (case["boundary_outside"] or {}).items() if share > TELLING]
    if inner:
        text += f"{',' if text else ';'} {percent(max(shares[name] for name in inner))} where sensors meet"
    return text


def amount_text(value: float, found: Found) -> str:
    """A difference in the metric, for people."""
    scale, unit = score_unit(found["metric"])
    return f"{significant(value * scale, 2)}{unit or ' in ' + str(found['metric'])}"


def mean_text(mean: Found, found: Found) -> str:
    scale, _ = score_unit(found["metric"])
    low, high = (significant(end * scale, 2) for end in mean["ci95"])
    more = f", needs about {about(mean['more_samples'])} more samples" if mean["more_samples"] else ""
    values = [_value(mean[name], found) for name in ("float_value", "compiled_value")]
    zero = f", {mean['uncredited']} in which it is clearly better counted as 0" if mean["uncredited"] else ""
    return (
        f"over {mean['cases']} cases of {mean['stream']}: float {values[0]}, compiled {values[1]}; compiled loses "
        f"{amount_text(mean['value'], found)} more (95 %: {low} … {high}{zero}): {mean['verdict']}{more}"
    )


def _value(value: float | None, found: Found) -> str:
    return "–" if value is None else score_text(value, found["metric"])


def beyond_text(found: Found) -> str:
    """What no case exceeds."""
    item = found["no_case_beyond"]
    return (
        f"with 95 % confidence compiled loses in none of the {judged_count(found)} cases more than "
        f"{amount_text(item['value'], found)} more than float ({item['stream']}, {item['name']}, severity "
        f"{item['severity']} is the one that is known least)"
    )


def chance_text(found: Found) -> str:
    """How many single failures mean nothing."""
    expected, counts = significant(found["expected_by_chance"], 2), found["counts"]
    return (
        f"of {judged_count(found)} cases exactly at the limit {expected} would fail by themselves; {counts['fail']} "
        f"did, {found['certain']} of them in spite of their number"
    )


def absent_text(row: Found, found: Found) -> str:
    """What is left without one sensor."""
    models = row["runners"]
    return (
        f"{listed(row['absent'])}: float {_value(models['float']['value'], found)}, compiled "
        f"{_value(models['compiled']['value'], found)} (with it {_value(models['float']['clean'], found)} and "
        f"{_value(models['compiled']['clean'], found)})"
    )
