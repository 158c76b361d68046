"""``edgefuse calibration`` and a compilation from a recording: exit codes, results on stdout, nothing half-written."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime as ort
import pytest

from edgefuse.calibration import Recorded, open_calibration
from edgefuse.compile import Request, _key
from edgefuse.device import load_device
from edgefuse.recipe import read_recipe
from edgefuse.spec import ModelSpec
from tests.recordings.files import MS, START, times, tiny, write


def labelled(seconds, seed=0, recipe=None):
    """A recording of the tiny model whose labels are its own answers to what it saw."""
    arrays = tiny(seconds=seconds, seed=seed)
    session = ort.InferenceSession(str(recipe / "model.onnx"))
    stamps = times(int(30 * seconds), 30)
    newest = np.searchsorted(arrays["state.stamp_ns"], stamps + 5 * MS, side="right") - 1
    logits = [
        session.run(None, {"image": image[np.newaxis], "state": arrays["state"][row][np.newaxis]})[0]
        for image, row in zip(arrays["image"], newest)
    ]
    return arrays | {"label": np.concatenate(logits).argmax(axis=1), "label.stamp_ns": stamps}


@pytest.fixture
def place(copy_of_recipe, monkeypatch):
    """A folder with the tiny recipe and a recording of a minute."""
    write(copy_of_recipe / "drive.npz", labelled(60.0, recipe=copy_of_recipe))
    recipe = (copy_of_recipe / "recipe.toml").read_text().replace('"20%"', '"60%"')  # noise flips answers
    (copy_of_recipe / "recipe.toml").write_text(recipe)
    monkeypatch.chdir(copy_of_recipe)
    monkeypatch.setenv("COLUMNS", "80")
    return copy_of_recipe


def test_a_set_is_built_and_shown(cli, place):
    built = cli("calibration", "build", "drive.npz", "-o", "set", "--samples", "50", "--golden", "100")
    assert built.code == 0, built.err
    assert "Held-out samples" in built.err and max(map(len, built.out.splitlines())) <= 80
    text = " ".join(built.out.split())
    for said in (
        "50 calibrate in ",
        "groups, 100 held out in ",
        "drive.npz, 60.0 s: 6000 instants at each delivery of state",
    ):
        assert said in text, said
    shown = cli("calibration", "show", "set", "--recipe", "recipe.toml", "-o", "page.html")
    assert shown.code == 0 and max(map(len, shown.out.splitlines())) <= 80
    assert "<!DOCTYPE html>" in (place / "page.html").read_text()


def test_a_recipe_may_name_the_recording_itself(cli, place):
    recipe = (place / "recipe.toml").read_text().replace('"samples.npz"', '"drive.npz"')
    (place / "recipe.toml").write_text(recipe)
    found = cli("compile", "recipe.toml", "--precision", "int8", "-o", "t.edgefuse", "--json")
    assert found.code == 0, found.err
    assert "60 calibrate, 500 held out from drive.npz" in found.err
    assert "of the tensors moved by less than 1% over the last half of the samples" in found.err
    report = json.loads(found.out)
    assert report["calibration"]["by"] == "stretches of time" and report["calibration"]["golden"] == 500
    assert report["accuracy"][0]["samples"] == 500 and "by group" in report["accuracy"][0]["method"]
    page = (place / "t.edgefuse" / "report.html").read_text()
    assert "stretches of time" in page and "From <b>drive.<wbr>npz</b>, 60.0 s" in " ".join(page.split())
    assert not (place / "t.edgefuse" / "work").exists()


def test_several_recordings_on_the_command_line_or_in_the_recipe(cli, place):
    write(place / "more.npz", labelled(20.0, seed=1, recipe=place))
    found = cli("calibration", "build", "drive.npz", "more.npz", "-o", "set", "--anchor", "10hz", "--json", "-q")
    report = json.loads(found.out)
    assert found.code == 0 and found.err == "" and len(report["recordings"]) == 2
    assert report["recordings"][0]["anchor"] == "10 Hz"
    assert isinstance(report["findings"], list)
    several = (place / "recipe.toml").read_text().replace('"samples.npz"', '["drive.npz", "more.npz"]')
    (place / "recipe.toml").write_text(several)
    recipe = read_recipe(place / "recipe.toml")
    recorded = Recorded(policies=recipe.streams, work=place / "work")
    opened = open_calibration(recipe.calibration, ModelSpec(recipe.inputs, ()), "label", recorded)
    assert len(opened.rule["built"]["recordings"]) == 2 and opened.text.startswith("60 calibrate, 500 held out")


def test_a_recording_is_shown_with_and_without_a_recipe(cli, place):
    bare = cli("calibration", "show", "drive.npz")
    assert bare.code == 0 and "image" in bare.out and "30.0 Hz" in bare.out
    found = cli("calibration", "show", "drive.npz", "--recipe", "recipe.toml", "-o", "page.html")
    text = " ".join(found.out.split())
    assert found.code == 0 and "camera latest, 1800 deliveries at 30.0 Hz" in text and "512 samples" in text
    assert json.loads(cli("calibration", "show", "drive.npz", "--json").out)["topics"][0]["count"] == 1800
    assert json.loads(cli("calibration", "show", "drive.npz", "--recipe", "recipe.toml", "--json").out)["labels"][
        "classes"
    ]


def test_a_set_with_a_leak_is_exit_code_4(cli, place):
    with np.load(place / "samples.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    for split in ("calibrate", "golden"):
        (place / "leak" / split).mkdir(parents=True)
        np.savez(place / "leak" / split / "a.npz", **arrays)
    found = cli("calibration", "show", "leak")
    assert found.code == 4 and "120 of 120 held-out samples equal samples that calibrate" in " ".join(found.out.split())
    assert json.loads(cli("calibration", "show", "leak", "--json").out)["findings"][0]["level"] == "error"


@pytest.mark.parametrize(
    ("code", "said", "arguments"),
    [
        (2, "there is no recipe 'nothing'", ["build", "drive.npz", "-o", "set", "--recipe", "nothing"]),
        (2, "is 0 Hz", ["build", "drive.npz", "-o", "set", "--anchor", "0hz"]),
        (2, "Did you mean 'camera'?", ["build", "drive.npz", "-o", "set", "--anchor", "camra"]),
        (2, "a set is a folder", ["build", "drive.npz", "-o", "set.zip"]),
        (2, "is no calibration set that EdgeFuse has built", ["build", "drive.npz", "-o", "."]),
        (2, "Missing option '-o'", ["build", "drive.npz"]),
        (2, "must end in .html", ["show", "samples.npz", "-o", "page.txt"]),
        (4, "there is no such file", ["build", "none.mcap", "-o", "set"]),
        (4, "holds samples and no recording", ["build", "samples.npz", "-o", "set"]),
        (4, "no such file", ["show", "none"]),
        (4, "holds no .npz file and no recording", ["show", "empty"]),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(cli, place, code, said, arguments):
    (place / "empty").mkdir()
    before = sorted(place.rglob("*"))
    found = cli("calibration", *arguments)
    assert found.code == code and said in found.err and "Traceback" not in found.err and found.out == ""
    assert sorted(place.rglob("*")) == before


def test_a_recipe_without_inputs_says_so(cli, place):
    (place / "bare.toml").write_text('name = "bare"\n[model]\npath = "model.onnx"\n')
    found = cli("calibration", "build", "drive.npz", "-o", "set", "--recipe", "bare.toml")
    assert found.code == 4 and "no [inputs] tables" in found.err


def test_a_search_is_gone_on_with_only_while_the_recording_is_the_same(place):
    recipe = (place / "recipe.toml").read_text().replace('"samples.npz"', '["drive.npz"]')
    (place / "recipe.toml").write_text(recipe)
    request = Request(
        place / "model.onnx", read_recipe(place / "recipe.toml"), load_device("host"), place / "t.edgefuse"
    )
    before = _key(request)
    assert _key(request) == before
    write(place / "drive.npz", tiny(seconds=3.0, seed=9) | {"label": np.zeros(1), "label.stamp_ns": np.array([START])})
    assert _key(request) != before
