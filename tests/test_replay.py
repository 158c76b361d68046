"""A replay: decides alike every time, counts everything, equals a loop written by hand, and says what old data cost."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
import tracemalloc
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import edgefuse
from edgefuse import replay
from edgefuse.bundle import Bundle, open_bundle
from edgefuse.errors import RecipeError, RecordingError, UsageError
from edgefuse.model import Model
from edgefuse.recheck import stored_judge
from edgefuse.recordings import Label, Message, Wanted, open_recording
from edgefuse.recordings.mapping import read_sources
from edgefuse.replay import Options, replay_bundle
from edgefuse.replay.accuracy import Scorer, estimate
from edgefuse.replay.events import (
    RecordedClock,
    Tick,
    TickRule,
    count_ticks,
    drive,
    in_order,
    parse_tick,
    thinned,
    ticks,
)
from edgefuse.replay.series import CAPACITY, Gaps, Series, Values
from edgefuse.replay.staleness import sweep
from edgefuse.report.replay import render
from edgefuse.report.replay_text import summary_rows
from tests.recordings.files import MS, START, times, tiny, write
from tests.recordings.writers import image as image_message
from tests.recordings.writers import ros2, write_mcap_ros2
from tests.stream import robots


@pytest.fixture
def bundle(tiny_bundle):
    with open_bundle(tiny_bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Two seconds of the tiny model's sensors, with labels."""
    labels = np.random.default_rng(3).integers(0, 4, 20)
    return write(tmp_path_factory.mktemp("recording") / "r.npz", tiny(labels=labels))


def said(report):
    """Without what a clock said."""
    return {name: found for name, found in report.items() if name not in ("measured", "environment", "device_state")}


def test_two_replays_say_the_same_but_for_what_was_measured(bundle, recording):
    options = Options(deadline_ms=0.2, policy={"camera": {"max_age_ms": 30, "on_stale": "fallback"}})
    first, second = (replay_bundle(bundle, recording, options) for _ in range(2))
    assert said(first) == said(second)
    assert first["accuracy"]["steps"] > 0 and first["staleness"]["steps"] > 0


def test_it_equals_a_loop_written_by_hand(bundle, tiny_bundle, recording):
    arrays = dict(np.load(recording))
    events = [(t, 0, "camera", arrays["image"][i][None], arrays["image.stamp_ns"][i])
              for i, t in enumerate(arrays["image.arrival_ns"])]  # fmt: skip
    events += [(t, 1, "state", arrays["state"][i][None], t) for i, t in enumerate(arrays["state.stamp_ns"])]
    ages, statuses = [], []
    with edgefuse.load(tiny_bundle) as model, model.stream(timing="estimated") as stream:
        for now, _, name, value, stamp in sorted(events, key=lambda event: event[:2]):
            assert stream.push(name, value, int(stamp))
            if name == "state":
                found = stream.step(int(now))
                statuses.append(found.status)
                if found.ok:
                    ages.append(found.streams["camera"].age_ns / 1e6)
    report = replay_bundle(bundle, recording, Options(staleness_ms=()))
    assert report["tick"] == "each delivery of state"
    assert report["steps"]["status"] == {name: statuses.count(name) for name in sorted(set(statuses))}
    age = report["streams"]["camera"]["age_ms"]
    assert [age["p50"], age["p90"], age["max"]] == pytest.approx([*np.percentile(ages, [50, 90]), max(ages)])


def test_what_is_dropped_superseded_stale_or_missing_is_counted_by_reason(bundle, tmp_path):
    arrays = tiny()
    arrays["image.stamp_ns"][5] = arrays["image.stamp_ns"][4]
    arrays["image.stamp_ns"][9] = -5
    arrays["image"][20] = np.nan
    for name in ("image", "image.stamp_ns", "image.arrival_ns"):
        arrays[name] = np.delete(arrays[name], slice(30, 40), axis=0)
    options = Options(tick=parse_tick("25hz"), policy={"camera": {"max_age_ms": 150}})
    report = replay_bundle(bundle, write(tmp_path / "r.npz", arrays), options)
    camera, state = report["streams"]["camera"], report["streams"]["state"]
    assert camera["dropped"] == {"backwards": 1, "not finite": 1, "stamp": 1} and camera["deliveries"] == 50
    assert camera["accepted"] == 47 and camera["gaps"] >= 1 and camera["longest_gap_ms"] > 300
    assert camera["stale"] > 0 and report["steps"]["status"]["stale"] > 0
    assert camera["restarts"] == 0
    assert state["superseded"] > 100 and state["rate_hz"] == pytest.approx(100)
    assert report["steps"]["total"] == 50 and "camera is" in report["steps"]["reason"]
    assert report["accuracy"] is None and report["accuracy_reason"] == "the recording has no labels"


def test_a_deadline_that_the_bundles_figures_do_not_fit_makes_steps_late(bundle, recording):
    limit = bundle.manifest["artifact"]["p90_ms"]
    kept = replay_bundle(bundle, recording, Options(deadline_ms=10 * limit, staleness_ms=()))
    late = replay_bundle(bundle, recording, Options(deadline_ms=limit / 10, staleness_ms=()))
    assert kept["steps"]["late"] == 0
    assert late["steps"]["late"] == late["steps"]["answered"] > 100
    assert late["measured"]["late_over_time_ms"]["t_s"]


def test_real_time_takes_as_long_as_the_recording_and_misses_what_it_cannot_keep_up_with(bundle, tmp_path, monkeypatch):
    path = write(tmp_path / "r.npz", tiny(seconds=0.5))
    started = time.perf_counter()
    report = replay_bundle(bundle, path, Options(real_time=True, staleness_ms=()))
    assert time.perf_counter() - started > 0.45 and report["timing"] == "measured"
    step = edgefuse.stream.Session.step

    def slow(self, *arguments):
        time.sleep(0.035)
        return step(self, *arguments)

    monkeypatch.setattr(edgefuse.stream.Session, "step", slow)
    report = replay_bundle(bundle, path, Options(real_time=True, deadline_ms=5, staleness_ms=()))
    assert report["steps"]["missed"] > 10 and report["steps"]["late"] > 5
    assert report["steps"]["total"] + report["steps"]["missed"] == 50


def test_a_stream_that_the_recording_lacks_leaves_every_step_waiting_unless_it_is_not_required(bundle, tmp_path):
    path = write(tmp_path / "r.npz", {k: v for k, v in tiny().items() if k.startswith("image")})
    report = replay_bundle(bundle, path)
    assert report["steps"]["answered"] == 0 and report["steps"]["reason"] == "no data yet from state"
    assert report["measured"]["step_ms"] is None and report["equality"]["ticks"] == 0
    found = replay_bundle(bundle, path, Options(policy={"state": {"required": False}}))
    assert found["steps"]["answered"] == 60 and found["streams"]["state"]["used"] == {"fallback": 1.0}


def test_wrong_options_and_recordings_are_typed_errors(bundle, recording, tmp_path):
    wrong = [{"camera": {"max_aeg_ms": 1}}, {"lidar": {}}, {"camera": {"kind": "window", "axis": 9}}]
    for options in [Options(tick=TickRule("lidar")), *(Options(policy=policy) for policy in wrong)]:
        with pytest.raises((UsageError, RecordingError)):
            replay_bundle(bundle, recording, options)
    with pytest.raises(UsageError, match="0 Hz"):
        parse_tick("0hz")
    manifest = {**bundle.manifest, "limits": {**bundle.manifest["limits"]}}
    manifest["limits"]["accuracy"] = {**manifest["limits"]["accuracy"], "metric": "mine.py:metric"}
    with pytest.raises(RecipeError, match="code of yours"):
        replay_bundle(dataclasses.replace(bundle, manifest=manifest), recording)
    labels = np.zeros((20, 3), np.int64)
    with pytest.raises(RecordingError, match="label of shape"):
        replay_bundle(bundle, write(tmp_path / "l.npz", tiny(labels=labels)))


# -- recordings of topics

MAPPING = {
    "image": {"topic": "/camera", "transforms": [{"layout": "HW->1HW"}]},
    "state": {"topic": "/state"},
    "label": {"topic": "/truth"},
}


def as_topics(arrays):
    """What a robot would have recorded of the tiny model's sensors."""
    images = [image_message(frame[0], "32FC1") for frame in arrays["image"]]
    states = [ros2("std_msgs/msg/Float32MultiArray", data=row) for row in arrays["state"]]
    labels = [ros2("std_msgs/msg/Int64", data=int(label)) for label in arrays["label"]]
    return {
        "/camera": list(zip(arrays["image.stamp_ns"], arrays["image.arrival_ns"].tolist(), images)),
        "/state": list(zip(arrays["state.stamp_ns"], arrays["state.stamp_ns"].tolist(), states)),
        "/truth": list(zip(arrays["label.stamp_ns"], arrays["label.stamp_ns"].tolist(), labels)),
        "/gps": [(START, START + 5, ros2("sensor_msgs/msg/NavSatFix"))],
    }


@pytest.fixture(scope="module")
def mcap(recording, tmp_path_factory):
    path = tmp_path_factory.mktemp("mcap") / "drive.mcap"
    return write_mcap_ros2(path, as_topics(dict(np.load(recording))))


def mapping_bundle(bundle, **changes):
    return dataclasses.replace(bundle, manifest={**bundle.manifest, "recording": {**MAPPING, **changes}})


def test_the_replay_of_an_mcap_equals_that_of_the_same_data_as_npz_figure_by_figure(bundle, recording, mcap):
    options = Options(deadline_ms=50, policy={"camera": {"max_age_ms": 30, "on_stale": "fallback"}})
    arrays = said(replay_bundle(bundle, recording, options))
    topics = said(replay_bundle(mapping_bundle(bundle), mcap, options))
    about = topics.pop("recording")
    assert arrays["accuracy"]["steps"] > 100 and arrays["staleness"]["steps"] > 0
    assert about == arrays.pop("recording") | {
        "path": "drive.mcap",
        "unused": ["/gps"],
        "notes": [f"{topic}: no message has a stamp; arrival stands for it" for topic in ("/state", "/truth")],
    }
    assert topics == arrays
    given = Options(sources=read_sources(MAPPING, "recording"), staleness_ms=())
    assert said(replay_bundle(bundle, mcap, given))["streams"].keys() == arrays["streams"].keys()


def test_a_bundle_that_does_not_say_how_lists_the_recordings_topics(bundle, mcap):
    with pytest.raises(RecordingError) as caught:
        replay_bundle(bundle, mcap)
    assert "[recording.image]" in caught.value.hint and "/gps" in caught.value.hint
    with pytest.raises(RecipeError, match="no input 'lidar'"):
        replay_bundle(bundle, mcap, Options(sources=read_sources({"lidar": {"topic": "/x"}}, "recording")))


def test_a_transforms_file_is_the_bundles_own(bundle, mcap, tmp_path):
    words = {"topic": "/words", "transforms": [{"words": {"file": "w.txt", "length": 6}}, {"cast": "float32"}]}
    topics = as_topics(tiny(labels=np.zeros(4, np.int64)))
    topics["/words"] = [(None, START, ros2("std_msgs/msg/String", data="go left"))]
    path = write_mcap_ros2(tmp_path / "w.mcap", topics)
    found = dataclasses.replace(mapping_bundle(bundle, state=words), path=tmp_path)
    with open_bundle(bundle.path) as opened:
        found = dataclasses.replace(opened, manifest=found.manifest)
        with pytest.raises(RecipeError, match="no file"):
            replay_bundle(found, path)
        (opened.path / "recording").mkdir(exist_ok=True)
        try:
            (opened.path / "recording" / "w.txt").write_text("go\nleft\n")
            report = replay_bundle(found, path, Options(tick=TickRule("camera"), staleness_ms=()))
        finally:
            shutil.rmtree(opened.path / "recording")
    assert report["streams"]["state"]["accepted"] == 1 and report["steps"]["answered"] > 0


def test_what_cannot_be_used_is_counted_and_a_damaged_recording_replays_what_is_there(bundle, recording, tmp_path):
    topics = as_topics(dict(np.load(recording)))
    for place in (7, 8):
        topics["/camera"][place][2].encoding = "bayer_rggb8"
    topics["/camera"][30][2].data = np.zeros(0, np.uint8)
    path = write_mcap_ros2(tmp_path / "cut.mcap", topics, chunk_size=4096, compression="")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    report = replay_bundle(mapping_bundle(bundle), path, Options(staleness_ms=()))
    about = report["recording"]
    assert about["dropped"] == {"camera": {"encoding": 2, "empty": 1}} and about["damage"]
    assert any("'bayer_rggb8'" in note for note in about["notes"])
    camera = report["streams"]["camera"]
    assert 35 < camera["deliveries"] < 57 and camera["deliveries"] == camera["accepted"]
    assert report["steps"]["answered"] > 100
    rows = dict(summary_rows(report))
    assert about["damage"] in rows["damaged"] and rows["not read"] == "camera: 2 encoding, 1 empty"
    page = render(report)
    assert "damaged recording" in page and "while reading: encoding" in page and "bayer" in page


# -- accuracy against staleness


class ReadsTheImage:
    """Answers with the class that the image's first pixel holds."""

    def __call__(self, feed):
        return {"logits": np.eye(4, dtype=np.float32)[[int(feed["image"][0, 0, 0, 0]) % 4]]}

    def close(self):
        pass


@pytest.fixture
def image_model(bundle):
    with Model(bundle, ReadsTheImage(), ExitStack(), lambda: None) as model:
        yield model


def truthful(seconds=12, per_second=5):
    """Every image shows the label that holds when it is taken; labels change *per_second* times a second."""
    arrays = tiny(seconds=seconds)
    labels = np.random.default_rng(0).integers(0, 4, seconds * per_second)
    shown = labels[((arrays["image.stamp_ns"] - START) * per_second) // 1_000_000_000]
    arrays["image"][:, 0, 0, 0] = shown
    arrays["image.arrival_ns"] = arrays["image.stamp_ns"]
    return arrays | {"label": labels, "label.stamp_ns": times(len(labels), per_second)}


def wanted(model):
    return {item.stream: Wanted((item,)) for item in model.spec.inputs}


def test_what_does_not_depend_on_a_stream_does_not_care_how_old_it_is(bundle, image_model, tmp_path):
    found = open_recording(write(tmp_path / "r.npz", truthful()), wanted(image_model))
    rule, judge = TickRule("camera"), stored_judge(bundle, None, None)
    swept = sweep(image_model, found, judge, rule, count_ticks(rule, found), [0, 100, 400])
    state, camera = swept["streams"]["state"], swept["streams"]["camera"]
    assert [item["value"] for item in state] == [1.0, 1.0, 1.0]
    assert all(item["drop"] == 0 and item["drop_ci95"] == [0, 0] for item in state)
    assert 0.9 > camera[1]["value"] > camera[2]["value"] and camera[2]["value"] < 0.45
    assert camera[2]["drop"] == pytest.approx(1 - camera[2]["value"]) and camera[2]["drop_ci95"][0] > 0.3
    low, high = camera[2]["ci95"]
    assert 0 < low < camera[2]["value"] < high < 1 and state[0]["ci95"][1] == 1.0
    assert swept["steps"] == 360 - 12 and swept["delays_ms"] == [0.0, 100.0, 400.0]  # 0.4 s have no data yet


def test_a_label_of_nan_is_not_judged(bundle, tmp_path):
    labels = np.array([np.nan, 1.0] * 10)
    found = replay_bundle(bundle, write(tmp_path / "r.npz", tiny(labels=labels)), Options(staleness_ms=()))
    assert found["accuracy"]["not_finite"] > 0
    assert found["accuracy"]["steps"] == found["steps"]["answered"] - found["accuracy"]["not_finite"]


def test_one_delivery_of_each_sensor_is_a_recording(bundle, tmp_path):
    one = {name: array[:1] for name, array in tiny(labels=np.zeros(20, np.int64)).items()}
    for tick in ("state", "camera", "100hz"):
        found = replay_bundle(bundle, write(tmp_path / "r.npz", one), Options(tick=parse_tick(tick)))
        assert found["steps"]["total"] == (2 if tick == "100hz" else 1)


def test_a_stamp_of_zero_among_todays_does_not_ask_for_fifty_years(bundle, tmp_path):
    arrays = tiny() | {"state.stamp_ns": times(200, 100, 1_700_000_000 * 10**9)}
    arrays["state.stamp_ns"][0] = 0
    with pytest.raises(UsageError, match=r"would ask 1\.7e\+11 times"):
        replay_bundle(bundle, write(tmp_path / "r.npz", arrays), Options(tick=TickRule(rate_hz=100.0)))


@pytest.mark.parametrize("rate_hz", [0.1, 30.0, 33.3, 99.99, 1000.0])
def test_ticks_at_a_rate_are_counted_without_going_through_them(bundle, image_model, tmp_path, rate_hz):
    found = open_recording(write(tmp_path / "r.npz", tiny()), wanted(image_model))
    rule = TickRule(rate_hz=rate_hz)
    assert count_ticks(rule, found) == len(list(ticks(rule, found)))


def test_the_label_of_a_step_is_the_newest_that_is_not_later(bundle, image_model, tmp_path):
    found = open_recording(write(tmp_path / "r.npz", truthful()), wanted(image_model))
    scorer, rule = Scorer(found, stored_judge(bundle, None, None)), TickRule("camera")
    with image_model.stream(timing="estimated") as session:
        for step in drive(session, in_order(found, ticks(rule, found)), RecordedClock()):
            scorer.stepped(step)
    _, groups, values = scorer.scores.arrays()
    assert values.all() and len(values) == 360 and 12 <= len(np.unique(groups)) <= 14
    judge = stored_judge(bundle, None, None)
    assert estimate(values, groups, judge)["ci95"][0] > 0.6
    few = estimate(values[:90], groups[:90], judge)
    assert few["ci95"] is None and "needs 8 stretches of time, had " in few["ci95_reason"]


# -- a model with parts, windows, several inputs a stream, and state


@pytest.fixture
def robot(monkeypatch):
    """A bundle of the robot of tests/stream, as far as a replay looks at it."""
    (parts, spec), (whole, _) = robots.assembled(), robots.assembled()
    partition = robots.folder("onnxruntime", "float")[1]
    artifact = {"backend": "onnxruntime", "version": "1", "p90_ms": 5.0, "parts": [{"name": n, "p90_ms": ms}
                for n, ms in robots.P90_MS.items()]}  # fmt: skip
    accuracy = {"metric": "mae", "output": "seen", "label": "label", "min_sqnr_db": 30.0,
                "max_drop": {"value": 0.01, "relative": True}}  # fmt: skip
    manifest = {"name": "robot", "verdict": "pass", "model": spec.to_json(),
                "plan": {"precision": "float"}, "partition": partition.to_json(), "artifact": artifact,
                "recording": {},
                "fallbacks": [],
                "streams": {"imu": {"kind": "window", "sample_hz": 100.0}, "goal": {"kind": "latched"}},
                "limits": {"accuracy": accuracy, "p90_ms": None}}  # fmt: skip
    found = Bundle(robots.folder("onnxruntime", "float")[0], manifest, robots.folder("onnxruntime", "float")[0])

    class Whole:
        def __call__(self, feed):
            return whole(feed)

        def close(self):
            pass

    @contextlib.contextmanager
    def open_model(opened):
        yield Model(opened, Whole(), ExitStack(), lambda: parts)

    monkeypatch.setattr(replay, "_open_model", open_model)
    return found


def drive_of(seconds=3):
    """What the robot's sensors deliver: the IMU in chunks of two samples, the goal once a second."""
    rng, counts = np.random.default_rng(0), {"image": 30, "points": 10, "gyro": 50, "words": 1}
    arrays = {
        "image": rng.normal(size=(30 * seconds, 2, 8, 8)).astype(np.float32),
        "points": rng.normal(size=(10 * seconds, 12)).astype(np.float32),
        "gyro": rng.normal(size=(50 * seconds, 1, 2, 4)).astype(np.float32),
        "words": rng.integers(0, 10, (seconds, 1, 3)),
    }
    arrays["power"] = arrays["points"] * 2
    stamps = {f"{name}.stamp_ns": times(len(arrays[name]), counts.get(name, 10)) for name in list(arrays)}
    return arrays | stamps


def test_steps_of_a_model_with_parts_and_state_equal_a_full_recompute(robot, tmp_path):
    path = write(tmp_path / "r.npz", drive_of())
    report = replay_bundle(robot, path, Options(tick=TickRule("imu")))
    equality = report["equality"]
    assert equality["equal_to_recompute"] == equality["ticks"] > 50 and equality["max_abs_to_whole"] == 0
    runs = {part["name"]: part["runs"] for part in report["parts"]}
    answered = report["steps"]["answered"]
    assert runs["imu"] == runs["trunk"] == answered and runs["goal"] == 3 and 25 <= runs["lidar"] <= 30
    assert set(report["measured"]["parts_ms"]) == set(runs)
    cpu = report["measured"]["cpu"]
    assert cpu["steps_ms"] > 0 and cpu["whole_ms"] > 0 and cpu["measured_ticks"] == report["equality"]["ticks"]


def test_a_deadline_holds_branches_and_says_which(robot, tmp_path):
    path = write(tmp_path / "r.npz", drive_of())
    report = replay_bundle(robot, path, Options(tick=TickRule("imu"), deadline_ms=5.0))  # camera, lidar, imu: 6.5
    skipped = {part["name"]: part["skipped"] for part in report["parts"]}
    assert skipped["camera"] + skipped["lidar"] > 10 and skipped["imu"] == 0
    assert report["equality"]["equal_to_recompute"] == report["equality"]["ticks"] > 50


def test_the_sweep_of_a_model_with_state_steps_every_tick(robot, tmp_path, monkeypatch):
    monkeypatch.setattr("edgefuse.replay.staleness.TICKS", 20)
    arrays = drive_of() | {"label": np.zeros((3, 5)), "label.stamp_ns": times(3, 1)}
    report = replay_bundle(robot, write(tmp_path / "r.npz", arrays), Options(tick=TickRule("imu"), staleness_ms=(200,)))
    swept = report["staleness"]
    assert swept["ticks"] == 20 and swept["of_ticks"] == 150 and 10 <= swept["steps"] <= 20
    camera, lidar = swept["streams"]["camera"], swept["streams"]["lidar"]
    assert camera[0]["drop"] == 0 != camera[1]["drop"] and lidar[1]["drop"] == 0  # "seen" reads the camera alone
    assert camera[0]["ci95"] is None and report["accuracy"]["metric"] == "mae"


# -- ticks and bounded memory


def test_ticks_come_after_what_arrived_with_them_and_once_for_one_instant(bundle, image_model, tmp_path):
    arrays = tiny(seconds=0.1)
    arrays["image.arrival_ns"] = np.full(3, START + 40 * MS)
    found = open_recording(write(tmp_path / "r.npz", arrays), wanted(image_model))
    rule = TickRule("camera")
    events = list(in_order(found, ticks(rule, found)))
    place = next(i for i, event in enumerate(events) if isinstance(event, Tick))
    assert count_ticks(rule, found) == 1 == sum(isinstance(event, Tick) for event in events)
    assert sum(isinstance(e, Message) and e.arrival_ns <= START + 40 * MS for e in events[place:]) == 0
    assert [tick.arrival_ns - START for tick in ticks(TickRule(rate_hz=50), found)] == [i * 20 * MS for i in range(5)]


def test_a_delayed_stream_arrives_later_and_ticks_stay(bundle, image_model, tmp_path):
    found = open_recording(write(tmp_path / "r.npz", tiny(seconds=1)), wanted(image_model))
    rule = TickRule("camera")
    plain, late = (list(in_order(found, ticks(rule, found), "camera", delay)) for delay in (0, 70 * MS))
    assert [e for e in plain if isinstance(e, Tick)] == [e for e in late if isinstance(e, Tick)]
    arrivals = [
        [e.arrival_ns for e in events if isinstance(e, Message) and e.stream == "camera"] for events in (plain, late)
    ]
    assert np.array_equal(np.subtract(arrivals[1], arrivals[0]), np.full(30, 70 * MS))
    assert [e.arrival_ns for e in late] == sorted(e.arrival_ns for e in late)


@pytest.mark.parametrize(("total", "most"), [(0, 5), (1, 0), (3, 5), (5, 5), (1000, 200), (1001, 7)])
def test_thinned_indices_are_spread_over_all(total, most):
    found = sorted(thinned(total, most))
    assert found == sorted(thinned(total, most)) and len(found) == min(total, most)
    if total > most > 0:
        assert max(np.diff([0, *found, total])) <= 2 * total / most + 1


def test_values_and_series_keep_their_size_and_the_extremes():
    values, series, gaps = Values(), Series(0, 1_000_000), Gaps()
    rng = np.random.default_rng(0)
    drawn = rng.exponential(size=3 * CAPACITY + 7)
    for index, value in enumerate(drawn):
        values.add(value)
        series.add(index * 3, value)
    found = values.percentiles(50, 90)
    assert found["max"] == drawn.max() and values.count == len(drawn)
    assert [found["p50"], found["p90"]] == pytest.approx(np.percentile(drawn, [50, 90]), rel=0.02)
    points = series.to_json()
    assert len(points["t_s"]) <= 1000 and max(points["high"]) == pytest.approx(drawn.max(), rel=1e-4)
    for stamp in [*range(0, 3000, 2), 5000, 5001]:
        gaps.add(stamp)
    assert gaps.count() == 1 and gaps.longest_ns == 5000 - 2998


class Generated:
    """A recording of *count* deliveries of each sensor at 100 Hz that exists nowhere."""

    unused, dropped, notes, damage = (), {}, (), ""

    def __init__(self, count):
        self.counts, self.label_count = {"camera": count, "state": count}, count
        self.start_ns, self.end_ns = START, START + (count - 1) * 10 * MS

    def messages(self, streams=None):
        for now in self.arrivals("camera"):
            yield Message("camera", {"image": np.zeros((1, 1, 8, 8), np.float32)}, now, now)
            yield Message("state", {"state": np.zeros((1, 6), np.float32)}, now, now)

    def arrivals(self, stream):
        return (START + number * 10 * MS for number in range(self.counts[stream]))

    def labels(self):
        return (Label(np.array(0), now) for now in self.arrivals("camera"))

    def close(self):
        pass


def test_memory_does_not_grow_with_the_recordings_length(bundle, image_model, monkeypatch):
    """Only scores and times do, by less than 128 bytes a step; its messages have 280 and its result more."""

    @contextlib.contextmanager
    def open_model(opened):
        yield image_model

    peaks = []
    monkeypatch.setattr(replay, "_open_model", open_model)
    for count in (1_000, 9_000):
        monkeypatch.setattr(replay, "open_recording", lambda *arguments: Generated(count))  # noqa: B023
        tracemalloc.start()
        report = replay_bundle(bundle, Path("none"), Options(staleness_ms=()))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report["steps"]["answered"] == report["accuracy"]["steps"] == count
    assert peaks[1] - peaks[0] < 8_000 * 128


def test_a_clock_that_goes_back_is_counted(bundle, tmp_path):
    arrays = tiny()
    arrays["image.stamp_ns"][30:40] -= 1_500_000_000
    report = replay_bundle(bundle, write(tmp_path / "r.npz", arrays), Options(staleness_ms=()))
    assert report["streams"]["camera"]["restarts"] == 1 and report["streams"]["state"]["restarts"] == 0
