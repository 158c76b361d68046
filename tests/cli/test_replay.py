"""``edgefuse replay``: exit codes, stdout for the result, stderr for talk, and nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.recordings.files import tiny, write
from tests.recordings.writers import drive, write_mcap_ros2

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def recording(tmp_path):
    labels = np.random.default_rng(3).integers(0, 4, 20)
    return write(tmp_path / "r.npz", tiny(labels=labels))


def test_a_replay_is_told_in_80_columns_and_its_page_is_written(cli, tiny_bundle, recording, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    found = cli("replay", tiny_bundle, recording, "-o", tmp_path / "page.html", "--deadline", "20ms")
    assert found.code == 0, found.err
    assert max(map(len, found.out.splitlines())) <= 80
    for said in ("200 at each delivery of state", "camera", "60 at 30.0 Hz", "bit for bit", "accuracy", "staleness"):
        assert said in " ".join(found.out.split()), said
    assert "Replaying" in found.err
    assert "<!DOCTYPE html>" in (tmp_path / "page.html").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"r.npz", "page.html"}


def test_json_and_quiet_print_the_result_alone(cli, tiny_bundle, recording):
    found = cli("replay", tiny_bundle, recording, "--json", "-q", "--tick", "50hz", "--staleness", "0,30",
                "--policy", "camera.max_age_ms=20", "--policy", "camera.on_stale=hold")  # fmt: skip
    report = json.loads(found.out)
    assert found.code == 0 and found.err == "" and report["tick"] == "50 Hz"
    assert report["streams"]["camera"]["policy"]["on_stale"] == "hold" and report["streams"]["camera"]["stale"] > 0
    assert report["staleness"]["delays_ms"] == [0.0, 30.0]
    skipped = json.loads(cli("replay", tiny_bundle, recording, "--json", "-q", "--no-staleness").out)
    assert skipped["staleness"] is None and skipped["staleness_reason"] == "not asked for" and skipped["accuracy"]


def test_real_time_is_measured(cli, tiny_bundle, tmp_path):
    path = write(tmp_path / "short.npz", tiny(seconds=0.3))
    report = json.loads(cli("replay", tiny_bundle, path, "--real-time", "--json", "-q").out)
    assert report["timing"] == "measured" and report["steps"]["answered"] > 0


def test_no_answer_at_all_is_inconclusive_with_the_reason(cli, tiny_bundle, tmp_path):
    path = write(tmp_path / "r.npz", {k: v for k, v in tiny().items() if k.startswith("image")})
    found = cli("replay", tiny_bundle, path, "-o", tmp_path / "page.html")
    text = " ".join(found.out.split())
    assert found.code == 3 and "INCONCLUSIVE: none of 60 steps had an answer: no data yet from state" in text
    assert "not in the recording" in text and "no answer" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("code", "said", "arguments"),
    [
        (2, "--deadline", ["--deadline", "5"]),
        (2, "not STREAM.KEY=VALUE", ["--policy", "camera=3"]),
        (2, "Did you mean 'max_age_ms'?", ["--policy", "camera.max_age=3"]),
        (2, "no stream 'lidar'", ["--policy", "lidar.max_age_ms=3"]),
        (2, "--tick", ["--tick", "lidar"]),
        (2, "list of milliseconds", ["--staleness", "a,b"]),
        (2, "must end in .html", ["-o", "page.txt"]),
        (2, "no such folder", ["-o", "nowhere/page.html"]),
        (2, "no recipe", ["--recipe", "nothing"]),
    ],
)
def test_a_wrong_flag_is_told_before_anything_runs(cli, tiny_bundle, recording, code, said, arguments):
    found = cli("replay", tiny_bundle, recording, *arguments)
    assert found.code == code and said in found.err and "Traceback" not in found.err and found.out == ""


def damaged(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def foreign(path):
    np.savez(path, x=np.zeros(3))


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("spoil", [damaged, empty, foreign, cut])
def test_a_bad_recording_is_one_clear_error_and_no_page(cli, tiny_bundle, recording, tmp_path, spoil):
    spoil(recording)
    found = cli("replay", tiny_bundle, recording, "-o", tmp_path / "page.html", "-q")
    assert found.code == 4 and found.err.count("error:") == 1 and "r.npz" in found.err and "Traceback" not in found.err
    assert not (tmp_path / "page.html").exists() and found.out == ""


def test_a_missing_recording_or_bundle_is_bad_input(cli, tiny_bundle, recording, tmp_path):
    assert cli("replay", tiny_bundle, tmp_path / "none.npz").code == 4
    assert cli("replay", tmp_path / "none.edgefuse", recording).code == 4


def test_a_metric_of_ones_own_needs_the_recipe(cli, copy_of_bundle, recording, tmp_path):
    from edgefuse.bundle_writer import write_manifest

    manifest = json.loads((copy_of_bundle / "manifest.json").read_text())
    manifest["limits"]["accuracy"]["metric"] = "mine.py:right"
    write_manifest(copy_of_bundle, manifest)
    found = cli("replay", copy_of_bundle, recording)
    assert found.code == 4 and "Add --recipe" in found.err
    (tmp_path / "recipe.toml").write_text('name = "mine"\n[model]\npath = "x.onnx"\n')
    (tmp_path / "mine.py").write_text("def right(output, label):\n    return 0.5\nright.higher_is_better = True\n")
    found = cli("replay", copy_of_bundle, recording, "--recipe", tmp_path / "recipe.toml", "--json", "-q")
    assert found.code == 0 and json.loads(found.out)["accuracy"]["value"] == 0.5


def test_ctrl_c_ends_it_with_130_and_leaves_nothing(tiny_bundle, tmp_path):
    path = write(tmp_path / "long.npz", tiny(seconds=60))
    command = [sys.executable, "-m", "edgefuse", "replay", str(tiny_bundle), str(path), "--real-time",
               "-o", str(tmp_path / "page.html")]  # fmt: skip
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None and "Loading" in process.stderr.readline()  # the replay has begun
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "interrupted; nothing was written" in err and out == ""
    assert [item.name for item in tmp_path.iterdir()] == ["long.npz"]


def test_a_recording_of_topics_needs_tables_which_the_error_shows_and_a_recipe_gives(cli, tiny_bundle, tmp_path):
    path = write_mcap_ros2(tmp_path / "r.mcap", drive(side=8))
    found = cli("replay", tiny_bundle, path)
    assert found.code == 4 and '[recording.image]\n  topic = "/camera"\n' in found.err and "/wheel" in found.err
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "tiny"\n[recording.image]\ntopic = "/camera"\n'
        'transforms = [{ mono = true }, { scale = 0.004 }, { layout = "HW->1HW" }]\n'
        '[recording.state]\ntopic = "/imu"\n'
    )
    found = cli("replay", tiny_bundle, path, "--recipe", recipe, "-q")
    assert found.code == 0 and "not used: /wheel" in found.out and "50 at each delivery of state" in found.out
    recipe.write_text(recipe.read_text().replace("/imu", "/imu/data"))
    found = cli("replay", tiny_bundle, path, "--recipe", recipe, "-q", "--json")
    assert found.code == 3 and "did you mean '/imu'?" in json.loads(found.out)["recording"]["notes"][0]
    recipe.write_text(recipe.read_text().replace("HW->1HW", "HWC->CHW"))
    found = cli("replay", tiny_bundle, path, "--recipe", recipe, "-q")
    assert found.code == 4 and "'layout': got 8x8; 'HWC' has 3 axes" in found.err and "r.mcap: /camera" in found.err
