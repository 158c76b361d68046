"""A source's transforms, one behind the other, end in what the input takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edgefuse.errors import RecipeError
from edgefuse.recordings.mapping import Source, read_sources
from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import DimRange, TensorSpec
from edgefuse.transforms import TRANSFORMS, files, make_chain

IMAGE = TensorSpec("image", (1, 3, 48, 64))
RGB = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)


def source(*steps):
    return read_sources({"x": {"topic": "/x", "transforms": list(steps)}}, "recording")["x"]


def chain(item, *steps, axis=None):
    return make_chain(source(*steps), item, Path(), axis)


def said(item, value, *steps, axis=None):
    with pytest.raises(Misfit) as caught:
        chain(item, *steps, axis=axis)(value)
    return caught.value.reason, str(caught.value)


def test_a_camera_image_becomes_the_models_input():
    found = chain(IMAGE, {"resize": [48, 64]}, {"scale": 1 / 255}, {"layout": "HWC->CHW"})(RGB)
    assert found.shape == (1, 3, 48, 64) and found.dtype == np.float32 and found.flags["C_CONTIGUOUS"]
    assert 0.45 < found.mean() < 0.55 and found.max() <= 1


def test_the_error_names_what_came_out_after_which_transform_and_what_is_expected():
    wrong = said(IMAGE, RGB, {"resize": [48, 64]}, {"layout": "HWC->CHW"})
    assert wrong == ("dtype", "after 'layout' it is uint8; the input takes float32: add scale or cast")
    wrong = said(IMAGE, RGB, {"scale": 0.1})
    assert wrong == ("shape", "after 'scale' it is 480x640x3 float32; the input takes 1x3x48x64 float32")
    assert said(IMAGE, RGB)[1].startswith("without transforms it is 480x640x3 uint8")
    assert said(IMAGE, RGB, {"crop": [500, 500]})[1].startswith("'crop': the image is 480x640x3")
    assert said(IMAGE, RGB, {"reshape": [7, 7]})[1].endswith("(got 480x640x3 uint8)")
    assert said(IMAGE, "go left") == (
        "type",
        "without transforms it is a text; characters, words, tokenizer make numbers of it",
    )
    assert said(IMAGE, "go", {"scale": 2})[1] == "'scale' got a text; expected an array"
    words = {"words": {"vocabulary": ["go"], "length": 2}}
    assert said(IMAGE, RGB, words)[1] == "'words' got an array 480x640x3; expected a text"


def test_floats_become_the_inputs_and_integers_only_wider_ones():
    state = TensorSpec("state", (1, 6))
    assert chain(state)(np.arange(6.0)).dtype == np.float32
    assert chain(TensorSpec("state", (1, 6), "float16"))(np.arange(6.0)).dtype == np.float16
    assert said(state, np.arange(6))[0] == "dtype"
    ids = TensorSpec("ids", (1, 6), "int64")
    assert chain(ids)(np.arange(6, dtype=np.uint8)).dtype == np.int64
    assert said(ids, np.arange(6.0))[0] == "dtype"
    assert said(TensorSpec("ids", (1, 6), "uint8"), np.arange(6))[0] == "dtype"
    assert said(TensorSpec("ids", (1, 6), "bool"), np.arange(6))[0] == "dtype"


def test_the_batch_dimension_is_added_where_it_is_missing():
    state = TensorSpec("state", (1, 6))
    for shape in [(6,), (1, 6)]:
        assert chain(state)(np.ones(shape)).shape == (1, 6)
    assert said(state, np.ones((2, 6)))[0] == "shape" == said(state, np.ones((1, 1, 6)))[0]
    for shape in [(1,), (1, 1), (1, 1, 1)]:
        assert chain(TensorSpec("speed", shape))(np.asarray(2.5)).shape == shape
    points = TensorSpec("points", (1, DimRange(1, 100), 3))
    assert chain(points)(np.ones((7, 3))).shape == (1, 7, 3) and said(points, np.ones((101, 3)))[0] == "shape"


def test_a_windows_delivery_is_one_sample_or_several():
    imu = TensorSpec("imu", (1, 100, 6))
    assert chain(imu, axis=1)(np.ones(6)).shape == (6,)
    assert chain(imu, axis=1)(np.ones((20, 6))).shape == (1, 20, 6) == chain(imu, axis=1)(np.ones((1, 20, 6))).shape
    assert said(imu, np.ones(7), axis=1)[1].endswith("1x100x6 float32, one sample of it, or several along axis 1")
    assert said(imu, np.ones(6))[0] == "shape"
    assert chain(TensorSpec("level", (1, 8, 1)), axis=1)(np.asarray(0.5)).shape == (1,)


def test_a_label_is_what_the_chain_makes_of_it():
    assert chain(None)(np.int32(3)) == 3 and chain(None, {"cast": "int64"})(np.ones(2)).dtype == np.int64
    assert said(None, "left")[0] == "type"


def test_transforms_that_are_not_known_or_wrong_are_refused_before_any_message():
    with pytest.raises(RecipeError) as caught:
        chain(IMAGE, {"resise": [1, 2]})
    assert caught.value.where == "recording.image.transforms" and "'resize'" in caught.value.hint
    with pytest.raises(RecipeError) as caught:
        chain(None, {"resize": [1, "a"]})
    assert caught.value.where == "recording.label.transforms: resize"
    with pytest.raises(RecipeError, match='kind = "window"'):
        chain(TensorSpec("imu", (1, 100, 6)), {"window": 100})


def test_files_are_those_that_transforms_name_once_each():
    table = {
        "a": {"topic": "/a", "transforms": [{"words": {"file": "lists/w.txt", "length": 2}}, {"scale": 1.0}]},
        "b": {"topic": "/b", "transforms": [{"tokenizer": {"file": "t.json", "length": 2}}]},
        "c": {"topic": "/c", "transforms": [{"tokenizer": {"file": "t.json", "length": 3, "give": "mask"}}]},
    }
    assert files(read_sources(table, "recording")) == ("lists/w.txt", "t.json")
    table["b"]["transforms"] = [{"tokenizer": {"file": "../../etc/passwd", "length": 2}}]
    with pytest.raises(RecipeError, match="below the recipe's folder"):
        files(read_sources(table, "recording"))
    assert files({"x": Source("/x")}) == ()


def test_every_transform_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text(encoding="utf-8")
    assert [name for name in TRANSFORMS if f"`{name}`" not in text] == []


STEPS = [
    {"resize": [3, 5]}, {"resize": {"size": [3, 5], "method": "nearest"}}, {"crop": [2, 2]}, {"channels": "bgr"},
    {"mono": True}, {"flip": "both"}, {"scale": [2.0, 3.0]}, {"offset": 1}, {"clip": [0, 1]},
    {"normalize": {"mean": [1, 2, 3], "std": 2.0, "axis": 0}}, {"finite": {"nan": 0.0}}, {"layout": "HWC->CHW"},
    {"layout": "1H->H"}, {"select": [0, 4]}, {"select": {"start": 1, "axis": 2}}, {"reshape": [2, -1]},
    {"cast": "uint8"}, {"cast": "float16"}, {"beams": 4}, {"beams": {"count": 3, "pool": "min"}},
    {"polar": {"start": 0, "stop": 1}}, {"points": 3},
    {"birdseye": {"x": [0, 1], "y": [0, 1], "cell": 0.5, "channels": ["height", "intensity"]}},
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=3),
    npst.arrays(
        st.sampled_from(["uint8", "int16", "int64", "float16", "float32", "float64", "bool"]),
        npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    ),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_whatever_arrives_at_whatever_transforms_gives_an_array_or_a_misfit(steps, array):
    before = array.copy()
    try:
        assert isinstance(chain(None, *steps)(array), np.ndarray)
    except Misfit as error:
        assert error.reason and "'" in str(error)
    assert np.array_equal(array, before, equal_nan=array.dtype.kind == "f"), "what is given stays"
