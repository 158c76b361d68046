"""Every corruption, on every layout of its modalities: what it may not change, and that more of it is farther away."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefuse.robustness.cases import CORRUPTIONS
from edgefuse.robustness.corruptions import corrupt, generic, image, imu, points, text
from edgefuse.robustness.corruptions.audio import PACKETS
from edgefuse.robustness.corruptions.timing import TIMINGS
from edgefuse.robustness.facts import look
from edgefuse.spec import TensorSpec
from edgefuse.stream.policy import StreamPolicy

ROUNDS = 16
WINDOW = StreamPolicy(kind="window", axis=1)

LAYOUTS = {
    "picture": (TensorSpec("x", (1, 3, 12, 10), "float32", "image"), StreamPolicy()),
    "grey": (TensorSpec("x", (1, 1, 8, 8), "float16", "image"), StreamPolicy()),
    "channels last": (TensorSpec("x", (1, 12, 10, 3), "uint8", "image"), StreamPolicy()),
    "many pictures": (TensorSpec("x", (1, 2, 3, 9, 11), "float32", "image"), StreamPolicy()),
    "depth": (TensorSpec("x", (1, 1, 12, 16), "float32", "depth"), StreamPolicy()),
    "waveform": (TensorSpec("x", (1, 400), "float32", "audio"), StreamPolicy()),
    "sound": (TensorSpec("x", (1, 1, 400), "int16", "audio"), StreamPolicy()),
    "features": (TensorSpec("x", (1, 40, 12), "float64", "audio"), StreamPolicy(fallback=-1.0)),
    "imu window": (TensorSpec("x", (1, 50, 6), "float32", "imu"), WINDOW),
    "imu, channels first": (TensorSpec("x", (1, 6, 50), "float32", "imu"), StreamPolicy()),
    "imu, one moment": (TensorSpec("x", (1, 6), "float32", "imu"), StreamPolicy()),
    "state": (TensorSpec("x", (1, 7), "float64", "state"), StreamPolicy()),
    "scan": (TensorSpec("x", (1, 90), "float32", "points"), StreamPolicy()),
    "points": (TensorSpec("x", (1, 200, 4), "float32", "points"), StreamPolicy()),
    "points, features first": (TensorSpec("x", (1, 3, 200), "float32", "points"), StreamPolicy()),
    "points in the plane": (TensorSpec("x", (1, 60, 2), "float32", "points"), StreamPolicy()),
    "grid": (TensorSpec("x", (1, 4, 20, 24), "float32", "points"), StreamPolicy()),
    "ids": (TensorSpec("x", (1, 24), "int64", "text"), StreamPolicy()),
    "unknown": (TensorSpec("x", (1, 9), "float32"), StreamPolicy()),
    "unknown ids": (TensorSpec("x", (1, 9), "int64"), StreamPolicy()),
    "flags": (TensorSpec("x", (1, 9), "bool", "text"), StreamPolicy()),
}


def feeds(item, count=30):
    """Values as a sensor of this kind gives them, each channel with a scale of its own; deterministic."""
    rng = np.random.default_rng(5)
    for _ in range(count):
        if item.dtype == "bool":
            yield {"x": rng.random(item.shape) < 0.7}
        elif item.modality == "text" or (item.modality is None and item.dtype == "int64"):
            length = rng.integers(8, item.shape[-1] + 1)
            ids = rng.integers(1, 90, item.shape)
            yield {"x": np.where(np.arange(item.shape[-1]) < length, ids, 0).astype(item.dtype)}
        elif item.dtype == "uint8":
            yield {"x": rng.integers(5, 250, item.shape).astype(np.uint8)}
        elif item.dtype == "int16":
            yield {"x": (rng.standard_normal(item.shape) * 3000).astype(np.int16)}
        else:
            smooth = np.cumsum(rng.standard_normal(item.shape), axis=-1) * (1 + np.arange(item.shape[-1]) % 3)
            yield {"x": np.abs(smooth).astype(item.dtype) if item.modality == "points" else smooth.astype(item.dtype)}


@functools.cache
def known(name):
    item, policy = LAYOUTS[name]
    about = look(feeds(item), 30, {"x": (item,)}, {"x": policy})["x"]
    return item, about


PAIRS = [
    (layout, corruption) for layout in LAYOUTS for corruption in CORRUPTIONS if corruption.applies(known(layout)[1])
]
IDS = [f"{layout}: {corruption.name}" for layout, corruption in PAIRS]


def distance(one, other):
    one, other = (np.nan_to_num(array.astype(np.float64), nan=1e3) for array in (one, other))
    return float(np.sqrt(np.mean((one - other) ** 2)))


@pytest.mark.parametrize(("layout", "corruption"), PAIRS, ids=IDS)
def test_keeps_shape_dtype_and_its_input_and_gives_the_same_for_the_same_seed(layout, corruption):
    item, about = known(layout)
    for index, feed in enumerate(feeds(item, 4)):
        array = feed["x"]
        array.flags.writeable = False  # as golden rows are
        before = array.copy()
        for severity in corruption.severities:
            first, again = (corrupt(corruption, severity, array, np.random.default_rng(index), about) for _ in "ab")
            assert first.shape == array.shape and first.dtype == array.dtype
            assert np.array_equal(first, again, equal_nan=first.dtype.kind == "f")
            if corruption.function is not generic.nan_burst:
                assert first.dtype.kind != "f" or np.isfinite(first).all()
            if first.dtype.kind == "f" and np.isfinite(first).all():
                assert not np.shares_memory(first, array)
        assert np.array_equal(array, before)


@pytest.mark.parametrize(("layout", "corruption"), PAIRS, ids=IDS)
def test_more_severe_is_farther_from_the_clean_input(layout, corruption):
    item, about = known(layout)
    found = []
    for severity in corruption.severities:
        distances = [
            distance(feed["x"], corrupt(corruption, severity, feed["x"], np.random.default_rng(index), about))
            for index, feed in enumerate(feeds(item, ROUNDS))
        ]
        found.append(np.mean(distances))
    assert found == sorted(found), found
    below_a_pixel = corruption.function is image.blur and 0.02 * item.shape[about.plane[0]] < 0.3
    assert below_a_pixel or found[0] > 0, "it does something at its mildest"
    # uint8 and int16 that are multiplied by 57 stand at their ends, where 255 finds them too.
    clipped = item.dtype in ("uint8", "int16") and corruption.function in (generic.too_large, generic.too_small)
    assert clipped or len(found) == 1 or found[-1] > found[0]


def test_every_corruption_is_met_by_a_layout_of_these_tests():
    assert {corruption.name for _, corruption in PAIRS} == {corruption.name for corruption in CORRUPTIONS}
    assert all(corruption.source and corruption.words and "{}" in corruption.words for corruption in CORRUPTIONS)
    assert all(len(corruption.amounts) in (1, 3) for corruption in CORRUPTIONS)


def test_ids_of_nobody_knows_what_and_flags_are_only_absent():
    assert [corruption.name for layout, corruption in PAIRS if layout == "unknown ids"] == ["missing"]
    assert [corruption.name for layout, corruption in PAIRS if layout == "flags"] == ["missing", "truncation"]


def applied(function, array, amount, about, seed=0):
    return function(array.astype(np.float64), amount, np.random.default_rng(seed), about)


def test_noise_is_relative_to_each_channels_own_spread():
    item = TensorSpec("x", (1, 500, 2), "float32", "imu")
    rng = np.random.default_rng(0)
    set_ = [{"x": (rng.standard_normal((1, 500, 2)) * [1.0, 1000.0]).astype(np.float32)} for _ in range(5)]
    about = look(iter(set_), 5, {"x": (item,)}, {"x": WINDOW})["x"]
    assert about.time == 1 and about.channels == 2 and about.spread.shape == (1, 1, 2)
    added = applied(generic.noise, set_[0]["x"], 0.5, about) - set_[0]["x"]
    assert added.std(axis=(0, 1)) == pytest.approx([0.5, 500.0], rel=0.1)


@given(st.floats(0.02, 0.98), st.integers(1, 400), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_shares_are_met_and_grow_into_each_other(share, count, seed):
    less, more = (generic.some((count,), amount, np.random.default_rng(seed)) for amount in (share / 2, share))
    assert less.any() and not (less & ~more).any()
    assert abs(more.mean() - share) < 4 * np.sqrt(share * (1 - share) / count) + 1 / count


def test_a_picture_is_dark_and_overexposed_within_the_cameras_range():
    item, about = known("picture")
    array = next(feeds(item))["x"]
    dark = applied(image.dark, array, 0.1, about)
    assert dark.min() >= about.low - 1e-6 and np.ptp(dark) == pytest.approx(0.1 * np.ptp(array), rel=1e-4)
    bright = applied(image.bright, array, 4.0, about)
    assert bright.max() <= about.high + 1e-6 and (bright >= array - 1e-6).all()
    contrast = applied(image.low_contrast, array, 0.2, about)
    assert contrast.mean() == pytest.approx(array.mean(), abs=1e-5) and contrast.std() < 0.21 * array.std()


def test_blur_keeps_what_is_flat_and_the_sum_of_what_is_inside():
    item, about = known("grey")
    assert applied(image.blur, np.full((1, 1, 8, 8), 3.0), 0.1, about) == pytest.approx(3.0)
    spot = np.zeros((1, 1, 64, 64))
    spot[0, 0, 32, 32] = 1.0
    blurred = applied(image.blur, spot, 0.05, about)  # sigma of 3.2 pixels
    rows = blurred[0, 0].sum(axis=1)
    assert rows.sum() == pytest.approx(1.0, abs=1e-6)
    assert np.sqrt((rows * (np.arange(64) - 32.0) ** 2).sum()) == pytest.approx(3.2, rel=0.02)
    assert item.shape == (1, 1, 8, 8)


def test_occlusion_covers_the_share_of_the_area_it_says():
    item, about = known("channels last")
    array = np.full((1, 100, 80, 3), about.high)
    covered = applied(image.occlusion, array, 0.15, about) == about.low
    assert covered.mean() == pytest.approx(0.15, abs=0.01) and covered.all(axis=3).sum() * 3 == covered.sum()
    assert item.dtype == "uint8"


def test_noise_in_sound_has_the_decibels_it_says_also_where_it_was_silent():
    _, about = known("waveform")
    wave = np.sin(np.linspace(0, 700, 40_000))[np.newaxis]
    noise = applied(next(c for c in CORRUPTIONS if c.unit.startswith("dB")).function, wave, 10.0, about) - wave
    assert 10 * np.log10(wave.var() / noise.var()) == pytest.approx(10.0, abs=0.2)
    silent = applied(next(c for c in CORRUPTIONS if c.unit.startswith("dB")).function, np.zeros((1, 4000)), 10.0, about)
    assert silent.std() == pytest.approx(float(about.spread) * 10**-0.5, rel=0.1)


def test_lost_packets_hold_the_fallback_over_all_features():
    _, about = known("features")
    loss = next(c for c in CORRUPTIONS if c.name == "packet loss")
    lost = applied(loss.function, np.ones((1, 320, 12)), 0.4, about) == -1.0
    steps = lost.all(axis=(0, 2))
    assert lost.any(axis=(0, 2)).sum() == steps.sum() and steps.sum() % (320 // PACKETS) == 0
    assert 0.15 < steps.mean() < 0.65


def test_held_samples_are_older_ones_and_the_first_is_never_lost():
    _, about = known("imu window")
    window = np.arange(50.0)[np.newaxis, :, np.newaxis] * np.ones((1, 1, 6))
    found = applied(imu.held, window, 0.6, about)[0, :, 0]
    assert found[0] == 0 and (np.diff(found) >= 0).all() and (found <= np.arange(50)).all()
    assert (found < np.arange(50)).mean() == pytest.approx(0.6, abs=0.2)


def test_jitter_reads_between_samples_and_stays_within_the_window():
    _, about = known("imu window")
    window = np.arange(50.0)[np.newaxis, :, np.newaxis] * np.ones((1, 1, 6))
    found = applied(imu.jitter, window, 0.5, about)[0, :, 0]
    assert found.min() >= 0 and found.max() <= 49 and np.std(found - np.arange(50)) == pytest.approx(0.5, rel=0.4)


def test_axes_are_swapped_by_three_and_mounting_turns_two_of_them():
    _, about = known("imu, one moment")
    assert applied(imu.swap_axes, np.arange(1.0, 7.0)[np.newaxis], 1.0, about).tolist() == [[2, 3, 1, 5, 6, 4]]
    assert applied(imu.upside_down, np.arange(1.0, 7.0)[np.newaxis], 1.0, about).tolist() == [[1, -2, -3, 4, -5, -6]]
    assert applied(imu.swap_axes, np.arange(1.0, 6.0)[np.newaxis], 1.0, about).tolist() == [[2, 3, 1, 4, 5]]


@pytest.mark.parametrize("layout", ["points", "points, features first", "points in the plane"])
def test_of_a_set_whole_points_are_lost_and_ranges_change_along_their_ray(layout):
    item, about = known(layout)
    array = next(feeds(item))["x"].astype(np.float64)

    def by_point(found):
        return found[0] if about.channels == 2 else found[0].T

    before, dimensions = by_point(array), min(by_point(array).shape[1], 3)
    lost = by_point(applied(points.point_loss, array, 0.3, about))
    gone = (lost == 0).all(axis=1)
    assert gone.mean() == pytest.approx(0.3, abs=0.15) and np.array_equal(lost[~gone], before[~gone])
    for function, amount in ((points.range_noise, 0.02), (points.no_return, 0.4)):
        moved = by_point(applied(function, array, amount, about))
        assert np.array_equal(moved[:, dimensions:], before[:, dimensions:])
        cross = np.linalg.norm(moved[:, :dimensions], axis=1) * np.linalg.norm(before[:, :dimensions], axis=1)
        assert np.abs((moved[:, :dimensions] * before[:, :dimensions]).sum(axis=1)) == pytest.approx(cross)


def test_beams_of_a_scan_are_lost_evenly_and_no_return_reads_the_greatest_range():
    _, about = known("scan")
    lost = applied(points.beam_loss, np.ones((1, 90)), 0.5, about)[0] == 0
    assert lost.sum() == 45 and set(np.diff(np.flatnonzero(lost))) == {2}
    array = np.full((1, 90), about.high / 2)
    read = applied(points.no_return, array, 0.4, about)
    assert set(np.unique(read)) == {about.high / 2, about.high}
    noisy = applied(points.range_noise, np.where(np.arange(90) % 2, array, 0.0), 0.05, about)
    assert (noisy[0, ::2] == 0).all() and (noisy[0, 1::2] != array[0, 1::2]).all()


def test_rings_of_a_set_are_those_of_elevation():
    _, about = known("points")
    elevation = np.linspace(-0.4, 0.4, 200)
    set_ = np.stack([np.cos(elevation), np.zeros(200), np.sin(elevation), np.ones(200)], axis=1)[np.newaxis]
    lost = (applied(points.beam_loss, set_, 0.5, about)[0] == 0).all(axis=1)
    runs = np.diff(np.flatnonzero(np.diff(lost.astype(int))))
    assert lost.mean() == pytest.approx(0.5, abs=0.05) and set(runs.tolist()) <= {5, 6, 7, 8}


def test_typos_are_other_ids_of_the_seen_range_and_padding_stays():
    _, about = known("ids")
    ids = np.where(np.arange(24) < 20, 1 + np.arange(24), 0)[np.newaxis]
    for seed in range(30):
        found = applied(text.typos, ids, 0.5, about, seed)
        changed = found != ids
        assert (found[0, 20:] == 0).all() and changed.any() and (found[changed] != 0).all()
        assert found.min() >= about.low and found.max() <= about.high


def test_text_is_cut_by_its_own_length_and_a_mask_with_it():
    _, about = known("ids")
    ids = np.where(np.arange(24) < 20, 7, 0)[np.newaxis]
    assert (applied(text.truncation, ids, 0.5, about)[0] != 0).sum() == 10
    _, flags = known("flags")
    cut = next(c for c in CORRUPTIONS if c.name == "truncation")
    mask = corrupt(cut, 2, (np.arange(24) < 20)[np.newaxis], np.random.default_rng(0), flags)
    assert mask.dtype == bool and mask[0].sum() == 10


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int8", "float16"])
def test_what_the_dtype_cannot_hold_becomes_its_nearest_value(dtype):
    item = TensorSpec("x", (1, 4), dtype, "state")
    array = np.array([[1, 2, 100, 120]], dtype)
    about = look(iter([{"x": array}]), 1, {"x": (item,)}, {"x": StreamPolicy()})["x"]
    large = next(c for c in CORRUPTIONS if c.name == "values too large")
    found = corrupt(
        large, 3, (array * 100).astype(dtype) if dtype == "float16" else array, np.random.default_rng(0), about
    )
    limits = np.finfo(dtype) if dtype == "float16" else np.iinfo(dtype)
    assert found[0, 0] > 0 and (found[0, -1] == limits.max or dtype == "int64")


def test_the_greatest_int64_does_not_turn_negative():
    item = TensorSpec("x", (1, 2), "int64", "state")
    array = np.array([[1, 2**62]], np.int64)
    about = look(iter([{"x": array}]), 1, {"x": (item,)}, {"x": StreamPolicy()})["x"]
    large = next(c for c in CORRUPTIONS if c.name == "values too large")
    assert (corrupt(large, 3, array, np.random.default_rng(0), about) > 0).all()


def test_the_documentation_lists_every_corruption_with_its_amounts():
    rows = (Path(__file__).parents[2] / "docs" / "robustness.md").read_text(encoding="utf-8").splitlines()
    for corruption in (*CORRUPTIONS, *TIMINGS):
        amounts = ", ".join(f"{amount:g}" for amount in corruption.amounts) if corruption.unit else ""
        matching = [row for row in rows if row.startswith(f"| {corruption.name} |") and amounts in row]
        assert matching, (corruption.name, amounts)
