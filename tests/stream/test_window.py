"""Windows: the last N samples, gaps, jitter, and what a stream makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.spec import TensorSpec
from edgefuse.stream.inbox import Inbox, fit_samples
from edgefuse.stream.policy import StreamPolicy
from edgefuse.stream.window import RESTARTED, Window

MS = 1_000_000


def window(gap="hold", rate_hz=200.0, length=4):
    return Window((1, length, 2), "float32", 1, rate_hz, gap)


def rows(*numbers):
    return np.array([[[number, -number]] for number in numbers], np.float32)


def seen(found):
    return found.copy()[0, :, 0].tolist()


def test_it_holds_the_last_samples_in_order_however_they_come():
    rng, found, all_rows = np.random.default_rng(0), window(rate_hz=None, length=7), []
    for step in range(500):
        chunk = rng.integers(0, 100, rng.integers(1, 20)).tolist()
        all_rows += chunk
        found.add(rows(*chunk), step)
        assert found.full == (len(all_rows) >= 7)
        if found.full:
            assert seen(found) == all_rows[-7:]
    copy = found.copy()
    assert copy.shape == (1, 7, 2) and copy.flags.c_contiguous and copy.flags.owndata


def full(gap):
    found = window(gap)
    for index in range(4):
        assert found.add(rows(index), index * 5 * MS) == 0
    return found


def test_lost_samples_are_held_or_zeros_or_a_new_start():
    held, zeros, new = full("hold"), full("zero"), full("restart")
    assert held.add(rows(9), 30 * MS) == 2 and seen(held) == [3, 3, 3, 9]  # 20 and 25 ms are missing
    assert zeros.add(rows(9), 30 * MS) == 2 and seen(zeros) == [3, 0, 0, 9]
    assert new.add(rows(9), 30 * MS) == RESTARTED and not new.full


def test_a_gap_as_long_as_the_window_restarts_it_whatever_the_policy():
    for gap in ("hold", "zero", "restart"):
        found = full(gap)
        assert found.add(rows(9), 15 * MS + 5 * 5 * MS) == RESTARTED and not found.full


def test_a_gap_before_a_chunk_counts_from_its_first_sample():
    found = full("hold")
    assert found.add(rows(7, 8), 30 * MS) == 1 and seen(found) == [3, 3, 7, 8]


@pytest.mark.parametrize("true_hz", [200.0, 197.0, 205.0])
def test_jitter_and_a_rate_that_is_a_little_off_are_no_gaps(true_hz):
    found, rng = window(length=50), np.random.default_rng(1)
    stamps = np.arange(5000) / true_hz * 1e9 + rng.uniform(-0.3, 0.3, 5000) * 5 * MS
    assert sum(found.add(rows(0), int(stamp) + 10 * MS) for stamp in stamps) == 0


def test_one_lost_sample_in_a_hundred_is_seen_in_spite_of_jitter():
    found, rng, lost = window(length=50), np.random.default_rng(2), 0
    for index in range(5000):
        if index % 100 != 50:
            lost += found.add(rows(0), int(index * 5 * MS + rng.uniform(-0.2, 0.2) * 5 * MS) + 10 * MS)
    assert lost == 50


ITEM = TensorSpec("gyro", (1, 4, 2), "float32", "imu", "imu", 200.0)
AUDIO = TensorSpec("sound", (1, 1, 6), "float32", "audio", "microphone")


def test_samples_are_given_one_by_one_or_several_in_the_inputs_layout():
    assert fit_samples(np.zeros(2, np.float32), ITEM, 1).shape == (1, 1, 2)
    assert fit_samples(np.zeros((1, 9, 2), np.float32), ITEM, 1).shape == (9, 1, 2)
    assert fit_samples(np.zeros((1, 1, 3), np.float32), AUDIO, 2).shape == (3, 1, 1)
    for wrong in (np.zeros(3), np.zeros((1, 4, 3)), np.zeros((4, 2)), np.zeros((1, 0, 2)), np.zeros((2, 4, 2))):
        assert fit_samples(wrong, ITEM, 1) is None


def test_a_stream_has_a_window_once_it_is_full_and_only_when_there_is_something_new():
    inbox = Inbox("imu", (ITEM,), StreamPolicy(kind="window", sample_hz=200.0))
    for index in range(3):
        assert inbox.push(np.full(2, index, np.float32), index * 5 * MS)
        assert inbox.take(index * 5 * MS) is None
    assert inbox.push(np.full(2, 3, np.float32), 15 * MS)
    taken = inbox.take(15 * MS)
    assert taken.stamp_ns == 15 * MS and taken.arrays["gyro"][0, :, 0].tolist() == [0, 1, 2, 3]
    assert inbox.take(16 * MS) is None
    inbox.push(np.full((1, 2, 2), 5, np.float32), 30 * MS)  # 20 ms is missing
    assert inbox.take(30 * MS).arrays["gyro"][0, :, 0].tolist() == [3, 3, 5, 5]
    assert inbox.counts["gaps"] == 1 and inbox.counts["filled samples"] == 1


def test_the_refusal_of_a_wrong_shape_says_both_forms():
    inbox = Inbox("imu", (ITEM,), StreamPolicy(kind="window"))
    pushed = inbox.push(np.zeros((4, 2), np.float32), 0)
    assert pushed.reason == "shape" and pushed.detail.endswith("expected 2 (one sample) or 1xNx2 (N samples)")


def test_samples_that_come_twice_or_late_are_dropped_and_a_restart_empties_the_window():
    inbox = Inbox("imu", (ITEM,), StreamPolicy(kind="window"))
    for stamp in (5_000, 5_005, 5_005, 5_003, 5_010, 5_015):
        inbox.push(np.zeros(2, np.float32), stamp * MS)
    assert inbox.counts["dropped: backwards"] == 2 and inbox.take(5_015 * MS) is not None
    inbox.push(np.zeros(2, np.float32), 5 * MS)
    assert inbox.counts["restarts"] == 1 and inbox.take(5 * MS) is None
