"""Whether the model should run part by part: when that is faster at the sensors' rates, or in one call. Numpy only.

A robot's sensors do not deliver together. Run part by part, only the branches whose sensor delivered run again; the
whole graph would run at the fastest sensor's rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.assembled import find_lanes
from edgefuse.backends import Runner, Settings
from edgefuse.candidates import Builder
from edgefuse.check import REFERENCE, Judge, compare_stages, likely_passes
from edgefuse.golden import answering, read_golden
from edgefuse.part_times import PartSet, PartTime
from edgefuse.parts import Partition
from edgefuse.places import Place
from edgefuse.plan import Candidate
from edgefuse.spec import Feed, ModelSpec

WORTH_STREAM = 0.9
"""Of the whole graph's CPU time a second: a split that saves less is not worth a second set of artifacts."""

WORTH_CALL = 0.95
"""Of the whole graph's p50."""

THREAD_TOLL = 0.85
"""In a stream twice the threads have to make a part 1.8 times as fast (2 ** 0.85): a thread costs a core that the robot
needs, and more than its share, for threads spin while they wait for each other. On two fusion models with parts of two
threads each, one thread a part took 0.71 and 0.60 of the CPU time for 1.08 and 1.25 times the p50."""


SHOWN_OTHERWISE = ("parts", "settings", "lanes", "p90_ms")


@dataclass(frozen=True)
class SplitPlan:
    """What was found out about running the parts; ``settings`` of each part, ``lanes`` of branches that run together.
    ``calls``: whether a call with all inputs runs the "whole" graph or the "parts", whichever is faster.

    ``stream_ms_per_s``: milliseconds of computing a second at the declared rates, on all the cores that are taken; None
    where no rates are declared.
    ``p90_ms`` is each part's, for deadlines. ``equal`` of ``samples`` gave the whole graph's outputs bit for bit.
    """

    kept: bool
    calls: str
    reason: str
    parts: PartSet
    settings: Mapping[str, Settings]
    p90_ms: Mapping[str, float]
    lanes: tuple[tuple[str, ...], ...]
    whole_p50_ms: float
    split_p50_ms: float
    parallel_p50_ms: float | None
    stream_ms_per_s: Mapping[str, float] | None
    equal: int
    samples: int
    max_abs: float

    def how(self, part: str) -> Settings:
        """The settings that *part* runs with: threads of several lanes are not tied to one core."""
        return replace(self.settings[part], pinned=len(self.lanes) < 2)

    def to_json(self) -> dict[str, Any]:
        """The report's ``plan.cut``."""
        shown = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in SHOWN_OTHERWISE}
        threads = {name: how.threads for name, how in self.settings.items()}
        return {**shown, "threads": threads, "lanes": [list(lane) for lane in self.lanes]}


def open_split(place: Place, plan: SplitPlan) -> Runner:
    """The parts as the bundle will run them."""
    return place.open_parts(plan.parts, plan.settings, plan.lanes)


def store_parts(place: Place, folder: Path, artifact: dict[str, Any], plan: SplitPlan) -> dict[str, Any]:
    """Move the parts' artifacts beside the whole one in the bundle *folder*; returns *artifact*, the manifest's, with
    them."""
    base = Path(artifact["path"]).parent / "parts"
    place.fetch(plan.parts.folder, folder / base)
    names = [part.name for part in plan.parts.partition.parts]
    parts = [
        {
            "name": name,
            "path": f"{base.as_posix()}/{index}",
            "settings": asdict(plan.how(name)),
            "p90_ms": plan.p90_ms[name],
        }
        for index, name in enumerate(names)
    ]
    return {**artifact, "calls": plan.calls, "parts": parts, "lanes": [list(lane) for lane in plan.lanes]}


def stream_costs(
    partition: Partition, spec: ModelSpec, part_ms: Mapping[str, float], whole_ms: float
) -> dict[str, float] | None:
    """Milliseconds a second at the declared rates, for ``whole`` and ``split``, from those of one run. A stream without
    a rate delivers once (a prompt, a goal); None where no stream has one."""
    rates = {tensor.stream: tensor.rate_hz for tensor in spec.inputs if tensor.rate_hz}
    if not rates:
        return None
    fastest = max(rates.values())
    split = 0.0
    for part in partition.parts:
        own = [rates.get(stream, 0.0) for stream in part.streams]
        always = part is partition.trunk or partition.runs_always(part)
        split += part_ms[part.name] * (fastest if always else max(own, default=0.0))
    return {"whole": whole_ms * fastest, "split": split}


def plan_split(
    builder: Builder, chosen: Candidate, parts: PartSet, times: Sequence[PartTime], samples: Path, judge: Judge
) -> SplitPlan:
    """Measure the parts of the *chosen* graph, put together, against the whole, and decide."""
    place = builder.place
    mine = [time for time in times if time.graph == parts.graph]
    names = [part.name for part in parts.partition.parts]
    best, thrifty = ({name: find(mine, name) for name in names} for find in (_fastest, _thriftiest))
    fastest, streaming = ({name: time.settings for name, time in way.items()} for way in (best, thrifty))
    lanes = _lanes(parts.partition, mine, place.environment["cores"])
    arms: dict[str, Runner] = {"whole": place.open(chosen, builder.spec)}
    arms["split"] = place.open_parts(parts, fastest)
    if streaming != fastest:
        arms["stream"] = place.open_parts(parts, streaming)
    if len(lanes) > 1:
        arms["parallel"] = place.open_parts(parts, _one_thread(fastest, parts.partition), lanes)
    core_ms = {name: time.p50_ms * time.settings.threads for name, time in thrifty.items()}
    try:
        timed = place.measure(arms, samples, budget_s=1.5, max_runs=300)
        found = {name: latency.percentile(50) for name, latency in timed.latency.items()}
        costs = stream_costs(parts.partition, builder.spec, core_ms, found["whole"] * chosen.settings.threads)
        parallel = found.get("parallel")
        _, calls, _, _ = _decide(found["whole"], found["split"], parallel, costs, passes=True)
        agreement = _agreement(arms, samples, judge, "stream" if calls == "whole" and "stream" in arms else "split")
    finally:
        for runner in arms.values():
            runner.close()
    kept, calls, reason, use_lanes = _decide(found["whole"], found["split"], parallel, costs, agreement["passes"])
    used = best if calls == "parts" else thrifty
    settings = {name: time.settings for name, time in used.items()}
    return SplitPlan(
        kept=kept,
        calls=calls,
        reason=reason,
        parts=parts,
        settings=_one_thread(settings, parts.partition) if use_lanes else settings,
        p90_ms={name: time.p90_ms for name, time in used.items()},
        lanes=tuple(tuple(lane) for lane in lanes) if use_lanes else (),
        whole_p50_ms=found["whole"],
        split_p50_ms=found["split"],
        parallel_p50_ms=parallel,
        stream_ms_per_s=costs,
        equal=agreement["equal"],
        samples=agreement["samples"],
        max_abs=agreement["max_abs"],
    )


def _fastest(times: Sequence[PartTime], part: str) -> PartTime:
    return min((time for time in times if time.part == part), key=lambda time: time.p50_ms)


def _thriftiest(times: Sequence[PartTime], part: str) -> PartTime:
    """For a stream, where a core that waits for another is lost to everybody else."""
    own = [time for time in times if time.part == part]
    return min(own, key=lambda time: time.p50_ms * time.settings.threads**THREAD_TOLL)


def _lanes(partition: Partition, times: Sequence[PartTime], cores: int) -> list[list[str]]:
    one = {time.part: time.p50_ms for time in times if time.settings.threads == 1}
    names = [part.name for part in partition.branches]
    return find_lanes(partition, one, cores) if all(name in one for name in names) else [names]


def _one_thread(settings: Mapping[str, Settings], partition: Partition) -> dict[str, Settings]:
    """Branches that run at the same time take one core each; the trunk keeps what is fastest."""
    branches = {part.name for part in partition.branches}
    return {name: replace(how, threads=1) if name in branches else how for name, how in settings.items()}


def _decide(
    whole: float, split: float, parallel: float | None, costs: Mapping[str, float] | None, passes: bool
) -> tuple[bool, str, str, bool]:
    """Whether it is kept, what a call runs, why, and whether branches run at the same time."""
    if not passes:
        return False, "whole", "the parts put together are beyond the limit, though the whole graph is not", False
    if parallel is not None and parallel <= min(split, whole * WORTH_CALL):
        return True, "parts", f"branches at the same time make a call {whole / parallel:.2f} times faster", True
    if split <= whole * WORTH_CALL:
        return True, "parts", f"each part with its own threads makes a call {whole / split:.2f} times faster", False
    if costs is not None and costs["split"] <= costs["whole"] * WORTH_STREAM:
        gain = costs["whole"] / costs["split"]
        return True, "whole", f"at the declared rates it takes {gain:.1f} times less computing than the whole", False
    if costs is None:
        return False, "whole", "a call is no faster part by part, and no stream declares a rate", False
    return False, "whole", "neither a call nor the declared rates gain by it", False


def _agreement(arms: Mapping[str, Runner], samples: Path, judge: Judge, name: str) -> dict[str, Any]:
    """The parts put together against the whole, over the search's samples."""
    equal, count, largest = 0, 0, 0.0
    pair = (REFERENCE, name)
    recorded: list[dict[str, Any]] = []
    parts, whole = answering(arms[name], samples), answering(arms["whole"], samples)

    class _Both:
        def __call__(self, feed: Feed) -> dict[str, Any]:
            found, expected = parts(feed), whole(feed)
            recorded.append({"equal": all(np.array_equal(found[key], expected[key]) for key in expected)})
            recorded[-1]["max_abs"] = max(_distance(found[key], expected[key]) for key in expected)
            return found

        def close(self) -> None:
            pass

    comparison = compare_stages(read_golden(samples), {name: _Both()}, judge, [pair])[pair]
    for row in recorded:
        equal, count, largest = equal + row["equal"], count + 1, max(largest, row["max_abs"])
    return {"equal": equal, "samples": count, "max_abs": largest, "passes": likely_passes(comparison, pair, judge)}


def _distance(one: Any, other: Any) -> float:
    finite = np.isfinite(one) & np.isfinite(other)
    return float(np.abs(np.where(finite, one, 0).astype(np.float64) - np.where(finite, other, 0)).max(initial=0.0))
