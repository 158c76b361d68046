"""Both bundles on the golden samples, by the gate's own code. Numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.backends import Runner
from edgefuse.bundle import Bundle
from edgefuse.check import REFERENCE, Judge, compare_stages, judge_accuracy
from edgefuse.errors import RecipeError
from edgefuse.golden import check_golden, read_golden
from edgefuse.manifest import GOLDEN
from edgefuse.recheck import stored_judge

NOTHING: dict[str, Any] = {"verdict": None, "baseline": None, "candidate": None, "paired": None}
OTHER_SAMPLES = "the two bundles carry different golden samples"
OWN_METRIC = "the metric is code of yours, which a bundle does not carry"


def judge_answers(bundles: Mapping[str, Bundle], runners: Mapping[str, Runner]) -> dict[str, Any]:
    """``baseline`` and ``candidate`` against the float model's answers, ``paired`` the candidate against the baseline,
    sample by sample, within the baseline's limit; null with a ``reason`` where that cannot be said."""
    digests = {bundle.manifest["files"][GOLDEN]["sha256"] for bundle in bundles.values()}
    if len(digests) > 1:
        return {**NOTHING, "reason": OTHER_SAMPLES}
    first = next(iter(bundles.values()))
    try:
        judge = stored_judge(first, None, None)
    except RecipeError:
        return {**NOTHING, "reason": OWN_METRIC}
    check_golden(first.path / GOLDEN, first.spec, judge.labelled)
    return _compare(first, judge, runners)


def _compare(first: Bundle, judge: Judge, runners: Mapping[str, Runner]) -> dict[str, Any]:
    wholes = {name: (REFERENCE, name) for name in runners}
    pair = ("baseline", "candidate")
    two = len(runners) == 2
    found = compare_stages(
        read_golden(first.path / GOLDEN), runners, judge, [*wholes.values(), *([pair] if two else [])]
    )
    judged = {name: judge_accuracy(found[whole], whole, judge) for name, whole in wholes.items()}
    if not two:
        return {**NOTHING, **judged, "verdict": judged["candidate"]["verdict"]}
    if judge.metric is None:
        return {**NOTHING, **judged, "verdict": _by_floor(judged), "paired_reason": "SQNR is of one model's outputs"}
    paired = judge_accuracy(found[pair], pair, judge)
    return {**NOTHING, **judged, "paired": paired, "verdict": paired["verdict"]}


def _by_floor(judged: Mapping[str, Mapping[str, Any]]) -> str:
    """Where there is no task metric: the candidate's own verdict, but a baseline that fails too is no regression."""
    own = str(judged["candidate"]["verdict"])
    return "inconclusive" if own == "fail" and judged["baseline"]["verdict"] == "fail" else own
