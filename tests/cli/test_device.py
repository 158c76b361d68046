"""The verbs with ``--device``: the same answers from another process as from this one, and its errors in words."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest


@pytest.fixture
def feed(tmp_path, tiny_calibration):
    with np.load(tiny_calibration) as samples:
        np.savez(tmp_path / "feed.npz", image=samples["image"][:1], state=samples["state"][:1])
    return tmp_path / "feed.npz"


def test_run_gives_the_same_outputs_on_the_device(cli, tiny_bundle, feed, tmp_path):
    here = json.loads(cli("run", tiny_bundle, "--input", feed, "--json").out)
    there = cli("run", tiny_bundle, "--input", feed, "--json", "--device", "local", "-o", tmp_path / "out.npz")
    assert there.code == 0 and json.loads(there.out) == here
    with np.load(tmp_path / "out.npz") as written:
        assert written["logits"].tolist() == here["values"]


def test_check_judges_there_and_shows_the_devices_steps(cli, tiny_bundle):
    done = cli("check", tiny_bundle, "--device", "local", "--json")
    report = json.loads(done.out)
    assert done.code in (0, 3) and report["accuracy"][0]["verdict"] == "pass"
    assert [step["name"] for step in report["stages"]] and "Checking accuracy" in done.err


def test_check_takes_its_limits_along(cli, tiny_bundle):
    done = cli("check", tiny_bundle, "--device", "local", "--max-latency", "0.001ms", "--json", "-q")
    report = json.loads(done.out)
    assert done.code == 1 and report["latency"]["limit_p90_ms"] == 0.001 and report["verdict"] == "fail"


def test_a_damaged_bundle_is_refused_before_anything_is_sent(cli, copy_of_bundle):
    (copy_of_bundle / "golden.npz").write_bytes(b"damaged")
    done = cli("check", copy_of_bundle, "--device", "local")
    assert done.code == 4 and "golden.npz" in done.err


@pytest.mark.parametrize(
    ("address", "code", "told"),
    [
        ("robot@10.0.0.5", 2, "Did you mean ssh://robot@10.0.0.5?"),
        ("ssh://u:secret@host", 2, "must not hold a password"),
        ("ssh://host?pyton=x", 2, "python"),
        ("local?python=/there/is/none", 5, "there is no /there/is/none to run"),
        ("ssh://somebody@host.invalid", 5, "no connection"),
    ],
)
def test_an_address_that_leads_nowhere_says_why(cli, tiny_bundle, address, code, told):
    done = cli("check", tiny_bundle, "--device", address)
    assert done.code == code and told in done.err and "Traceback" not in done.err
    assert "secret" not in done.err or address not in done.err


def test_doctor_examines_the_device(cli):
    done = cli("doctor", "--device", "local", "--json")
    found = {item["name"]: item for item in json.loads(done.out)}
    assert done.code == 0 and found["connection"]["ok"] and found["openvino"]["ok"]
    assert sys.version.split()[0] in found["python"]["text"]
    assert not {"compile", "trt-check"} & found.keys(), "no device needs them"


def test_doctor_says_how_edgefuse_gets_there(cli, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    bare.chmod(0o755)
    done = cli("doctor", "--device", f"local?python={bare}")
    assert done.code == 5 and "has no module 'edgefuse'" in done.out
    command = next(line for line in done.out.splitlines() if "-m venv" in line)
    assert "pip install 'edgefuse[openvino]==" in command


def test_replay_there_decides_as_here(cli, tiny_bundle, tmp_path):
    times = np.arange(0, 10**9, 10**7)
    np.savez(
        tmp_path / "drive.npz",
        **{"image": np.zeros((30, 1, 1, 8, 8), np.float32), "image.stamp_ns": times[:90:3]},
        **{"state": np.zeros((100, 1, 6), np.float32), "state.stamp_ns": times},
    )
    here = cli("replay", tiny_bundle, tmp_path / "drive.npz", "--no-staleness", "--json", "-q")
    there = cli("replay", tiny_bundle, tmp_path / "drive.npz", "--no-staleness", "--json", "-q", "--device", "local")
    assert there.code == here.code, there.err
    counts = [json.loads(done.out)["steps"] for done in (here, there)]
    assert counts[0]["answered"] == counts[1]["answered"] > 0
