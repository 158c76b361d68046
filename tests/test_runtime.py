"""``edgefuse.load`` and the model that it gives."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import numpy as np
import pytest

import edgefuse
from edgefuse.bundle import open_bundle
from edgefuse.bundle_writer import pack
from edgefuse.compile import Request, compile_model
from edgefuse.device import load_device
from edgefuse.errors import BundleError, FeedError, ToolchainError
from edgefuse.golden import read_golden
from edgefuse.progress import Steps
from edgefuse.recipe import Accuracy, read_recipe


@pytest.fixture
def golden(tiny_bundle):
    return list(read_golden(tiny_bundle / "golden.npz"))


def test_a_loaded_model_answers_like_its_float_reference(tiny_bundle, golden):
    with edgefuse.load(tiny_bundle) as model:
        agree = [model(s.feed)["logits"].argmax() == s.reference["logits"].argmax() for s in golden]
    assert np.mean(agree) > 0.9 and model.name == "tiny"


def test_the_zip_of_a_bundle_answers_the_same_bits(tiny_bundle, golden, tmp_path):
    pack(tiny_bundle, tmp_path / "tiny.zip")
    with edgefuse.load(tiny_bundle) as folder, edgefuse.load(str(tmp_path / "tiny.zip")) as single:
        assert np.array_equal(folder(golden[0].feed)["logits"], single(golden[0].feed)["logits"])


def test_closing_twice_is_fine_and_calling_afterwards_is_not(tiny_bundle, golden):
    model = edgefuse.load(tiny_bundle)
    model.close()
    model.close()
    with pytest.raises(ToolchainError, match="closed"):
        model(golden[0].feed)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda f: {k: v for k, v in f.items() if k != "state"}, "'state' is missing"),
        (lambda f: {**f, "lidar": f["state"]}, "no input 'lidar'"),
        (lambda f: {**f, "state": f["state"].astype(np.float64)}, "dtype float64; expected float32"),
        (lambda f: {**f, "state": f["state"][:, :5]}, "shape 1x5; expected 1x6"),
        (lambda f: {**f, "state": f["state"].tolist()}, "is a list; expected a numpy array"),
        (lambda f: list(f.values()), "is a list; expected a dict"),
        (lambda f: {("stat" if k == "state" else k): v for k, v in f.items()}, "no input 'stat'"),
    ],
    ids=["missing", "unknown", "dtype", "shape", "list", "no mapping", "typo"],
)
def test_a_wrong_feed_names_the_tensor(tiny_bundle, golden, change, message):
    with edgefuse.load(tiny_bundle) as model, pytest.raises(FeedError, match=message):
        model(change(golden[0].feed))


def test_threads_share_a_model_without_mixing_their_answers(tiny_bundle, golden):
    with edgefuse.load(tiny_bundle) as model:
        expected = [model(sample.feed)["logits"] for sample in golden]
        wrong: list[int] = []

        def work(offset: int) -> None:
            for step in range(300):
                index = (offset + step) % len(golden)
                if not np.array_equal(model(golden[index].feed)["logits"], expected[index]):
                    wrong.append(index)

        threads = [threading.Thread(target=work, args=(7 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_loading_does_not_change_the_bundle(tiny_bundle, golden):
    before = {path: (path.stat().st_mtime_ns, os.path.getsize(path)) for path in tiny_bundle.rglob("*")}
    with edgefuse.load(tiny_bundle) as model:
        model(golden[0].feed)
    assert before == {path: (path.stat().st_mtime_ns, os.path.getsize(path)) for path in tiny_bundle.rglob("*")}


def test_load_verifies_what_it_reads_and_check_the_rest(copy_of_bundle, golden, tmp_path):
    blobs = tmp_path / "blobs"
    with edgefuse.load(copy_of_bundle, cache=blobs) as model:
        expected = model(golden[0].feed)["logits"]
        assert model.health().cache["whole"] == "miss"
    weights = copy_of_bundle / "artifacts"
    weights = next(weights.glob("*/whole/model.bin"))
    weights.write_bytes(bytes(reversed(weights.read_bytes())))
    with edgefuse.load(copy_of_bundle, cache=blobs) as model:  # compiled from the file as it was
        assert model.health().cache["whole"] == "hit"
        assert np.array_equal(model(golden[0].feed)["logits"], expected)
    for cache in (False, tmp_path / "none"):
        with pytest.raises(BundleError, match=r"whole/model\.bin' was changed"):
            edgefuse.load(copy_of_bundle, cache=cache)
    with pytest.raises(BundleError, match="was changed"), open_bundle(copy_of_bundle):
        pass
    (copy_of_bundle / "golden.npz").write_bytes(b"")
    with pytest.raises(BundleError, match=r"golden\.npz' has 0 bytes"):
        edgefuse.load(copy_of_bundle, cache=blobs)


def test_the_manifest_names_the_plan_that_runs(tiny_bundle):
    with open_bundle(tiny_bundle) as bundle:
        assert bundle.manifest["plan"]["precision"] == "int8"
        assert bundle.settings.inference_precision == "f32" and bundle.settings.threads >= 1


def test_a_bundle_that_failed_its_gates_says_so_when_it_is_loaded(tiny_recipe, tmp_path):
    recipe = replace(read_recipe(tiny_recipe / "recipe.toml"), accuracy=Accuracy(metric="sqnr", min_sqnr_db=200.0))
    out = tmp_path / "bad.edgefuse"
    request = Request(tiny_recipe / "model.onnx", recipe, load_device("host"), out, "int8")
    assert compile_model(request, Steps(quiet=True))["verdict"] == "fail"
    with pytest.warns(UserWarning, match="tiny: the bundle failed its gates"):
        edgefuse.load(out).close()
