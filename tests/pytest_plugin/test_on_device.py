"""Bundles tested on this machine, through a connection: what passes, what fails and in which words."""

from __future__ import annotations

import json
import shutil
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from edgefuse.bench.history import read_history
from tests.pytest_plugin.bundles import keep_golden, sign, spoil
from tests.recordings.files import tiny, write


@pytest.fixture
def here(pytester, tiny_bundle):
    """A folder with ``tiny.edgefuse`` in it, to change."""
    shutil.copytree(tiny_bundle, pytester.path / "tiny.edgefuse")
    return pytester


def figures(path):
    """JUnit's properties by name, and the skipped tests' reasons."""
    tree = ElementTree.parse(path)
    found = {item.get("name"): item.get("value") for item in tree.iter("property")}
    return found, [item.get("message") for item in tree.iter("skipped")]


def test_a_sound_bundle(here):
    sign(here.path / "tiny.edgefuse", p90_ms=10_000.0)
    result = here.runpytest("tiny.edgefuse", "-v", "--edgefuse-report=report.json", "--junitxml=junit.xml")
    result.assert_outcomes(passed=5, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "tiny.edgefuse::integrity PASSED*",
            "tiny.edgefuse::golden SKIPPED*",
            "on local: *openvino*",
            "tiny.edgefuse::determinism *pass *60 samples twice: equal to the bit",
            "tiny.edgefuse::golden *skipped *nothing is recorded for this bundle on this class of device*",
            "tiny.edgefuse::latency *pass *p90 * over * calls, limit p90 10000 ms",
            "tiny.edgefuse::memory *pass *bytes a call*, limit 64;*MiB resident",
        ]
    )
    report = json.loads((here.path / "report.json").read_text(encoding="utf-8"))
    checks = {item["check"]: item for item in report["checks"]}
    assert report["verdict"] == "pass" and list(checks) == [
        "integrity", "determinism", "golden", "accuracy", "latency", "memory"
    ]  # fmt: skip
    (device,) = report["devices"]
    assert device["address"] == "local" and device["environment"]["packages"]["numpy"] and device["device_class"]
    assert device["device_state"].keys() >= {"before", "after", "remarks"}
    assert checks["latency"]["result"]["latency"]["compiled"]["runs"] >= 64
    (facts,) = report["bundles"].values()
    assert facts["name"] == "tiny" and facts["plan"]["precision"] == "int8"
    properties, reasons = figures(here.path / "junit.xml")
    assert properties["edgefuse.accuracy.samples"] == "60" and float(properties["edgefuse.latency.p90_ms"]) > 0
    assert properties["edgefuse.memory.verdict"] == "pass"
    assert len(reasons) == 1 and "Record: pytest tiny.edgefuse::golden --edgefuse-update-golden" in reasons[0]


def test_without_a_limit_latency_is_measured_and_not_passed(here):
    result = here.runpytest("tiny.edgefuse::latency", "-v", "--junitxml=junit.xml", "--edgefuse-report=report.json")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["tiny.edgefuse::latency NO LIMIT*", "*1 skipped*"])
    properties, (reason,) = figures(here.path / "junit.xml")
    assert float(properties["edgefuse.latency.p50_ms"]) > 0 and reason.startswith("no limit: p50 ")
    assert json.loads((here.path / "report.json").read_text())["verdict"] is None


def test_an_altered_model_fails_with_the_worst_samples_and_the_part_at_fault(here):
    spoil(here.path / "tiny.edgefuse", "camera")
    result = here.runpytest("tiny.edgefuse::integrity", "tiny.edgefuse::accuracy", "--edgefuse-report=report.json")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "accuracy: top1 100.00 % → *, drop * pt (95 %: * … *), limit 20.0 pt (20%), over 60 samples",
            "*logits: SQNR * at most * apart",
            "*outputs: logits float32 1x4",
            "*60 samples: * worse than the float model, * better, * alike",
            "*sample *label *float *device *error",
            "*The error starts in camera: *",
            "FAILED tiny.edgefuse::accuracy - Failed: accuracy: top1*",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    (_, entry) = json.loads((here.path / "report.json").read_text())["checks"]
    assert entry["result"]["blame"]["part"] == "camera"
    worst = entry["result"]["worst"][0]
    assert worst["loss"] == 1.0 and worst["label"] == worst["reference"] != worst["device"]


def test_few_samples_are_inconclusive_neither_red_nor_green(here):
    keep_golden(here.path / "tiny.edgefuse", 5)
    asked = ("tiny.edgefuse::accuracy", "-v", "--junitxml=junit.xml")
    result = here.runpytest(*asked)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "tiny.edgefuse::accuracy INCONCLUSIVE (*",
            "tiny.edgefuse::accuracy *inconclusive *more samples",
            "*1 inconclusive*",
        ]
    )
    properties, (reason,) = figures(here.path / "junit.xml")
    assert properties["edgefuse.accuracy.verdict"] == "inconclusive" and "more samples" in reason
    result = here.runpytest("tiny.edgefuse::accuracy", "-q")
    result.stdout.fnmatch_lines(["[?] *"])


def test_strict_makes_a_doubt_a_failure(here):
    keep_golden(here.path / "tiny.edgefuse", 5)
    result = here.runpytest("tiny.edgefuse::accuracy", "--edgefuse-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["accuracy: inconclusive, and --edgefuse-strict: top1*more samples"])


def test_a_damaged_file_fails_and_is_named(here):
    path = here.path / "tiny.edgefuse" / "golden.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    result = here.runpytest("tiny.edgefuse", "-x", "--edgefuse-report=report.json")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["integrity: BundleError: *'golden.npz' was changed after it was written*"])
    assert json.loads((here.path / "report.json").read_text())["verdict"] == "fail"


def test_what_a_device_refuses_is_a_failed_test_and_no_traceback(here):
    """One that is not there; one that is not given enough time, as a crash after which the next test goes on."""
    unreachable = here.runpytest("tiny.edgefuse::integrity", "--edgefuse-device=ssh://nobody@127.0.0.1:1")
    unreachable.assert_outcomes(failed=1)
    unreachable.stdout.re_match_lines([r"integrity: (Unreachable|MissingTool)Error: .*"])
    late = here.runpytest("tiny.edgefuse::latency", "tiny.edgefuse::integrity", "--edgefuse-timeout=0.1")
    late.stdout.fnmatch_lines(["latency: TimeLimitError: *did not finish within 0.1 s", "It was killed there*"])
    assert all("Traceback" not in result.stdout.str() for result in (unreachable, late))


USERS = """
import numpy as np
import pytest

@pytest.mark.edgefuse(max_drop="25%", p90_ms=10_000)
def test_limits_of_my_own(edgefuse_check):
    edgefuse_check("accuracy", "latency")

@pytest.mark.edgefuse(p90_ms=1e-6)
def test_too_slow(edgefuse_check):
    edgefuse_check("latency")

def test_model_and_golden(edgefuse_model, edgefuse_golden, edgefuse_bundle):
    assert edgefuse_bundle.manifest["name"] == "tiny" and len(edgefuse_golden) == len(list(edgefuse_golden)) == 60
    sample = next(iter(edgefuse_golden))
    logits = edgefuse_model(sample.feed)["logits"]
    assert logits.shape == (1, 4) and logits.argmax() == sample.label

def test_device(edgefuse_device):
    assert edgefuse_device.about["environment"]["python"]

def test_wrong_feed(edgefuse_model):
    edgefuse_model({"image": np.zeros((1, 1, 8, 8), np.float32)})

def test_unknown_check(edgefuse_check):
    edgefuse_check("latancy")

def test_replay(edgefuse_replay):
    edgefuse_replay()
"""


def test_the_users_own_tests(here):
    here.makepyfile(test_mine=USERS)
    result = here.runpytest("--edgefuse-bundle=tiny.edgefuse", "--strict-markers", "-rs", "-k", "test_mine")
    result.assert_outcomes(passed=3, failed=3, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "latency: p50 * limit p90 1e-06 ms",
            "FeedError: input 'state' is missing",
            "test_mine.py:22: edgefuse_model(*",
            "UsageError: there is no check 'latancy'",
            "Did you mean 'latency'?",
            "SKIPPED ?1? test_mine.py:27: no recording to replay: add --edgefuse-recording PATH",
        ]
    )


REPLAYS = """
def test_replay(edgefuse_replay):
    found = edgefuse_replay(deadline_ms=50)
    assert found["steps"]["answered"] > 0 and found["deadline_ms"] == 50 and found["accuracy"]["steps"] > 0

def test_no_recording(edgefuse_replay):
    edgefuse_replay("nothing.mcap")
"""


def test_a_recording_is_replayed_on_the_device(here):
    write(here.path / "drive.npz", tiny(labels=np.random.default_rng(3).integers(0, 4, 20)))
    here.makepyfile(test_mine=REPLAYS)
    options = ("--edgefuse-bundle=tiny.edgefuse", "--edgefuse-recording=drive.npz", "-k", "test_mine")
    result = here.runpytest(*options)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["RecordingError: nothing.mcap: there is no such recording"])


CRASHES = """
import os
import signal
import threading
from pathlib import Path

def test_crash(edgefuse_device, edgefuse_bundle):
    sent = edgefuse_device.put_bundle(edgefuse_bundle.path)
    edgefuse_device.ask("answers", {"bundle": sent, "start": 0, "count": 1})
    worker = edgefuse_device.remote()._link.hello["pid"]
    started = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    threading.Timer(0.5, lambda: [os.kill(int(pid), signal.SIGSEGV) for pid in started]).start()
    edgefuse_device.ask("memory", {"bundle": sent, "calls": 10**9, "points": 64, "limit_s": 60.0})

def test_next(edgefuse_check):
    edgefuse_check("integrity", "determinism")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_a_crash_on_the_device_is_a_failed_test_and_the_next_one_runs(here):
    here.makepyfile(test_mine=CRASHES)
    result = here.runpytest("--edgefuse-bundle=tiny.edgefuse", "-k", "test_mine")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["CrashError: *SIGSEGV*", "test_mine.py:12: edgefuse_device.ask(*"])


def test_a_broken_connection_is_a_failed_test_and_the_next_one_connects_again(here):
    here.makepyfile(
        test_mine="""
        import os, signal

        def test_gone(edgefuse_device):
            os.kill(edgefuse_device.remote()._link.hello["pid"], signal.SIGKILL)
            edgefuse_device.ask("about", {})

        def test_next(edgefuse_check):
            edgefuse_check("integrity")
        """
    )
    result = here.runpytest("--edgefuse-bundle=tiny.edgefuse", "--edgefuse-report=report.json", "-k", "test_mine")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["UnreachableError: *"])
    assert len(json.loads((here.path / "report.json").read_text())["devices"]) == 2


def test_latency_joins_a_history(here):
    history = here.path / "history.jsonl"
    result = here.runpytest("tiny.edgefuse::latency", f"--edgefuse-history={history}", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*against the history: 0 of *"])
    (line,) = read_history(history).lines
    assert line["bundle"] == "tiny" and line["latency"]["runs"] >= 64
    history.write_text("something else\n")
    result = here.runpytest("tiny.edgefuse::latency", f"--edgefuse-history={history}")
    result.stdout.fnmatch_lines(["latency: InputError: *is no history*"])


def test_ready_made_tests_take_limits_from_a_conftest(here):
    conftest = """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                if item.nodeid == "tiny.edgefuse::latency":
                    item.add_marker(pytest.mark.edgefuse({}=1e-6))
    """
    here.makeconftest(conftest.format("p90_ms"))
    result = here.runpytest("tiny.edgefuse::latency")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["latency: p50 *, limit p90 1e-06 ms*"])
    here.makeconftest(conftest.format("p95_ms"))
    result = here.runpytest("tiny.edgefuse::latency")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*tiny.edgefuse::latency: * no limit 'p95_ms'. Did you mean 'p90_ms'?*"])


def test_a_check_in_a_fixture_is_reported_too(here):
    here.makepyfile(
        test_mine="""
        import pytest

        @pytest.fixture
        def sound(edgefuse_check):
            edgefuse_check("integrity", "accuracy")

        @pytest.mark.edgefuse(max_drop="0.1%")
        def test_sound(sound): pass
        """
    )
    keep_golden(here.path / "tiny.edgefuse", 5)
    options = ("--edgefuse-bundle=tiny.edgefuse", "--edgefuse-report=report.json", "-k", "test_sound")
    result = here.runpytest(*options)
    result.stdout.fnmatch_lines(["*1 inconclusive*"])
    checks = json.loads((here.path / "report.json").read_text())["checks"]
    assert [item["verdict"] for item in checks] == ["pass", "inconclusive"]


def test_without_a_bundle_they_are_skipped(pytester):
    pytester.makepyfile("def test_mine(edgefuse_bundle): pass")
    result = pytester.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no bundle to test: add --edgefuse-bundle PATH"])


def test_with_two_bundles_they_run_for_each(here):
    shutil.copytree(here.path / "tiny.edgefuse", here.path / "other.edgefuse")
    here.makepyfile(test_mine="def test_name(edgefuse_bundle): assert edgefuse_bundle.manifest['name'] == 'tiny'")
    options = ("--edgefuse-bundle=tiny.edgefuse", "--edgefuse-bundle=other.edgefuse")
    result = here.runpytest(*options, "-v", "-k", "test_name")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_name?tiny.edgefuse? PASSED*", "*test_name?other.edgefuse? PASSED*"])


def test_several_processes_take_turns_on_the_device(here):
    pytest.importorskip("xdist")
    result = here.runpytest_subprocess("tiny.edgefuse", "-n2", "--edgefuse-report=report.json")
    result.assert_outcomes(passed=4, skipped=2)
    report = json.loads((here.path / "report.json").read_text())
    assert len(report["checks"]) == 6 and len(report["devices"]) >= 2 and len(report["bundles"]) == 1
