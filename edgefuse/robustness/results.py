"""What the cases have shown, as plain JSON values (``docs/robustness.md``). Numpy only."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgefuse.comparison import Judge
from edgefuse.noninferiority import Groups, Scores
from edgefuse.robustness.cases import Case
from edgefuse.robustness.interaction import Interaction, Rule, enough, judge_case, judge_mean, overall
from edgefuse.robustness.runs import Share, Tally
from edgefuse.robustness.samples import Evenly
from edgefuse.robustness.scoring import losses, mean
from edgefuse.verdict import Verdict

NO_METRIC = "the metric is SQNR: there are no labels, so nobody knows which answers are worse"


@dataclass(frozen=True)
class Judged:
    """A case with what it showed. ``interaction`` is None where nothing can be judged, and ``reason`` says why;
    ``extra`` (n,) holds each chosen sample's interaction, NaN where there is none."""

    case: Case
    tally: Tally
    interaction: Interaction | None
    reason: str
    extra: Scores


def judge_cases(
    cases: Sequence[Case], tallies: Sequence[Tally], clean: Tally, groups: Groups | None, judge: Judge, rule: Rule
) -> list[Judged]:
    return [_judge(case, tally, clean, groups, judge, rule) for case, tally in zip(cases, tallies)]


def _judge(case: Case, tally: Tally, clean: Tally, groups: Groups | None, judge: Judge, rule: Rule) -> Judged:
    extra = np.full(len(clean.places), np.nan)
    if tally.error or judge.metric is None:
        return Judged(case, tally, None, tally.error or NO_METRIC, extra)
    places = np.array(tally.places)
    before, after = (item.scores() for item in (clean, tally))
    float_loss, compiled_loss = (losses(judge, one[places], other) for one, other in zip(before, after))
    extra[places] = compiled_loss - float_loss
    if case.unjudged:
        return Judged(case, tally, None, case.unjudged, extra)
    kept = np.isfinite(extra)
    used = groups[kept] if groups is not None else None
    if not enough(extra[kept], used):
        return Judged(case, tally, None, "too few samples have a score in both models", extra)
    found = judge_case(extra[kept], before[0][kept], used, rule)
    if tally.broken_compiled_only:
        method = f"failed: {tally.broken_compiled_only} answers have NaN or infinity where the float model's have none"
        found = replace(found, verdict=Verdict.FAIL, certain=True, more_samples=None, method=method)
    return Judged(case, tally, found, "", extra)


def judge_streams(
    judged: Sequence[Judged], clean: Tally, groups: Groups | None, rule: Rule
) -> dict[str, tuple[list[Judged], Interaction]]:
    """For each stream its judged cases, and the mean over them."""
    found = {}
    for stream, items in itertools.groupby(judged, key=lambda item: item.case.stream):
        those = [item for item in items if item.interaction is not None]
        if those:
            extra = np.stack([_uncredited(item) for item in those])
            found[stream] = those, judge_mean(extra, clean.scores()[0], groups, rule)
    return found


def _uncredited(item: Judged) -> Scores:
    """No sample's interaction in a case in which the compiled model is clearly the better one (a clipped input can be a
    blessing): what it gains there must not make up for what it loses elsewhere."""
    assert item.interaction is not None
    return np.where(np.isnan(item.extra), np.nan, 0.0) if item.interaction.ci95[1] < 0 else item.extra


def case_json(item: Judged, samples: Evenly, judge: Judge, clean: Tally) -> dict[str, Any]:
    """One row of ``cases``."""
    case, tally = item.case, item.tally
    found = {
        "stream": case.stream,
        "modality": case.modality,
        "inputs": list(case.inputs),
        "name": case.name,
        "severity": case.severity,
        "amount": case.amount,
        "unit": case.unit,
        "words": case.words,
        "samples": len(tally.places),
        "error": tally.error or None,
    }
    if tally.error:
        return {**found, "verdict": None, "reason": item.reason}
    places = np.array(tally.places)
    values = {
        name: _model_json(before[places], after, judge)
        for name, before, after in zip(("float", "compiled"), clean.scores(), tally.scores())
    }
    ratio = _quotient(values["compiled"]["resistance"], values["float"]["resistance"])
    extra = item.extra[np.isfinite(item.extra)]
    none = {"value": float(extra.mean()), "ci95": None, "ci_family": None, "limit": None} if len(extra) else None
    return {
        **found,
        **values,
        "relative_resistance": ratio,
        "interaction": item.interaction.to_json() if item.interaction is not None else none,
        "verdict": item.interaction.verdict.value if item.interaction is not None else None,
        "reason": item.reason or None,
        "flips": tally.flipped,
        "sqnr_db": tally.distance.sqnr_db,
        "nonfinite": {
            "float": tally.broken[0],
            "compiled": tally.broken[1],
            "compiled_only": tally.broken_compiled_only,
        },
        "outside": {name: _share(share) for name, share in tally.outside.items()},
        "boundary_outside": {name: _share(share) for name, share in tally.boundary.items()} or None,
        "mean_delay_ms": _mean_delay_ms(case, tally, samples),
    }


def _model_json(before: Scores, after: Scores, judge: Judge) -> dict[str, Any]:
    """``value`` under the corruption, ``clean`` of the same samples, ``drop`` (positive is worse), and ``resistance``:
    which share of its clean value the model keeps (of an error the other way round)."""
    value, clean = mean(after), mean(before)
    up = judge.metric is None or judge.metric.higher_is_better
    return {
        "value": value,
        "clean": clean,
        "drop": mean(losses(judge, before, after)),
        "resistance": _quotient(value, clean) if up else _quotient(clean, value),
    }


def _quotient(top: float | None, bottom: float | None) -> float | None:
    return top / bottom if top is not None and bottom else None


def _share(share: Share) -> float:
    outside, values = share
    return outside / values if values else 0.0


def _mean_delay_ms(case: Case, tally: Tally, samples: Evenly) -> float | None:
    """How much older the data are than the sample, on average over those that were answered."""
    if case.stand_ins is None or samples.stamps_ns is None:
        return None
    used = np.array(samples.chosen)[tally.places]
    return float(np.mean(samples.stamps_ns[used] - samples.stamps_ns[case.stand_ins[used]])) / 1e6


def verdict_json(judged: Sequence[Judged], by_stream: Mapping[str, tuple[list[Judged], Interaction]]) -> dict[str, Any]:
    """The overall verdict, and what one has to know to read the single ones."""
    known = [item for item in judged if item.interaction is not None]
    tests = [item.interaction for item in known if item.interaction is not None]
    counts = {
        verdict: sum(test.verdict.value == verdict for test in tests) for verdict in ("pass", "fail", "inconclusive")
    }
    found: dict[str, Any] = {
        "counts": {**counts, "not judged": len(judged) - len(tests), "error": sum(bool(j.tally.error) for j in judged)},
        "expected_by_chance": 0.025 * len(tests),
        "certain": sum(test.certain for test in tests),
        "means": [
            {"stream": stream, "cases": len(those), "uncredited": _gains(those), **_values(those), **test.to_json()}
            for stream, (those, test) in by_stream.items()
        ],
        "no_case_beyond": _no_case_beyond(known),
    }
    if not tests:
        return {"verdict": None, "reason": judged[0].reason if judged else "no corruption applies", **found}
    means = [test for _, test in by_stream.values()]
    return {"verdict": overall(tests, means).value, "reason": None, **found}


def _gains(items: Sequence[Judged]) -> int:
    """In how many cases the compiled model is clearly the better one."""
    return sum(item.interaction is not None and item.interaction.ci95[1] < 0 for item in items)


def _values(items: Sequence[Judged]) -> dict[str, float | None]:
    """Each model's mean value over the cases of a stream."""
    found = {}
    for position, name in enumerate(("float_value", "compiled_value")):
        values = [mean(item.tally.scores()[position]) for item in items]
        kept = [value for value in values if value is not None]
        found[name] = sum(kept) / len(kept) if kept else None
    return found


def _no_case_beyond(known: Sequence[Judged]) -> dict[str, Any] | None:
    """With 95 % confidence no case's true interaction is larger than ``value``; the case that sets it."""
    if not known:
        return None
    worst = max(known, key=lambda item: item.interaction.ci_family[1] if item.interaction else 0.0)
    assert worst.interaction is not None
    case = worst.case
    return {
        "value": worst.interaction.ci_family[1], "stream": case.stream, "name": case.name, "severity": case.severity
    }  # fmt: skip
