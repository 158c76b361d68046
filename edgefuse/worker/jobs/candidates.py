"""The candidates of a compilation at the workstation: built, opened and measured here by the code that does the same
there. The other end is :mod:`edgefuse.places.there`.

``held``: the opened runners by the number that the other end calls them by. A job that finds one missing answers
``gone``: the process that had it has crashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner, Settings
from edgefuse.golden import GoldenRanges, stacked
from edgefuse.part_times import PartSet
from edgefuse.parts import Partition
from edgefuse.places.here import Here
from edgefuse.places.sent import Sent
from edgefuse.plan import Candidate
from edgefuse.spec import Array, ModelSpec
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer

HERE = Here()


def capabilities(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """Of ``backend``, as :meth:`edgefuse.places.Place.capabilities`."""
    return Answer(HERE.capabilities(arguments["backend"]))


def compile_artifact(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """``group``: candidates of one artifact; ``onnx``: folder and name of their graph; ``golden``, ``spec``."""
    _close(desk, arguments)
    graph, spec = _graph(desk, arguments["onnx"]), ModelSpec.from_json(arguments["spec"])
    group = [_candidate(desk, item, graph) for item in arguments["group"]]
    HERE.compile_artifact(group, desk.file(arguments["golden"]), spec)
    return Answer()


def compile_parts(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """``parts``; ``onnx``: folder and name of each part's graph; ``golden``."""
    _close(desk, arguments)
    graphs = {name: _graph(desk, item) for name, item in arguments["onnx"].items()}
    HERE.compile_parts(_part_set(desk, arguments["parts"]), graphs, desk.file(arguments["golden"]))
    return Answer()


def open_candidate(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """``candidate``, ``spec``, and the ``number`` that the runner is called by. The value: its notes."""
    _close(desk, arguments)
    candidate = _candidate(desk, arguments["candidate"])
    return _keep(desk, arguments, HERE.open(candidate, ModelSpec.from_json(arguments["spec"])))


def open_parts(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """``parts``, ``settings`` of each, ``lanes``, and the ``number`` that the runner is called by."""
    _close(desk, arguments)
    settings = {name: Settings(**how) for name, how in arguments["settings"].items()}
    parts = _part_set(desk, arguments["parts"])
    return _keep(desk, arguments, HERE.open_parts(parts, settings, arguments["lanes"]))


def call(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """The outputs of the runner ``number`` for ``feed``: by input, what its array is known by; *arrays* are the new
    ones."""
    _close(desk, arguments)
    sent: Sent = desk.held.setdefault("sent", Sent())
    feed = sent.received(arguments["feed"], arrays)
    runner = _runners(desk).get(arguments["number"])
    if runner is None or feed is None:
        return _gone(desk)
    return Answer({"gone": False}, runner(feed))


def outputs(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """The outputs of the runner ``number`` for ``count`` of ``samples`` from ``start`` on, each ``(n, *shape)``; the
    value says how many there were."""
    _close(desk, arguments)
    runner, count = _runners(desk).get(arguments["number"]), arguments["count"]
    if runner is None:
        return _gone(desk)
    found = [runner(sample.feed) for sample in _golden(desk, arguments).take(arguments["start"], count)]
    return Answer({"gone": False, "count": len(found)}, stacked(found))


def measure(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """Milliseconds of the calls of each of ``runners`` (name to number), in turns, with the first of ``samples``;
    ``how`` as in :func:`edgefuse.latency.measure`. The value: the ``warmup`` calls of each, and what ``others`` used.
    """
    _close(desk, arguments)
    opened, wanted = _runners(desk), arguments["runners"]
    if not set(wanted.values()) <= opened.keys():
        return _gone(desk)
    arms = {name: opened[number] for name, number in wanted.items()}
    timed = HERE.measure(arms, desk.file(arguments["samples"]), **arguments["how"])
    warmup = {name: latency.warmup for name, latency in timed.latency.items()}
    taken = {name: latency.samples_ms for name, latency in timed.latency.items()}
    return Answer({"gone": False, "warmup": warmup, "others": timed.others}, taken)


def measure_parts(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """What every part of ``sets`` takes with the first of ``samples``."""
    _close(desk, arguments)
    sets = [_part_set(desk, item) for item in arguments["sets"]]
    times = HERE.measure_parts(sets, desk.file(arguments["samples"]))
    return Answer([asdict(time) for time in times])


def _runners(desk: Desk) -> dict[int, Runner]:
    found: dict[int, Runner] = desk.held.setdefault("runners", {})
    return found


def _gone(desk: Desk) -> Answer:
    """Both ends forget what has been sent, and start again."""
    desk.held.pop("sent", None)
    return Answer({"gone": True})


def _keep(desk: Desk, arguments: dict[str, Any], runner: Runner) -> Answer:
    if (former := _runners(desk).pop(arguments["number"], None)) is not None:
        former.close()
    _runners(desk)[arguments["number"]] = runner
    return Answer(list(getattr(runner, "notes", ())))


def _close(desk: Desk, arguments: dict[str, Any]) -> None:
    """What the other end has closed since its last request."""
    for number in arguments["closed"]:
        if (runner := _runners(desk).pop(number, None)) is not None:
            runner.close()
        _ranges(desk).pop(number, None)


def _ranges(desk: Desk) -> dict[int, GoldenRanges]:
    """Of each runner, the samples that it is going through."""
    found: dict[int, GoldenRanges] = desk.held.setdefault("ranges", {})
    return found


def _golden(desk: Desk, arguments: dict[str, Any]) -> GoldenRanges:
    path, kept = desk.file(arguments["samples"]), _ranges(desk)
    number = arguments["number"]
    if number not in kept or kept[number].path != path:
        kept[number] = GoldenRanges(path)
    return kept[number]


def _graph(desk: Desk, sent: list[str]) -> Path:
    folder, name = sent
    return desk.bundle(folder) / name


def _candidate(desk: Desk, item: dict[str, Any], graph: Path = Path()) -> Candidate:
    settings = Settings(**item["settings"])
    return Candidate(**{**item, "onnx_path": graph, "artifact": desk.work / item["artifact"], "settings": settings})


def _part_set(desk: Desk, item: dict[str, Any]) -> PartSet:
    return PartSet(
        backend=item["backend"],
        graph=item["graph"],
        spec=ModelSpec.from_json(item["spec"]),
        partition=Partition.from_json(item["partition"]),
        folder=desk.work / item["folder"],
        ways=tuple(Settings(**way) for way in item["ways"]),
    )
