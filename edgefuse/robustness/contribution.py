"""What each sensor adds to the answer: what is lost without it, and what with another sample's data. Numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgefuse.comparison import Judge
from edgefuse.noninferiority import Groups
from edgefuse.robustness.cases import Case
from edgefuse.robustness.interaction import Rule, enough, judge_case
from edgefuse.robustness.runs import Tally
from edgefuse.robustness.scoring import losses, mean_loss
from edgefuse.robustness.subsets import NOBODY, Subsets, subset_row
from edgefuse.spec import TensorSpec

KEPT = ("drop", "ci95")


def subsets_json(
    found: Subsets,
    judge: Judge,
    streams: Mapping[str, tuple[TensorSpec, ...]],
    fills: Mapping[str, float],
    rule: Rule,
) -> list[dict[str, Any]]:
    """A row for each set of absent streams; ``interaction`` as of a case, which takes no part in the verdict: that one
    stream is missing is a case already."""
    rows = []
    for subset in found.subsets:
        row = subset_row(found, subset, judge, streams, fills)
        scores = {name: losses(judge, found.of(NOBODY, name), found.of(subset, name)) for name in ("float", "compiled")}
        extra = scores["compiled"] - scores["float"]
        kept = np.isfinite(extra)
        groups = found.groups[kept] if found.groups is not None else None
        test = (
            judge_case(extra[kept], found.of(NOBODY, "float")[kept], groups, rule)
            if enough(extra[kept], groups)
            else None
        )
        rows.append({**row, "interaction": test.to_json() if test is not None else None})
    return rows


def contribution_json(
    permuted: Sequence[Case],
    tallies: Sequence[Tally],
    clean: Tally,
    subsets: Sequence[Mapping[str, Any]],
    groups: Groups | None,
    judge: Judge,
) -> list[dict[str, Any]]:
    """For each stream and model the ``drop`` with ``ci95`` when it is ``absent`` (its fallback stands in, which no
    sensor ever delivers) and when it is ``permuted`` (data as they come, that do not fit the others)."""
    alone = {row["absent"][0]: row for row in subsets if len(row["absent"]) == 1}
    return [
        {
            "stream": case.stream,
            "absent": _absent(alone.get(case.stream)),
            "permuted": _permuted(tally, clean, groups, judge),
            "error": tally.error or None,
        }
        for case, tally in zip(permuted, tallies)
    ]


def _absent(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """None for the only stream, without which there is nothing."""
    return None if row is None else {name: {key: found[key] for key in KEPT} for name, found in row["runners"].items()}


def _permuted(tally: Tally, clean: Tally, groups: Groups | None, judge: Judge) -> dict[str, Any] | None:
    if tally.error or judge.metric is None:
        return None
    places, found = np.array(tally.places), {}
    used = groups[places] if groups is not None else None
    for name, before, after in zip(("float", "compiled"), clean.scores(), tally.scores()):
        binary = judge.metric.binary or bool(np.isin([*before, *after], (0.0, 1.0)).all())
        lost = mean_loss(losses(judge, before[places], after), used, binary)
        found[name] = {key: lost[key] for key in KEPT}
    return found
