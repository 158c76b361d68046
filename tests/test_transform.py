"""``model.transform``: on the robot, the transforms that made the calibration samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import edgefuse
from edgefuse.compile import Request, compile_model
from edgefuse.device import load_device
from edgefuse.errors import FeedError, RecipeError
from edgefuse.progress import Steps
from edgefuse.recipe import read_recipe
from edgefuse.recordings.mapping import Source, Step


def compiled(tiny_recipe, out, recording):
    recipe = replace(read_recipe(tiny_recipe / "recipe.toml"), recording=recording)
    request = Request(tiny_recipe / "model.onnx", recipe, load_device("host"), out, "float")
    compile_model(request, Steps(quiet=True))
    return out


def test_a_drivers_pixels_become_what_the_model_takes(tiny_recipe, tmp_path):
    steps = (Step("resize", [8, 8]), Step("scale", 1 / 255), Step("layout", "HW->1HW"))
    bundle = compiled(tiny_recipe, tmp_path / "t.edgefuse", {"image": Source("/camera", transforms=steps)})
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    with edgefuse.load(bundle) as model:
        image = model.transform("image", pixels)
        assert image.shape == (1, 1, 8, 8) and image.dtype == np.float32
        assert np.allclose(image[0, 0], pixels / 255, atol=1e-6)
        assert model({"image": image, "state": np.zeros((1, 6), np.float32)})["logits"].shape == (1, 4)
        with pytest.raises(FeedError, match=r"image: .*layout"):
            model.transform("image", np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(FeedError, match="no transforms for 'state'"):
            model.transform("state", np.zeros(6))
        with pytest.raises(FeedError, match="no input 'imagee'"):
            model.transform("imagee", pixels)


def test_a_transform_that_there_is_not_stops_the_compilation(tiny_recipe, tmp_path):
    with pytest.raises(RecipeError, match="there is no transform 'resiz'"):
        compiled(tiny_recipe, tmp_path / "t.edgefuse", {"image": Source("/camera", transforms=(Step("resiz", 8),))})
