"""What the multi-rate runtime costs and saves, against the whole graph at every tick and against a split by hand.

    python benchmarks/streaming.py [MODEL …] [--seconds 10] [--repeat 3] [--quick] [--cache DIR]

A simulated drive (camera 30 Hz, LiDAR 10 Hz, IMU 200 Hz, audio 50 Hz, with jitter and transport delays) is played to
all arms in one process, a second at a time in random order; the step is at every IMU sample. CPU time is the
process's, all threads together. Models and bundles are made at the first run and kept in the cache.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from peers.case import STREAMED
from peers.tables import Paper, machine
from rich.table import Table
from streaming.arms import (
    AloneArm,
    Arm,
    EdgeFuseArm,
    HandArm,
    OneThread,
    PreparedArm,
    VendorArm,
    WholeArm,
    one_thread_whole,
)
from streaming.by_hand import HandSplit
from streaming.play import TURN, Played, play, race
from streaming.prepare import describe, prepare
from streaming.recording import TICKING, Recording, record
from streaming.scenes import STALL_SECONDS, busy_table, stall_table
from streaming.tables import agreement, cpu_beyond_us, cpu_table, overhead_table, ratio_interval, sqnr_db

import edgefuse
from edgefuse.bundle import Bundle, open_bundle
from edgefuse.model import Model
from edgefuse.runtime import open_parts

CACHE = Path(__file__).resolve().parent.parent / "build" / "benchmarks"
MODELS = ("camera-lidar-imu", *STREAMED)
PIECES = ("cost", "overhead", "scenes")
TICK_GOAL, CPU_GOAL = 1.2, 3.0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--seconds", type=int, help="of recording [10]")
    parser.add_argument("--repeat", type=int, help="how often the recording is played [3]")
    parser.add_argument("--quick", action="store_true", help="3 s, once")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where models, samples and bundles are kept")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument("--only", nargs="+", choices=PIECES, default=PIECES, help="some of the tables")
    options = parser.parse_args()
    unknown = [name for name in options.models if name not in MODELS]
    if unknown:
        parser.error(f"there is no model {unknown[0]!r}; known: {', '.join(MODELS)}")
    options.seconds = options.seconds or (3 if options.quick else 10)
    options.repeat = options.repeat or (1 if options.quick else 3)
    return options


def make_arms(name: str, model: Model, bundle: Bundle, recording: Recording, folder: Path) -> tuple[list[Arm], str]:
    """The arms of the first table, and in which precisions the hand-written split runs."""
    inputs = sensor_names(bundle)
    with tempfile.TemporaryDirectory() as work:
        split = HandSplit(name, folder / "model.pt2", recording.first, Path(work))
    arms: list[Arm] = [
        EdgeFuseArm(model, recording),
        WholeArm(model, recording, inputs, "whole graph, every IMU tick"),
        WholeArm(model, recording, inputs, "whole graph at 30 Hz, held", paced="camera"),
        HandArm(split, recording, inputs),
        VendorArm(bundle, recording, inputs),
        AloneArm(bundle, recording, inputs),
        EdgeFuseArm(model, recording, "EdgeFuse stream again (A/A)"),
        PreparedArm(model, recording, "EdgeFuse stream, prepared between ticks"),
        WholeArm(one_thread_whole(bundle), recording, inputs, "whole graph, every IMU tick, one thread"),
    ]
    return arms, ", ".join(f"{stream} {precision}" for stream, precision in split.precisions.items())


def compare(name: str, bundle_path: Path, options: argparse.Namespace, paper: Paper) -> None:
    samples = bundle_path.parent / "samples" / "golden"
    recording = record(samples, "audio" in name, max(options.seconds * options.repeat, STALL_SECONDS))
    paper.put(f"**{name}**", *describe(bundle_path))
    with open_bundle(bundle_path) as bundle, edgefuse.load(bundle_path) as model:
        if "cost" in options.only:
            paper.put(*cost(name, model, bundle, recording, options.seconds * options.repeat))
        if "overhead" in options.only:
            paper.put(*overhead(bundle, recording, options.seconds * options.repeat))
        if "scenes" in options.only:
            paper.put(*scenes(model, bundle, recording, max(options.seconds, STALL_SECONDS)))


def cost(name: str, model: Model, bundle: Bundle, recording: Recording, seconds: int) -> list[str | Table]:
    """The first table, and whether outputs agree."""
    arms, precisions = make_arms(name, model, bundle, recording, bundle.path.parent)
    found = play(arms, recording, seconds)
    return [
        cpu_table(arms, found, found[1]),
        f"By hand: {precisions}; one thread each.",
        ratios(found),
        *agreements(bundle, recording, found, seconds),
    ]


def overhead(bundle: Bundle, recording: Recording, seconds: int) -> list[str | Table]:
    """Against the bare calls, in turns of a few ticks. One thread a part: with more, workers spin after a part has
    ended, and whoever runs next is charged for it."""
    inputs = sensor_names(bundle)
    parts = OneThread(bundle)
    arms: list[Arm] = [
        EdgeFuseArm(parts, recording),
        VendorArm(bundle, recording, inputs, threads=1),
        AloneArm(bundle, recording, inputs, threads=1),
        EdgeFuseArm(parts, recording),
    ]
    ours, vendor, alone, again = race(arms, recording, seconds)
    least, every, base = ours.percentile(90, TICKING), ours.percentile(90), alone.percentile(90)
    return [
        f"In turns of {TURN - 1} ticks, one thread a part:",
        overhead_table(ours, vendor),
        f"A/A: {np.median(cpu_beyond_us(again, ours)):+.0f} µs of CPU time a tick (median).",
        f"p90 of a tick: the IMU's branch and the trunk alone {base:.3f} ms; the stream {least:.3f} ms where only the "
        f"IMU delivered ({least / base:.2f} times; goal {TICK_GOAL:g}), {every:.3f} ms over all "
        f"({every / base:.2f} times); the bare calls {vendor.percentile(90, TICKING):.3f} and "
        f"{vendor.percentile(90):.3f} ms.",
    ]


def scenes(model: Model, bundle: Bundle, recording: Recording, seconds: int) -> list[str | Table]:
    inputs = sensor_names(bundle)
    return [
        "Busy cores, in real time, deadline 5 ms after the IMU's sample:",
        busy_table(model, recording, inputs, seconds),
        "The camera delivers nothing for one second of four (`max_age_ms` = 100):",
        stall_table(model, recording),
    ]


def ratios(found: list[Played]) -> str:
    ours, whole, _, hand, vendor, alone, again, prepared, whole_one = found
    return (
        f"CPU time, 95 % intervals: the whole graph at every tick takes {ratio_interval(whole, ours)} times that of "
        f"the stream (goal {CPU_GOAL:g}), the split by hand {ratio_interval(hand, ours)}, the bare calls "
        f"{ratio_interval(vendor, ours)}, prepared between ticks {ratio_interval(prepared, ours)}; A/A "
        f"{ratio_interval(again, ours)}. With one thread the whole graph takes {ratio_interval(whole_one, ours)} times "
        "that of the stream. "
        f"The whole graph takes {ratio_interval(whole, alone)} times that of the IMU's branch and the trunk alone, "
        "which no split of this model can beat."
    )


def sensor_names(bundle: Bundle) -> dict[str, str]:
    """Stream name to its input: these models have one each."""
    return {item.stream or item.name: item.name for item in bundle.spec.inputs}


def agreements(bundle: Bundle, recording: Recording, found: list[Played], seconds: int) -> list[str]:
    ours, whole, held, hand, vendor = (played.output("velocity") for played in found[:5])
    inputs = sensor_names(bundle)
    parts = open_parts(bundle)
    anew = WholeArm(parts, recording, inputs, "recomputed")
    recomputed = play([anew], recording, seconds)[0].output("velocity")
    parts.close()
    return [
        agreement("Against a full recompute of the same parts", ours, recomputed),
        agreement("Against the bundle's call", ours, whole),
        agreement("The bare calls against the stream", vendor, ours),
        f"Outputs held at 30 Hz are {sqnr_db(whole, held):.1f} dB from those of every tick; the split by hand "
        f"{sqnr_db(hand, ours):.1f} dB from the stream (another precision).",
    ]


def main() -> None:
    options = read_options()
    paper = Paper(options.markdown)
    paper.put(machine())
    for name in options.models or MODELS:
        compare(name, prepare(name, options.cache), options, paper)


if __name__ == "__main__":
    main()
