"""Which instants become samples: evenly held out, balanced and different from each other to calibrate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefuse.calibration.choose import OVERSAMPLE, candidates, farthest, label_strata, share_out, spread_evenly


def rng(seed=0):
    return np.random.default_rng(seed)


@given(st.integers(0, 500), st.lists(st.integers(0, 60), min_size=1, max_size=12), st.integers(0, 3))
def test_shares_are_as_equal_as_the_sizes_allow(wanted, sizes, seed):
    shares = share_out(wanted, sizes, rng(seed))
    assert sum(shares) == min(wanted, sum(sizes)) and all(share <= size for share, size in zip(shares, sizes))
    short = [share for share, size in zip(shares, sizes) if share < size]
    assert not short or max(shares) - min(short) <= 1


@given(st.integers(0, 300), st.integers(1, 100), st.integers(0, 3))
def test_held_out_samples_are_one_of_each_equal_stretch(count, most, seed):
    found = spread_evenly(count, most, rng(seed))
    assert len(found) == min(count, most) and (np.diff(found) > 0).all()
    if count > most:
        edges = np.arange(most + 1) * count // most
        assert (found >= edges[:-1]).all() and (found < edges[1:]).all()


def test_a_class_is_a_stratum_and_a_measured_label_lies_in_a_cell_of_quantiles():
    labels = np.array([[3.0], [7.0], [3.0], [9.0]])
    assert label_strata(labels, True, 256, 4).tolist() == [0, 1, 0, 2]
    values = rng().normal(size=(4000, 2)) ** 3  # long tails: equal widths would leave most cells empty
    strata = label_strata(values, False, 256, 4000)
    counts = np.bincount(strata)
    assert len(counts) == 36 and counts.min() > 60
    assert label_strata(None, False, 256, 5).tolist() == [0] * 5


def test_rare_classes_get_as_much_as_frequent_ones_and_all_times_are_seen():
    strata = np.repeat([0, 1, 2], [900, 80, 20])
    groups = np.arange(1000) % 10
    cells = candidates(strata, groups, 60, rng())
    taken = {kind: sum(count for own, count in cells if strata[own[0]] == kind) for kind in (0, 1, 2)}
    assert taken == {0: 20, 1: 20, 2: 20}
    assert all(len({groups[own[0]] for own, _ in cells if strata[own[0]] == kind}) == 10 for kind in (0, 1, 2))
    for own, count in cells:
        members = np.flatnonzero((strata == strata[own[0]]) & (groups == groups[own[0]]))
        assert set(own) <= set(members) and len(own) == min(len(members), OVERSAMPLE * count)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000))
def test_the_farthest_points_cover_at_least_half_as_well_as_the_best(seed):
    """Gonzalez' bound, against every choice of 3 of 9."""
    vectors = rng(seed).normal(size=(9, 2))

    def radius(chosen):
        return np.linalg.norm(vectors[:, None] - vectors[None, list(chosen)], axis=2).min(axis=1).max()

    found = farthest(vectors, [(list(range(9)), 3)], rng(seed))
    assert radius(found) <= 2 * min(radius(chosen) for chosen in itertools.combinations(range(9), 3)) + 1e-12


def test_what_was_seen_before_is_not_taken_again_while_there_is_something_else():
    still, moving = np.zeros((95, 4)), np.eye(4)[[0, 1, 2, 3, 0]] * 9
    vectors = np.concatenate([still, moving])
    found = farthest(vectors, [(list(range(100)), 5)], rng())
    assert len({tuple(vectors[row]) for row in found}) == 5


def test_each_cell_gives_its_share_once():
    vectors = rng().normal(size=(30, 3))
    cells = [(list(range(10)), 3), (list(range(10, 12)), 5), ([], 2), (list(range(12, 30)), 4)]
    found = farthest(vectors, cells, rng(4))
    assert len(found) == len(set(found)) == 3 + 2 + 4
    assert [sum(row in members for row in found) for members, _ in cells] == [3, 2, 0, 4]
    assert found == farthest(vectors, cells, rng(4))


def test_what_a_rare_class_lacks_the_others_give():
    cells = candidates(np.repeat([0, 1, 2], [900, 80, 5]), np.zeros(985, np.int64), 60, rng())
    assert sorted(count for _, count in cells) == [5, 27, 28]


@pytest.mark.parametrize("wanted", [1, 7, 1000])
def test_candidates_are_never_more_than_there_are(wanted):
    cells = candidates(np.zeros(50, np.int64), np.repeat([1, 2], 25), wanted, rng())
    assert sum(count for _, count in cells) == min(wanted, 50)
    rows = np.concatenate([own for own, _ in cells])
    assert len(np.unique(rows)) == len(rows)
