"""Steps: what runs, what a stream's source and age are, and what happens when data are missing, old or too much."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edgefuse.errors import FeedError, StreamError, ToolchainError, UsageError
from edgefuse.spec import TensorSpec
from edgefuse.stream.policy import StreamPolicy, age_limit_ms
from edgefuse.stream.schedule import Estimates
from tests.stream.robots import assembled, delivery, push_all, session

MS = 1_000_000
ALL = ("camera", "imu", "lidar", "goal")


def interrupted(*arguments):
    raise KeyboardInterrupt


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def started(rng, policy=None, now=100 * MS, **how):
    """A session that has answered once, at *now*."""
    stream = session(policy, **how)
    push_all(stream, rng, now)
    assert stream.step(now).status == "ok"
    return stream


def sources(result):
    return {name: state.source for name, state in result.streams.items()}


def test_before_everybody_has_delivered_there_is_no_answer_and_the_reason_names_who(rng):
    stream = session()
    push_all(stream, rng, 5 * MS, ("camera", "imu", "goal"))
    result = stream.step(6 * MS)
    assert result.status == "waiting" and result.outputs is None and not result.ok
    assert result.reason == "no data yet from lidar" and sources(result)["lidar"] == "missing"
    with pytest.raises(StreamError, match="no outputs: no data yet from lidar"):
        result["velocity"]
    stream.push("lidar", delivery("lidar", rng), 7 * MS)
    assert stream.step(8 * MS).ran == ("camera", "imu", "lidar", "goal", "trunk"), "what came before was not lost"


def test_only_the_branches_run_whose_sensor_delivered_and_what_reads_the_state(rng):
    stream = started(rng)
    stream.push("lidar", delivery("lidar", rng), 110 * MS)
    result = stream.step(120 * MS)
    assert result.ran == ("imu", "lidar", "trunk"), "the IMU's branch carries the model's state"
    assert sources(result) == {"camera": "held", "imu": "held", "lidar": "fresh", "goal": "held"}
    assert result.streams["lidar"].age_ns == 10 * MS and result.streams["camera"].age_ns == 20 * MS
    assert result.stamp_ns == 100 * MS and result.seq == 2


def test_of_several_deliveries_between_two_steps_the_newest_counts(rng):
    stream = started(rng)
    for stamp in (110, 120, 130):
        stream.push("camera", delivery("camera", rng), stamp * MS)
    assert stream.step(131 * MS).streams["camera"].stamp_ns == 130 * MS
    counts = stream.health().streams["camera"]
    assert counts["accepted"] == 4 and counts["superseded"] == 2 and counts["fresh"] == 2


def test_the_callers_arrays_are_copied_in_and_out(rng):
    stream = started(rng)
    image = delivery("camera", rng)
    stream.push("camera", image, 110 * MS)
    image[:] = np.nan
    first = stream.step(111 * MS)
    assert np.isfinite(first["velocity"]).all()
    first["seen"][:] = np.nan  # a branch's own output, which the trunk reads at the next step
    assert np.isfinite(stream.step(112 * MS)["velocity"]).all()


@pytest.mark.parametrize(
    ("value", "stamp", "reason"),
    [
        (np.zeros((1, 2, 8, 7), np.float32), 200 * MS, "shape"),
        (np.zeros((1, 2, 8, 8), np.float64), 200 * MS, "dtype"),
        (np.full((1, 2, 8, 8), np.nan, np.float32), 200 * MS, "not finite"),
        (np.full((1, 2, 8, 8), np.inf, np.float32), 200 * MS, "not finite"),
        ([[1.0]], 200 * MS, "type"),
        ({"image": np.zeros((1, 2, 8, 8), np.float32), "other": 1}, 200 * MS, "names"),
        (np.zeros((1, 2, 8, 8), np.float32), 100 * MS, "backwards"),
        (np.zeros((1, 2, 8, 8), np.float32), 99 * MS, "backwards"),
        (np.zeros((1, 2, 8, 8), np.float32), 1.5, "stamp"),
        (np.zeros((1, 2, 8, 8), np.float32), -1, "stamp"),
        (np.zeros((1, 2, 8, 8), np.float32), 2**63, "stamp"),
        (np.zeros((1, 2, 8, 8), np.float32), None, "stamp"),
    ],
)
def test_a_wrong_delivery_is_refused_with_a_reason_counted_and_harmless(rng, value, stamp, reason):
    stream = started(rng)
    pushed = stream.push("camera", value, stamp)
    assert not pushed and pushed.reason == reason and pushed.detail.startswith("camera: ")
    assert stream.health().streams["camera"][f"dropped: {reason}"] == 1
    assert sources(stream.step(201 * MS))["camera"] == "held"


def test_numpy_integers_are_stamps_too(rng):
    stream = started(rng)
    assert stream.push("camera", delivery("camera", rng), np.int64(110 * MS))
    assert stream.step(np.int64(111 * MS)).streams["camera"].source == "fresh"


def test_a_stream_that_is_not_there_is_a_mistake_that_names_the_nearest():
    stream = session()
    with pytest.raises(FeedError, match="'camera'"):
        stream.push("camra", np.zeros(1), 0)
    with pytest.raises(FeedError, match="belongs to the stream 'camera'"):
        stream.push("image", np.zeros(1), 0)
    with pytest.raises(FeedError, match="which the stream carries itself"):
        stream.push("h", np.zeros((1, 6), np.float32), 0)


def test_a_stamp_from_the_future_waits_and_one_from_far_ahead_is_dropped(rng):
    stream = started(rng)
    stream.push("camera", delivery("camera", rng), 150 * MS)
    assert sources(stream.step(120 * MS))["camera"] == "held"
    assert sources(stream.step(140 * MS))["camera"] == "held"
    assert sources(stream.step(146 * MS))["camera"] == "fresh", "clocks may differ by max_early_ms"
    stream.push("camera", delivery("camera", rng), 10_000 * MS)
    assert sources(stream.step(160 * MS))["camera"] == "held"
    assert stream.push("camera", delivery("camera", rng), 165 * MS), "the stream recovers"
    assert sources(stream.step(170 * MS))["camera"] == "fresh"
    counts = stream.health().streams["camera"]
    assert counts["early"] == 1 and counts["dropped: future"] == 1


def test_one_stamp_from_the_future_does_not_keep_the_right_ones_out(rng):
    stream = started(rng)
    assert stream.push("camera", delivery("camera", rng), 900 * MS)
    assert stream.push("camera", delivery("camera", rng), 105 * MS).reason == "backwards"
    assert sources(stream.step(110 * MS))["camera"] == "held", "the step sees that the stamp was too early"
    assert stream.push("camera", delivery("camera", rng), 115 * MS)
    assert stream.step(120 * MS).streams["camera"] == ("fresh", 115 * MS, 5 * MS, False)


def test_a_looped_recording_starts_again(rng):
    stream = started(rng, {"goal": {"kind": "latched"}}, now=60_000 * MS)
    push_all(stream, rng, 40 * MS, ("camera", "imu", "lidar"))
    result = stream.step(50 * MS)
    assert result.status == "ok" and result.ran[-1] == "trunk" and len(result.ran) == 5
    assert result.streams["camera"].stamp_ns == 40 * MS
    assert sources(result)["goal"] == "held" and result.streams["goal"].age_ns == 0, "what is latched stays"
    health = stream.health()
    assert health.steps["clock restarted"] == 1 and health.streams["camera"]["restarts"] == 1


def test_held_data_of_the_last_round_do_not_survive_a_restart(rng):
    stream = started(rng, now=60_000 * MS)
    push_all(stream, rng, 40 * MS, ("camera", "imu"))
    assert stream.step(50 * MS).reason == "no data yet from lidar, goal"


def test_after_a_restart_a_goal_is_taken_at_once(rng):
    stream = started(rng, {"goal": {"kind": "latched"}}, now=10_000 * MS)
    stream.step(10_900 * MS)
    stream.step(9_500 * MS)
    assert stream.push("goal", delivery("goal", rng), 9_600 * MS)


def test_a_sensor_whose_clock_is_ahead_is_told_from_one_that_is_silent(rng):
    stream = session()
    push_all(stream, rng, 100 * MS, ("camera", "imu"))
    assert stream.step(50 * MS).reason == (
        "no data yet from camera (its stamps are ahead of the step's time), "
        "imu (its stamps are ahead of the step's time), lidar, goal"
    )


def test_what_a_fallback_stood_in_for_is_accounted_for(rng):
    stream = started(rng, {"camera": {"max_age_ms": 50, "on_stale": "fallback"}})
    for stamp in (110, 120, 130):
        assert stream.push("camera", delivery("camera", rng), stamp * MS)
        assert sources(stream.step(200 * MS))["camera"] == "fallback"
    counts = stream.health().streams["camera"]
    assert counts["accepted"] == 4 and counts["fresh"] == 1 and counts["superseded"] == 2, "and one waits"


def test_ctrl_c_between_two_sensors_leaves_no_feature_of_older_data(rng, monkeypatch):
    stream, twin = started(rng), started(np.random.default_rng(0))
    later = np.random.default_rng(1)
    push_all(stream, later, 110 * MS)
    push_all(twin, np.random.default_rng(1), 110 * MS)
    with monkeypatch.context() as patch:
        patch.setattr(
            stream._stepper.sensors["lidar"], "use", lambda now_ns, values: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            stream.step(111 * MS)
    result = stream.step(112 * MS)
    assert len(result.ran) == 5 and np.array_equal(result["velocity"], twin.step(112 * MS)["velocity"])


def test_the_plain_data_of_a_masked_array_are_looked_at(rng):
    stream = started(rng)
    image = delivery("camera", rng)
    image[0, 0, 0, 0] = np.nan
    assert stream.push("camera", np.ma.masked_invalid(image), 110 * MS).reason == "not finite"


def test_a_stamp_that_an_offset_makes_negative_names_the_offset(rng):
    stream = session({"camera": {"offset_ms": -25}})
    assert "5000000 with offset_ms -25" in stream.push("camera", delivery("camera", rng), 5 * MS).detail


def test_a_clock_that_is_set_back_a_little_stands_still(rng):
    stream = started(rng)
    assert stream.step(90 * MS).streams["camera"].age_ns == 0
    assert stream.health().steps["clock went back"] == 1


def test_old_data_fail_the_step_until_new_ones_come(rng):
    stream = started(rng, {"camera": {"max_age_ms": 50}})
    assert stream.step(150 * MS).ok
    result = stream.step(151 * MS)
    assert result.status == "stale" and result.outputs is None and result.reason == "camera is 51 ms old"
    assert result.streams["camera"].stale
    stream.push("camera", delivery("camera", rng), 160 * MS)
    assert stream.step(161 * MS).ok
    assert stream.health().streams["camera"]["stale"] == 1


def test_old_data_are_held_where_the_policy_says_so_and_told(rng):
    stream = started(rng, {"camera": {"max_age_ms": 50, "on_stale": "hold"}, "lidar": {"on_stale": "hold"}})
    result = stream.step(900 * MS)
    assert result.ok and result.streams["camera"] == ("held", 100 * MS, 800 * MS, True)


def test_the_fallback_takes_the_place_of_old_data_runs_once_and_goes(rng):
    stream = started(rng, {"camera": {"max_age_ms": 50, "on_stale": "fallback", "fallback": 0.25}})
    first, second = stream.step(200 * MS), stream.step(210 * MS)
    assert sources(first)["camera"] == sources(second)["camera"] == "fallback"
    assert "camera" in first.ran and "camera" not in second.ran
    assert first.stamp_ns == 100 * MS and first.streams["camera"].age_ns is None
    stream.push("camera", delivery("camera", rng), 220 * MS)
    assert sources(stream.step(221 * MS))["camera"] == "fresh"


def test_a_stream_that_is_not_required_may_be_missing_from_the_start(rng):
    stream = session({"camera": {"required": False}})
    push_all(stream, rng, 10 * MS, ("imu", "lidar", "goal"))
    result = stream.step(11 * MS)
    assert result.ok and sources(result)["camera"] == "fallback"


def test_without_a_limit_of_its_own_data_live_five_periods_of_the_declared_rate(rng):
    stream = started(rng)
    assert stream.step(266 * MS).ok
    assert stream.step(267 * MS).reason == "camera is 167 ms old"
    assert age_limit_ms(StreamPolicy(), stream.streams["lidar"]) == 500
    assert age_limit_ms(StreamPolicy(), stream.streams["goal"]) is None, "no rate is declared"
    assert age_limit_ms(StreamPolicy(kind="latched"), stream.streams["lidar"]) is None
    imu = (TensorSpec("imu", (1, 6), stream="imu", rate_hz=200.0),)
    assert age_limit_ms(StreamPolicy(), imu) == 100, "25 ms would stop a robot for one hiccup"


def test_old_data_of_a_stream_that_is_not_required_are_replaced(rng):
    stream = started(rng, {"camera": {"required": False}})
    assert sources(stream.step(300 * MS))["camera"] == "fallback"
    assert session({"camera": {"required": False, "on_stale": "hold"}}).policies["camera"].on_stale == "hold"


def test_a_latched_value_does_not_age(rng):
    stream = started(rng, {"goal": {"kind": "latched"}})
    push_all(stream, rng, 3_600_000 * MS, ("camera", "imu", "lidar"))
    result = stream.step(3_600_001 * MS)
    assert result.ok and result.stamp_ns == 3_600_000 * MS, "it does not count for the oldest stamp"


def test_an_offset_corrects_the_stamps(rng):
    stream = session({"camera": {"offset_ms": -25}})
    push_all(stream, rng, 100 * MS)
    assert stream.step(100 * MS).streams["camera"].age_ns == 25 * MS


# -- deadlines: the bundle says camera 3, imu 0.5, lidar 2, goal 0.1, trunk 1 ms


def all_deliver(stream, rng, stamp):
    for name in ALL:
        assert stream.push(name, delivery(name, rng), stamp * MS)


def test_branches_of_low_priority_are_held_when_they_would_make_the_result_late(rng):
    stream = started(rng, {"lidar": {"priority": 1}})
    all_deliver(stream, rng, 110)
    result = stream.step(111 * MS, 115 * MS)  # 4 ms: imu + trunk, then lidar (3.5), goal (3.6); camera would need 6.6
    assert result.ok and not result.late and result.skipped == ("camera",)
    assert set(result.ran) == {"imu", "lidar", "goal", "trunk"} and sources(result)["camera"] == "held"
    assert "camera" in result.reason and stream.health().skipped == {"camera": 1}
    result = stream.step(120 * MS)
    assert sources(result)["camera"] == "fresh" and result.streams["camera"].stamp_ns == 110 * MS, "it is not lost"


def test_among_equals_the_one_whose_held_data_are_oldest_goes_first(rng):
    stream = started(rng)
    stream.push("camera", delivery("camera", rng), 150 * MS)
    stream.step(151 * MS)
    all_deliver(stream, rng, 160)
    assert stream.step(161 * MS, 165 * MS).skipped == ("camera",), "the LiDAR's data are of 100 ms, the camera's of 150"


def test_a_branch_whose_held_data_would_be_stale_does_not_wait(rng):
    stream = started(rng, {"camera": {"max_age_ms": 50}, "lidar": {"priority": 9}})
    all_deliver(stream, rng, 160)
    result = stream.step(161 * MS, 166 * MS)
    assert "camera" in result.ran and result.skipped == ("lidar",)


def test_where_not_even_the_trunk_fits_the_last_outputs_are_given_and_said_to_be_late(rng):
    stream = started(rng)
    last = stream.step(105 * MS)
    all_deliver(stream, rng, 110)
    result = stream.step(111 * MS, 112 * MS)
    assert result.status == "late" and result.late and not result.ok and result.ran == ()
    assert all(np.array_equal(result[name], last[name]) for name in ("velocity", "seen"))
    assert set(sources(result).values()) == {"held"} and "these are the last outputs" in result.reason
    again = stream.step(113 * MS, 114 * MS)
    assert again.status == "ok" and again.late and len(again.ran) == 5, "never twice in a row"
    assert stream.health().steps == {"ok": 3, "late": 1, "computed late": 1}


def test_a_deadline_that_has_passed_already_is_late(rng):
    stream = started(rng)
    assert stream.step(120 * MS, 110 * MS).status == "late"


def test_the_first_answer_is_computed_whatever_the_deadline(rng):
    stream = session()
    push_all(stream, rng, 100 * MS)
    result = stream.step(101 * MS, 102 * MS)
    assert result.ok and result.late and len(result.ran) == 5


def test_estimates_follow_what_is_measured_and_a_skipped_part_comes_back(rng):
    parts, _ = assembled()
    slow = {"on": True}
    camera = parts._runners["camera"]

    def maybe_slow(feed):
        time.sleep(0.05 if slow["on"] else 0.0)
        return camera(feed)

    maybe_slow.close = camera.close
    parts._runners["camera"] = maybe_slow
    stream, stamp = session(parts=parts, timing="measured"), 100
    push_all(stream, rng, stamp * MS)

    def tick(budget_ms):
        nonlocal stamp
        stamp += 10
        all_deliver(stream, rng, stamp)
        return stream.step(stamp * MS, stamp * MS + budget_ms * MS)

    for _ in range(20):
        tick(500)
    assert tick(40).skipped == ("camera",), "50 ms were measured, whatever the bundle says"
    slow["on"] = False
    assert any(not tick(40).skipped for _ in range(40)), "the slow phase is forgotten"


# -- between two steps


def test_what_was_prepared_leaves_the_trunk_to_the_step(rng):
    stream, twin = started(rng), started(np.random.default_rng(0))
    for one in (stream, twin):
        push_all(one, np.random.default_rng(5), 110 * MS, ("camera", "imu", "lidar"))
    assert stream.prepare(111 * MS) == ("camera", "lidar"), "the IMU's branch carries the state: it runs at steps only"
    assert stream.prepare(112 * MS) == ()
    result, whole = stream.step(113 * MS), twin.step(113 * MS)
    assert result.ran == ("imu", "trunk") and whole.ran == ("camera", "imu", "lidar", "trunk")
    assert result.streams == whole.streams and sources(result)["camera"] == "fresh"
    assert all(np.array_equal(result[name], whole[name]) for name in ("velocity", "seen", "h_out"))
    assert stream.step(114 * MS).ran == ("imu", "trunk")


def test_newer_data_than_the_prepared_ones_win(rng):
    stream, twin = started(rng), started(np.random.default_rng(0))
    old, new = delivery("camera", rng), delivery("camera", rng)
    stream.push("camera", old, 110 * MS)
    assert stream.prepare(111 * MS) == ("camera",)
    for one in (stream, twin):
        one.push("camera", new, 120 * MS)
    result = stream.step(121 * MS)
    assert "camera" in result.ran and result.streams["camera"].stamp_ns == 120 * MS
    assert np.array_equal(result["velocity"], twin.step(121 * MS)["velocity"])


def test_only_what_ends_before_the_next_step_is_prepared(rng):
    stream = started(rng, {"lidar": {"priority": 1}})
    push_all(stream, rng, 110 * MS, ("camera", "lidar"))
    assert stream.prepare(111 * MS, 114 * MS) == ("lidar",), "2 of 3 ms; the camera's 3 would be too many"
    assert stream.prepare(111 * MS, 114 * MS) == ("camera",)


def test_prepared_data_that_a_deadline_holds_back_are_told_by_their_old_stamps(rng):
    stream = started(rng)
    last = stream.step(105 * MS)
    stream.push("camera", delivery("camera", rng), 110 * MS)
    stream.prepare(111 * MS)
    result = stream.step(112 * MS, 112 * MS)
    assert result.status == "late" and result.streams["camera"].stamp_ns == 100 * MS
    assert all(np.array_equal(result[name], last[name]) for name in ("velocity", "seen"))
    assert stream.step(113 * MS).ran == ("imu", "trunk")


def test_before_the_first_answer_and_after_an_error_nothing_is_prepared(rng):
    stream = session()
    push_all(stream, rng, 100 * MS)
    assert stream.prepare(101 * MS) == () and stream.step(102 * MS).ok
    parts, camera = stream.parts, stream.parts._runners["camera"]
    parts._runners["camera"] = interrupted
    stream.push("camera", delivery("camera", rng), 110 * MS)
    with pytest.raises(KeyboardInterrupt):
        stream.prepare(111 * MS)
    parts._runners["camera"] = camera
    assert stream.step(112 * MS).ran == ("camera", "imu", "trunk"), "what failed is done again"
    stream.close()
    with pytest.raises(ToolchainError, match="closed"):
        stream.prepare(113 * MS)


def test_the_middle_estimate_decides_about_giving_up():
    estimates = Estimates({"trunk": None}, (), learn=True)
    for _ in range(8):
        for took in (1, 1, 1, 1, 1, 1, 1, 9):
            estimates.add("trunk", took)
    assert estimates.part_ns("trunk") == 9 and estimates.part_ns("trunk", typical=True) == 1


# -- the rest


def test_reset_forgets_data_features_and_state(rng):
    stream = started(rng)
    given = push_all(stream, np.random.default_rng(7), 200 * MS)
    second = stream.step(201 * MS)
    stream.reset()
    assert stream.step(202 * MS).status == "waiting"
    for name, value in given.items():
        stream.push(name, value, 203 * MS)
    first_again = stream.step(204 * MS)
    assert not np.array_equal(second["velocity"], first_again["velocity"]), "the state was another one"
    fresh = session()
    for name, value in given.items():
        fresh.push(name, value, 203 * MS)
    assert np.array_equal(fresh.step(204 * MS)["velocity"], first_again["velocity"])


def test_a_vendors_failure_is_raised_told_and_survived(rng):
    notes, (parts, _) = [], assembled()
    stream = started(rng, parts=parts, notes=notes)
    trunk, calls = parts._runners["trunk"], []

    def failing(feed):
        calls.append(1)
        if len(calls) == 1:
            raise ToolchainError("the device is gone")
        return trunk(feed)

    failing.close = trunk.close
    parts._runners["trunk"] = failing
    push_all(stream, rng, 110 * MS, ("camera",))
    with pytest.raises(ToolchainError, match="gone"):
        stream.step(111 * MS)
    assert [str(error) for error in notes] == ["the device is gone"]
    result = stream.step(112 * MS)
    assert result.ok and len(result.ran) == 5, "everything anew, after a step that was left half done"


def test_branches_in_lanes_give_the_same(rng):
    lanes = [["camera"], ["imu", "lidar", "goal"]]
    one, other = session(), session(parts=assembled(lanes=lanes)[0])
    for stamp in range(100, 200, 10):
        for stream in (one, other):
            push_all(stream, np.random.default_rng(stamp), stamp * MS)
        a, b = one.step(stamp * MS), other.step(stamp * MS)
        assert np.array_equal(a["velocity"], b["velocity"]) and set(a.ran) == set(b.ran)
    all_deliver(other, rng, 300)
    assert other.step(300 * MS, 304 * MS + 500_000).skipped == (), "lanes take 3 + 1 ms, not 6.6"
    other.parts.close()


def test_closing_refuses_pushes_and_steps(rng):
    with started(rng) as stream:
        pass
    stream.close()
    assert stream.push("camera", delivery("camera", rng), 0).reason == "closed"
    with pytest.raises(ToolchainError, match="closed"):
        stream.step(0)
    assert stream.health().state == "closed"


def test_a_replay_decides_the_same_again():
    def play():
        stream, rng, seen = session({"camera": {"max_age_ms": 60}}), np.random.default_rng(3), []
        for stamp in range(100, 900, 7):
            for name in ALL:
                if rng.random() < 0.5:
                    stream.push(name, delivery(name, rng), stamp * MS)
            result = stream.step(stamp * MS, stamp * MS + 4 * MS)
            seen.append((result.status, result.ran, result.skipped, result.late, sources(result)))
        return seen

    first = play()
    assert first == play() and {item[0] for item in first} == {"waiting", "ok", "late"}


def test_pushers_never_wait_for_a_step(rng):
    parts, _ = assembled()
    trunk = parts._runners["trunk"]

    def slow(feed):
        time.sleep(1.0)
        return trunk(feed)

    slow.close = trunk.close
    stream = started(rng, parts=parts)
    parts._runners["trunk"] = slow
    push_all(stream, rng, 110 * MS)
    stepping = threading.Thread(target=lambda: stream.step(111 * MS))
    stepping.start()
    time.sleep(0.05)
    begun = time.perf_counter()
    pushed = [stream.push("imu", delivery("imu", rng), (112 + i) * MS) for i in range(50)]
    assert time.perf_counter() - begun < 0.5 and all(pushed), "while the step took a second"
    stepping.join()


def test_pushing_from_many_threads_loses_no_count_and_no_step_mixes_deliveries(rng):
    patient = {name: {"on_stale": "hold"} for name in ("camera", "lidar")}
    stream, stop = started(rng, patient), threading.Event()
    attempts = [0, 0, 0]

    def push(index):
        number = 0
        while not stop.is_set():
            number += 1
            value = {key: np.full((1, 12), number, np.float32) for key in ("points", "power")}
            stream.push("lidar", value, 100 * MS + number)
            attempts[index] += 1

    threads = [threading.Thread(target=push, args=(index,), daemon=True) for index in range(3)]
    for thread in threads:
        thread.start()
    try:
        for now in range(400):
            seen, values = stream.step(101 * MS + now * MS).streams["lidar"], stream.feed()
            if seen.stamp_ns != 100 * MS:
                assert (values["points"] == np.float32(seen.stamp_ns - 100 * MS)).all()
                assert (values["power"] == values["points"]).all()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    counts = stream.health().streams["lidar"]
    assert counts["accepted"] - 1 + counts.get("dropped: backwards", 0) == sum(attempts)


def test_a_wrong_policy_or_timing_is_a_usage_error_that_names_the_key():
    for policy, text in [
        ({"camra": {}}, "Did you mean 'camera'"),
        ({"camera": {"max_age": 5}}, "Did you mean 'max_age_ms'"),
        ({"camera": {"max_age_ms": -1}}, "max_age_ms is -1"),
        ({"camera": {"on_stale": "panic"}}, "on_stale is 'panic'"),
        ({"camera": {"kind": "window", "axis": 9}}, "axis is 9"),
        ({"lidar": {"kind": "window"}}, "a window has one input"),
        ({"goal": {"fallback": 0.5, "required": False}}, "is int64"),
        ({"goal": {"kind": "latched", "max_age_ms": 5}}, "does not age"),
        ({"camera": {"gap": "zero"}}, "is for windows"),
        ({"camera": {"required": False, "on_stale": "fail"}}, "is not required, and its old data would fail"),
        ({"camera": 5}, "expected a dict"),
        (5, "expected a dict"),
        ({"camera": StreamPolicy(on_stale="fial")}, "Did you mean 'fail'"),
        ({"camera": StreamPolicy(max_age_ms="5")}, "expected a number"),
        ({"camera": {"max_age_ms": 1e305}}, "expected at most"),
        ({"camera": {"offset_ms": -1e305}}, "expected at most"),
        ({"camera": {"fallback": 1e39}}, "is float32"),
        ({"goal": {"fallback": 1e30, "required": False}}, "is int64"),
        ({"imu": {"kind": "window", "sample_hz": 1e-300}}, "expected 1e-06 to 1e+09"),
    ]:
        with pytest.raises(UsageError, match="policy") as caught:
            session(policy)
        assert text in str(caught.value)
    with pytest.raises(UsageError, match="timing"):
        session(timing="guess")
