"""Two bundles on this machine, measured in turns; or one, to be held against its history. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse import child
from edgefuse.backends import Runner
from edgefuse.bench.accuracy import judge_answers
from edgefuse.bench.ratio import p90_ratios
from edgefuse.bench.verdict import MAX_SLOWDOWN, canary_doubt, judge_ratio
from edgefuse.bundle import Bundle, open_bundle
from edgefuse.device_state import watched
from edgefuse.device_state.power_mode import setting
from edgefuse.errors import BundleError
from edgefuse.golden import first_feeds
from edgefuse.latency import MIN_RUNS, TURN, Latency, measure
from edgefuse.machine import device_class, environment
from edgefuse.manifest import GOLDEN
from edgefuse.progress import Steps
from edgefuse.runtime import open_runner
from edgefuse.verdict import Verdict, combine

FORMAT = 1
BASELINE, CANDIDATE, AGAIN = "baseline", "candidate", "again"
MAX_RUNS = 10_000
"""Calls of each arm: more are hardly more certain, since noise comes in stretches."""


@dataclass(frozen=True)
class Options:
    """How long all arms together are measured, or exactly how many calls of each; the tolerance, as a share; and the
    power mode to set for that time (None: as it is)."""

    budget_s: float = 10.0
    runs: int | None = None
    max_slowdown: float = MAX_SLOWDOWN
    power_mode: str | None = None


def bench_bundles(candidate: Path, baseline: Path | None, options: Options, steps: Steps) -> dict[str, Any]:
    """The report (docs/bench.md) of *candidate* against *baseline*, both measured here in turns with the baseline once
    more; without one its ``verdict`` and ``comparison`` are None, and :func:`edgefuse.bench.recorded.judge_recorded`
    fills them in.

    Raises as :func:`edgefuse.runtime.open_runner`, and :class:`BundleError` where the two take other inputs.
    """
    with ExitStack() as stack:
        bundles = {CANDIDATE: stack.enter_context(open_bundle(candidate))}
        if baseline is not None:
            bundles = {BASELINE: stack.enter_context(open_bundle(baseline)), **bundles}
            _check_inputs(bundles[BASELINE], bundles[CANDIDATE])
        with steps.step("First inference"):
            for bundle in bundles.values():
                child.call("edgefuse.probe:run_bundle_once", {"path": str(bundle.path)}, what="Running the bundle once")
        arms = stack.enter_context(_opened(bundles))
        with steps.step("Measuring latency"):
            found, state = _measure(arms, bundles[CANDIDATE], options)
        with steps.step("Checking accuracy"):
            accuracy = judge_answers(bundles, {name: arms[name] for name in bundles})
        return _report(bundles, found, accuracy, state, options, steps)


def _check_inputs(baseline: Bundle, candidate: Bundle) -> None:
    found = [{item.name: (item.dtype, item.shape) for item in each.spec.inputs} for each in (baseline, candidate)]
    if found[0] != found[1]:
        differ = sorted(name for name in found[0].keys() | found[1].keys() if found[0].get(name) != found[1].get(name))
        raise BundleError(
            f"takes other inputs than {baseline.shown}: {', '.join(differ)}",
            where=str(candidate.shown),
            hint="Only bundles that take the same inputs can be called in turns.",
        )


@contextmanager
def _opened(bundles: Mapping[str, Bundle]) -> Iterator[dict[str, Runner]]:
    """A runner for each, and one more of the first: the canary, which is opened last. Where the order of opening
    matters (OpenVINO 2026.4, pinned threads, other load: the first of three copies up to 15 % slower) it differs most,
    and says so."""
    with ExitStack() as stack:
        named = {**bundles, AGAIN: next(iter(bundles.values()))}
        yield {name: stack.enter_context(closing(open_runner(bundle))) for name, bundle in named.items()}


def _measure(arms: Mapping[str, Runner], bundle: Bundle, options: Options) -> tuple[dict[str, Latency], dict[str, Any]]:
    """Latency of each arm on the first golden samples, and the report's ``device_state``."""
    feeds = first_feeds(bundle.path / GOLDEN)
    with setting(options.power_mode) if options.power_mode else nullcontext(), watched() as state:
        if options.runs is None:
            found = measure(arms, feeds, options.budget_s, MAX_RUNS)
        else:
            found = measure(arms, feeds, 0.0, options.runs, max(options.runs, MIN_RUNS))
    return found, state


def _report(
    bundles: Mapping[str, Bundle],
    found: Mapping[str, Latency],
    accuracy: dict[str, Any],
    state: dict[str, Any],
    options: Options,
    steps: Steps,
) -> dict[str, Any]:
    first, runs = next(iter(bundles)), len(found[AGAIN].samples_ms)
    ratios = p90_ratios({name: item.samples_ms.reshape(-1, TURN) for name, item in found.items()}, first)
    canary = ratios[AGAIN]
    report: dict[str, Any] = {
        "format": FORMAT,
        "verdict": None,
        BASELINE: None,
        **{name: {**describe(bundle), "latency": found[name].to_json()} for name, bundle in bundles.items()},
        "comparison": None,
        "canary": {**canary.to_json(), "doubt": canary_doubt(canary, options.max_slowdown)},
        "accuracy": accuracy,
        "max_slowdown": options.max_slowdown,
        "power_mode": options.power_mode,
        "device_class": device_class(),
        "environment": environment(),
        "device_state": state,
        "stages": steps.to_json(),
    }
    if BASELINE in bundles:
        ratio = ratios[CANDIDATE]
        judged = judge_ratio(ratio, canary, options.max_slowdown, runs)
        report["comparison"] = {"kind": "interleaved", **ratio.to_json(), **judged.to_json()}
        report["verdict"] = overall(judged.verdict, accuracy)
    return report


def overall(latency: Verdict, accuracy: Mapping[str, Any]) -> str:
    """Latency decides; accuracy adds only a failure, since few golden samples prove little."""
    return combine([latency, *([Verdict.FAIL] if accuracy["verdict"] == "fail" else [])]).value


def describe(bundle: Bundle) -> dict[str, Any]:
    plan = bundle.manifest["plan"]
    return {
        "name": bundle.manifest["name"],
        "path": str(bundle.shown),
        "hash": bundle.manifest["checksum"],
        "plan": plan.get("name", plan["precision"]),
    }


def whole_turns(runs: int) -> int:
    """The number of calls that is really measured where *runs* are asked for."""
    return math.ceil(runs / TURN) * TURN
