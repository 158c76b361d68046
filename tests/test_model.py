"""A loaded model's life: ready, degraded, closed; streams of a real bundle; forks; health."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time

import numpy as np
import pytest

import edgefuse
from edgefuse.bundle_writer import pack, write_manifest
from edgefuse.errors import StreamError, ToolchainError
from edgefuse.golden import read_golden
from edgefuse.testing import FakeModel

MS = 1_000_000


@pytest.fixture
def feed(tiny_bundle):
    return next(iter(read_golden(tiny_bundle / "golden.npz"))).feed


def push_feed(stream, feed, stamp_ns):
    assert stream.push("camera", feed["image"], stamp_ns) and stream.push("state", feed["state"], stamp_ns)


def test_a_model_is_loaded_then_ready_then_closed(tiny_bundle, feed):
    model = edgefuse.load(tiny_bundle)
    health = model.health()
    assert (health.state, health.calls, health.latency, health.last_error) == ("ready", 0, None, None)
    for _ in range(30):
        model(feed)
    health = model.health()
    assert health.calls == 30 and 0 < health.latency.p50_ms <= health.latency.p90_ms <= health.latency.max_ms
    assert json.loads(json.dumps(health.to_json()))["latency"]["of"] == 30
    stream = model.stream()
    model.close()
    model.close()
    assert model.health().state == "closed" and stream.health().state == "closed"
    with pytest.raises(ToolchainError, match="closed"):
        stream.step(0)
    with pytest.raises(ToolchainError, match="closed"):
        model.stream()


def test_a_stream_answers_like_a_call(tiny_bundle, feed):
    with edgefuse.load(tiny_bundle) as model:
        stream = model.stream({"camera": {"max_age_ms": 100}})
        assert stream.step(0).status == "waiting"
        push_feed(stream, feed, 10 * MS)
        result = stream.step(11 * MS)
        assert np.allclose(result["logits"], model(feed)["logits"], atol=0.05) and result.ok
        assert stream.step(200 * MS).status == "stale"
        assert model.health().sessions == (stream.health(),)
        with pytest.raises(StreamError, match="camera is 190 ms old"):
            stream.step(200 * MS)["logits"]


def test_the_whole_graph_is_the_only_part_of_a_bundle_without_parts(tiny_bundle, feed, tmp_path):
    folder = shutil.copytree(tiny_bundle, tmp_path / "whole.edgefuse")
    manifest = json.loads((folder / "manifest.json").read_text())
    for part in manifest["artifact"]["parts"]:
        shutil.rmtree(folder / part["path"])
    manifest["artifact"] |= {"parts": [], "lanes": [], "calls": "whole"}
    write_manifest(folder, manifest)
    with edgefuse.load(folder) as model:
        stream = model.stream()
        push_feed(stream, feed, 10 * MS)
        result = stream.step(11 * MS)
        assert result.ran == ("whole",) and np.array_equal(result["logits"], model(feed)["logits"])
        assert stream.step(12 * MS).ran == (), "nothing new, nothing to do"
        assert stream.step(13 * MS, 13 * MS).ok


def test_two_streams_of_one_model_do_not_share_data(tiny_bundle, feed):
    with edgefuse.load(tiny_bundle) as model:
        one, other = model.stream(), model.stream()
        push_feed(one, feed, 10 * MS)
        assert one.step(11 * MS).ok and other.step(11 * MS).status == "waiting"


def test_a_second_load_does_the_first_no_harm(tiny_bundle, feed):
    with edgefuse.load(tiny_bundle) as first:
        expected = first(feed)["logits"]
        edgefuse.load(tiny_bundle).close()
        assert np.array_equal(first(feed)["logits"], expected)


def test_a_failing_run_makes_the_model_degraded_until_one_succeeds(tiny_bundle, feed):
    with FakeModel(tiny_bundle) as model:
        model.fail_next(ToolchainError("the device is gone"))
        with pytest.raises(ToolchainError):
            model(feed)
        health = model.health()
        assert (health.state, health.errors, health.last_error) == ("degraded", 1, "ToolchainError: the device is gone")
        stream = model.stream()
        push_feed(stream, feed, 10 * MS)
        assert stream.step(11 * MS).ok and model.health().state == "ready"


def in_a_fork(work):
    """What *work* answers in a forked child; fails where it has not come back in 20 s."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = str(work())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    try:
        for _ in range(400):
            if os.waitpid(pid, os.WNOHANG)[0]:
                return os.read(reader, 4096).decode()
            time.sleep(0.05)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        pytest.fail("the child hangs")
    finally:
        os.close(reader)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_is_told_that_the_model_is_its_parents_and_does_it_no_harm(tiny_bundle, feed, tmp_path):
    pack(tiny_bundle, tmp_path / "tiny.zip")
    model = edgefuse.load(tmp_path / "tiny.zip")
    stream, stop = model.stream(), threading.Event()
    push_feed(stream, feed, 10 * MS)
    expected = stream.step(11 * MS)["logits"]

    def call_all_the_time():
        while not stop.is_set():
            model(feed)

    busy = threading.Thread(target=call_all_the_time)
    busy.start()
    try:
        for work in (lambda: model(feed), lambda: stream.step(12 * MS), model.stream, model.warm_up):
            assert "is a fork" in in_a_fork(work)
        assert "reason='closed'" in in_a_fork(lambda: stream.push("camera", feed["image"], 13 * MS))
        with stream._lock:  # as in the middle of a step
            assert "is a fork" in in_a_fork(stream.reset)
        assert in_a_fork(model.close) == "None"
    finally:
        stop.set()
        busy.join()
    push_feed(stream, feed, 20 * MS)
    assert np.array_equal(stream.step(21 * MS)["logits"], expected)
    unpacked = model._bundle.path
    assert unpacked.exists(), "a child that ends does not take the parent's unpacked files along"
    model.close()
    assert not unpacked.exists()


def test_calls_and_steps_from_several_threads_stay_apart(tiny_bundle):
    samples = list(read_golden(tiny_bundle / "golden.npz"))[:8]
    wrong = []
    with edgefuse.load(tiny_bundle) as model:
        expected = [model(sample.feed)["logits"] for sample in samples]
        steps = []
        for sample in samples:
            stream = model.stream()
            push_feed(stream, sample.feed, MS)
            steps.append(stream.step(MS)["logits"])

        def call(index):
            for _ in range(100):
                if not np.array_equal(model(samples[index].feed)["logits"], expected[index]):
                    wrong.append(index)

        def step(index):
            stream = model.stream()
            for stamp in range(1, 100):
                push_feed(stream, samples[index].feed, stamp * MS)
                if not np.array_equal(stream.step(stamp * MS)["logits"], steps[index]):
                    wrong.append(index)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4) for work in (call, step)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
