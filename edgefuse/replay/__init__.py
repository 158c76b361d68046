"""Replaying a recording through a bundle's stream, at the recording's own timestamps: ``edgefuse replay``.

With estimated times two replays decide alike, so that all figures but those under "measured" are the same. Needs numpy
and one vendor library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from edgefuse.blob_cache import blob_folder
from edgefuse.bundle import Bundle
from edgefuse.comparison import Judge
from edgefuse.device_state import watched
from edgefuse.machine import environment
from edgefuse.manifest import RECORDING_FOLDER
from edgefuse.model import Model
from edgefuse.recheck import stored_judge
from edgefuse.recordings import Recording, Wanted, open_recording
from edgefuse.recordings.mapping import Sources, check_sources, read_sources
from edgefuse.replay.accuracy import Scorer, accuracy_json
from edgefuse.replay.events import (
    Clock,
    RecordedClock,
    TickRule,
    WallClock,
    count_ticks,
    drive,
    in_order,
    settle_tick,
    thinned,
    ticks,
)
from edgefuse.replay.staleness import DELAYS_MS, sweep
from edgefuse.replay.tally import Tally
from edgefuse.replay.whole import TICKS, Whole
from edgefuse.runtime import open_runner, stream_parts
from edgefuse.spec import TensorSpec
from edgefuse.stream import Session, StreamPolicy

FORMAT = 1
"""Of the result; raised when a key changes its meaning."""


class Position(NamedTuple):
    """Where a replay is: run number *run* of *runs* (the first is the replay, the others are the sweep's), *seconds* of
    *total_s*, and the counts of the replay so far."""

    run: int
    runs: int
    seconds: float
    total_s: float
    steps: int = 0
    late: int = 0
    dropped: int = 0


Watch = Callable[[Position], None]


@dataclass(frozen=True)
class Options:
    """``tick`` None: the stream with the highest declared rate. ``deadline_ms`` after each tick. ``policy``: keys that
    differ from the bundle's, by stream. ``real_time``: sleep until each arrival, and let the clock decide what is late.
    ``staleness_ms`` empty: no sweep. ``metrics_folder``: where a custom metric's file lies. ``sources`` in place of the
    bundle's mapping of topics, with the files of their transforms in ``sources_folder``."""

    tick: TickRule | None = None
    deadline_ms: float | None = None
    policy: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    real_time: bool = False
    staleness_ms: Sequence[float] = DELAYS_MS
    metrics_folder: Path | None = None
    sources: Sources | None = None
    sources_folder: Path | None = None


@dataclass(frozen=True)
class _Case:
    """What is replayed, all checked. ``judge`` may be None, for the reason ``unjudged``."""

    bundle: Bundle
    path: Path
    recording: Recording
    options: Options
    inputs: Mapping[str, tuple[TensorSpec, ...]]
    policies: dict[str, StreamPolicy]
    rule: TickRule
    ticks: int
    judge: Judge | None
    unjudged: str

    @property
    def duration_s(self) -> float:
        return (self.recording.end_ns - self.recording.start_ns) / 1e9


def replay_bundle(
    bundle: Bundle, path: Path, options: Options = Options(), watch: Watch = lambda position: None
) -> dict[str, Any]:
    """Replay the recording at *path* through *bundle*; the result as plain JSON values (``docs/recordings.md``).

    Raises ``RecordingError``, ``UsageError`` for a wrong policy or tick, and ``ToolchainError``.
    """
    with _open_model(bundle) as model, closing(_open_recording(model, bundle, path, options)) as recording:
        case = _prepare(model, bundle, path, recording, options)
        timing = "measured" if options.real_time else "estimated"
        with model.stream(case.policies, timing=timing) as session, watched() as device_state:
            found = _replay(model, session, case, watch)
        facts = _facts(case)
        swept, reason = _staleness(model, case, found["steps"]["answered"], watch)
    told = {"device_state": device_state, "staleness": swept, "staleness_reason": reason}
    return {"format": FORMAT, **facts, **found, **told}


@contextmanager
def _open_model(bundle: Bundle) -> Iterator[Model]:
    """As :func:`edgefuse.load` does, from a bundle that is open already."""
    blobs = blob_folder()
    runner = open_runner(bundle, blobs)
    with Model(bundle, runner, ExitStack(), lambda: stream_parts(bundle, blobs)) as model:
        yield model


def _open_recording(model: Model, bundle: Bundle, path: Path, options: Options) -> Recording:
    policies = model.policies(options.policy)
    wanted = {name: _wanted(items, policies[name]) for name, items in model.streams.items()}
    if options.sources is not None:
        check_sources(options.sources, model.spec.names, "recording")
        return open_recording(path, wanted, options.sources, options.sources_folder)
    sources = read_sources(bundle.manifest["recording"], "the bundle's recording")
    return open_recording(path, wanted, sources, bundle.path / RECORDING_FOLDER)


def _prepare(model: Model, bundle: Bundle, path: Path, recording: Recording, options: Options) -> _Case:
    policies, inputs = model.policies(options.policy), model.streams
    rule = settle_tick(options.tick, recording, {name: _declared_hz(items) for name, items in inputs.items()})
    judge, unjudged = _find_judge(bundle, recording, options.metrics_folder)
    total = count_ticks(rule, recording)
    return _Case(bundle, path, recording, options, inputs, policies, rule, total, judge, unjudged)


def _wanted(items: tuple[TensorSpec, ...], policy: StreamPolicy) -> Wanted:
    return Wanted(items, policy.axis if policy.kind == "window" else None)


def _declared_hz(items: tuple[TensorSpec, ...]) -> float | None:
    return max((item.rate_hz for item in items if item.rate_hz is not None), default=None)


def _find_judge(bundle: Bundle, recording: Recording, folder: Path | None) -> tuple[Judge | None, str]:
    """The bundle's own rule; None and the reason where nothing can be judged."""
    if not recording.label_count:
        return None, "the recording has no labels"
    judge = stored_judge(bundle, None, folder)
    if judge.metric is None:
        return None, "the bundle's metric is sqnr, which compares with the float model and not with labels"
    return judge, ""


def _replay(model: Model, session: Session, case: _Case, watch: Watch) -> dict[str, Any]:
    """The replay itself: all figures but the sweep's."""
    recording, options = case.recording, case.options
    whole = Whole(session, model, thinned(case.ticks, min(TICKS, case.ticks // 2)), pauses=options.real_time)
    tally, scorer = Tally(case.inputs, recording), Scorer(recording, case.judge) if case.judge else None
    clock: Clock = WallClock(recording.start_ns) if options.real_time else RecordedClock()
    deadline_ns = None if options.deadline_ms is None else round(options.deadline_ms * 1e6)
    events = in_order(recording, ticks(case.rule, recording))
    for step in drive(session, events, clock, deadline_ns, tally.delivered):
        tally.stepped(step)
        whole.stepped(step)
        if scorer is not None:
            scorer.stepped(step)
        seconds = (step.now_ns - recording.start_ns) / 1e9
        watch(Position(0, _runs(case), seconds, case.duration_s, tally.steps, tally.late, tally.dropped))
    health = session.health()
    return {
        "steps": tally.steps_json(),
        "streams": {name: {**_declared(case, name), **found} for name, found in tally.streams_json(health).items()},
        "parts": tally.parts_json(whole.parts.partition, health),
        "equality": whole.equality_json(),
        "accuracy": accuracy_json(scorer.scores, case.judge) if scorer and case.judge else None,
        "accuracy_reason": case.unjudged or None,
        "measured": {**tally.measured_json(health), "cpu": whole.cpu_json(tally.answered)},
    }


def _declared(case: _Case, name: str) -> dict[str, Any]:
    return {"declared_hz": _declared_hz(case.inputs[name]), "policy": case.policies[name].to_json()}


def _facts(case: _Case) -> dict[str, Any]:
    """What was replayed, and how; to be told after it, for what was dropped while reading."""
    manifest, options = case.bundle.manifest, case.options
    return {
        "name": manifest["name"],
        "bundle": {
            "path": str(case.bundle.shown),
            "verdict": manifest["verdict"],
            "plan": manifest["plan"].get("name", manifest["plan"]["precision"]),
            "backend": {key: manifest["artifact"][key] for key in ("backend", "version")},
            "limit_p90_ms": manifest["limits"]["p90_ms"],
        },
        "recording": {
            "path": case.path.name,
            "duration_s": case.duration_s,
            "start_ns": case.recording.start_ns,
            "labels": case.recording.label_count,
            "unused": list(case.recording.unused),
            "dropped": {name: dict(reasons) for name, reasons in case.recording.dropped.items()},
            "notes": list(case.recording.notes),
            "damage": case.recording.damage or None,
        },
        "tick": str(case.rule),
        "deadline_ms": options.deadline_ms,
        "timing": "measured" if options.real_time else "estimated",
        "environment": environment(),
    }


def _runs(case: _Case) -> int:
    delays = {delay for delay in case.options.staleness_ms if delay}
    return 1 + (1 + len(delays) * len(case.recording.counts) if case.judge and case.options.staleness_ms else 0)


def _staleness(model: Model, case: _Case, answered: int, watch: Watch) -> tuple[dict[str, Any] | None, str | None]:
    """The sweep, or None and the reason."""
    if not case.options.staleness_ms:
        return None, "not asked for"
    if case.judge is None:
        return None, case.unjudged
    if not answered:
        return None, "no step had an answer"

    def watch_run(run: int, now_ns: int) -> None:
        watch(Position(1 + run, _runs(case), (now_ns - case.recording.start_ns) / 1e9, case.duration_s))

    found = sweep(
        model, case.recording, case.judge, case.rule, case.ticks, case.options.staleness_ms, case.policies, watch_run
    )
    return found, None
