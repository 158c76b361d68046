"""Both ends of a connection keep the same arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgefuse.places import sent
from edgefuse.places.sent import Sent

feeds = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 5), st.integers(1, 40)), min_size=1), max_size=30
)


@given(feeds, st.integers(10, 400))
def test_what_is_not_sent_again_is_there(rows, limit):
    before, sent.LIMIT_BYTES = sent.LIMIT_BYTES, limit
    try:
        ours, theirs = Sent(), Sent()
        for row in rows:
            feed = {name: np.full(size, value, np.uint8) for name, (value, size) in row.items()}
            named, new = ours.to_send(feed)
            found = theirs.received(named, new)
            assert found is not None and feed.keys() == found.keys()
            assert all(np.array_equal(feed[name], found[name]) for name in feed)
            assert ours._arrays.keys() == theirs._arrays.keys()
    finally:
        sent.LIMIT_BYTES = before


def test_the_same_array_travels_once_and_one_of_another_shape_or_type_again():
    ours, zeros = Sent(), np.zeros(4, np.float32)
    assert len(ours.to_send({"x": zeros, "y": zeros.copy()})[1]) == 1
    assert ours.to_send({"z": zeros})[1] == {}
    assert len(ours.to_send({"z": zeros.reshape(2, 2)})[1]) == 1
    assert len(ours.to_send({"z": zeros.astype(np.int32)})[1]) == 1


def test_an_end_that_has_started_again_says_that_it_lacks_one():
    ours, feed = Sent(), {"x": np.ones(3)}
    ours.to_send(feed)
    named, new = ours.to_send(feed)
    assert new == {} and Sent().received(named, new) is None
