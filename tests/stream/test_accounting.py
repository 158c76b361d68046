"""Every delivery is accounted for exactly once, and a stream's source and age follow the documented rules: against a
model of them that shares no code with the runtime."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgefuse.spec import TensorSpec
from edgefuse.stream.inbox import Inbox
from edgefuse.stream.policy import StreamPolicy
from edgefuse.stream.sensor import Sensor

MS = 1_000_000
ITEM = TensorSpec("x", (1, 2), stream="s")
many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

jumps = st.one_of(st.integers(-3, 30), st.sampled_from([-1001, -999, -20, 6, 500, 1000, 1001, 100_000]))
moves = st.lists(st.tuples(st.sampled_from(["push", "push", "take"]), jumps), min_size=1, max_size=60)


@given(moves, st.sampled_from([0.0, 5.0, 50.0]), st.sampled_from([50.0, 1000.0]), st.sampled_from([0, -25, 10]))
@many
def test_what_was_accepted_was_used_or_superseded_or_dropped_with_a_reason_or_waits(moves, early, reset, offset):
    policy = StreamPolicy(max_early_ms=early, reset_after_ms=reset, offset_ms=offset)
    inbox, used, pushed, now = Inbox("s", (ITEM,), policy), [], Counter(), 10_000
    for move, jump in moves:
        stamp = now + jump
        if move == "push":
            answer = inbox.push(np.zeros((1, 2), np.float32), stamp * MS)
            pushed[answer.reason] += 1
        else:
            now = max(now, stamp)
            found = inbox.take(now * MS)
            if found is not None:
                assert found.stamp_ns <= (now + early) * MS, "data from the future"
                used.append(found)
    counts = inbox.counts
    waits = inbox._store.peek() is not None
    assert pushed[""] == counts["accepted"]
    assert all(count == counts[f"dropped: {reason}"] for reason, count in pushed.items() if reason)
    assert counts["accepted"] == len(used) + counts["superseded"] + counts["dropped: future"] + waits, counts


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 80), st.integers(1, 60)), min_size=1, max_size=40),
    st.sampled_from(["fail", "hold", "fallback"]),
    st.booleans(),
    st.sampled_from([None, 40.0, 100.0]),
)
@many
def test_the_source_and_the_age_of_a_stream_follow_the_rules(ticks, on_stale, required, max_age):
    if not required and on_stale == "fail":
        return
    policy = StreamPolicy(max_age_ms=max_age, on_stale=on_stale, required=required, fallback=0.5)
    sensor, now, last, newest, values = Sensor("s", (ITEM,), policy), 1000, None, None, {}
    for delivers, lag, step in ticks:
        now += step
        if delivers and sensor.inbox.push(np.full((1, 2), now, np.float32), (now - lag) * MS):
            newest, number = now - lag, now
        sensor.look(now * MS)
        stale = newest is not None and max_age is not None and now - newest > max_age
        if newest is None:
            wanted = "missing" if required else "fallback"
        elif stale and on_stale != "hold":
            wanted = "stale" if on_stale == "fail" else "fallback"
        else:
            wanted = "held" if newest == last else "fresh"
        if wanted in ("missing", "stale"):
            assert sensor.wanted == wanted and not sensor.changes
            continue
        state = sensor.use(now * MS, values) if sensor.changes else sensor.hold(now * MS)
        if wanted == "fallback":
            assert state == ("fallback", None, None, False) and (values["x"] == 0.5).all()
        else:
            assert state == (wanted, newest * MS, (now - newest) * MS, stale) and (values["x"] == number).all()
            last = newest
    counts, waits = sensor.counts(), sensor.new is not None
    assert counts.get("accepted", 0) == counts.get("fresh", 0) + counts.get("superseded", 0) + waits


@st.composite
def windows(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    axis = draw(st.integers(0, len(shape) - 1))
    length = draw(st.integers(1, 9))
    chunks = draw(st.lists(st.integers(1, 25), min_size=1, max_size=30))
    return (*shape[:axis], length, *shape[axis + 1 :]), axis, chunks


@given(windows(), st.booleans(), st.sampled_from([None, 0.1, 200.0, 48_000.0]), st.integers(0, 2**32))
@many
def test_a_window_is_the_last_samples_whatever_the_chunks(case, sample_by_sample, hz, seed):
    """Jitter of 0.3 periods at any rate is no gap: nothing is filled in, nothing starts anew."""
    (shape, axis, chunks), rng = case, np.random.default_rng(seed)
    item = TensorSpec("x", shape, stream="s")
    inbox = Inbox("s", (item,), StreamPolicy(kind="window", axis=axis, sample_hz=hz))
    history, start, period = [], 1_700_000_000 * 10**9, 1e9 / (hz or 1000.0)
    for count in chunks:
        count = 1 if sample_by_sample else count
        chunk = rng.normal(size=(*shape[:axis], count, *shape[axis + 1 :])).astype(np.float32)
        history += list(np.moveaxis(chunk, axis, 0))
        stamp = start + round((len(history) + rng.uniform(-0.15, 0.15)) * period)
        assert inbox.push(chunk, stamp)
        found = inbox.take(stamp)
        assert (found is not None) == (len(history) >= shape[axis])
        if found is not None:
            wanted = np.moveaxis(np.array(history[-shape[axis] :]), 0, axis)
            assert np.array_equal(found.arrays["x"], wanted) and found.stamp_ns == stamp
    assert inbox.counts["gaps"] == inbox.counts["filled samples"] == 0
