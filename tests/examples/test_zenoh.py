"""examples/zenoh really run: two processes over loopback TCP, and this one, which looks on. Needs eclipse-zenoh."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefuse

zenoh = pytest.importorskip("zenoh", reason="eclipse-zenoh is not installed")

FOLDER = Path(__file__).parents[2] / "examples" / "zenoh"
PATIENCE_S = 20.0
"""For conditions that come true in a fraction of a second on an idle machine."""

MS = 1_000_000


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The modules ``node`` and ``wire``, imported as the two programs import them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import node
        import wire

        yield type("Example", (), {"node": node, "wire": wire})
        for name in ("node", "wire"):
            del sys.modules[name]


class Observer:
    """Everything that was published, and a way to wait for it."""

    def __init__(self, example: Any, session: Any, prefix: str) -> None:
        self.wire, self.session, self.prefix = example.wire, session, prefix
        self.sensors: dict[str, dict[int, dict[str, Any]]] = {}
        self.outputs: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.health: dict[str, Any] = {}
        self._changed = threading.Condition()
        session.declare_subscriber(f"{prefix}/**", self._receive)

    def _receive(self, sample: Any) -> None:
        kind, _, stream = str(sample.key_expr).removeprefix(f"{self.prefix}/").partition("/")
        payload, attachment = sample.payload.to_bytes(), sample.attachment
        with self._changed:
            if kind == "health":
                self.health = json.loads(payload)
            else:
                arrays, facts = self.wire.decode(payload, attachment.to_bytes())
                if kind == "output":
                    self.outputs.append((arrays, facts))
                else:
                    self.sensors.setdefault(stream, {})[facts["stamp_ns"]] = arrays
            self._changed.notify_all()

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), f"{what}: not within {PATIENCE_S:.0f} s"
            return condition()

    def wait_for_status(self, status: str) -> dict[str, Any]:
        """Facts of the first output from now on that has *status*."""
        first = len(self.outputs)
        return self.wait(
            status, lambda: next((facts for _, facts in self.outputs[first:] if facts["status"] == status), None)
        )

    def counts(self, stream: str) -> dict[str, int]:
        return self.health["sessions"][0]["streams"][stream] if self.health else {}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def robot(example: Any, tiny_bundle: Path) -> Iterator[tuple[Observer, Callable[[], subprocess.Popen[str]]]]:
    """A running fusion node that this process looks on to, and a way to start the sensors if they do not run."""
    node_at, observer_at = f"tcp/127.0.0.1:{free_port()}", f"tcp/127.0.0.1:{free_port()}"
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(FOLDER / program), str(tiny_bundle), "--prefix", "test", *options]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    with example.node.open_session([observer_at], []) as session:
        observer = Observer(example, session, "test")
        start("fusion_node.py", "--listen", node_at, "--connect", observer_at, "--rate", "25")

        def start_sensors() -> subprocess.Popen[str]:
            runs = len(started) > 1 and started[-1].poll() is None
            return started[-1] if runs else start("sensors.py", "--connect", node_at, "--connect", observer_at)

        try:
            yield observer, start_sensors
            ended = [_end(process) for process in started]
        finally:
            for process in started:
                process.kill()
                process.communicate()
    assert ended == [(0, "ready\n")] + [(0, "")] * (len(started) - 1)


def _end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what it wrote to stderr, after the signal that systemd sends."""
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, err


def test_a_robot_from_its_first_step_to_its_last(robot, tiny_bundle):
    """One story, because every start of a process costs a second."""
    observer, start_sensors = robot

    facts = observer.wait_for_status("waiting")
    assert facts["reason"] == "no data yet from camera, state"
    assert facts["streams"]["camera"] == {"source": "missing", "stamp_ns": None, "age_ms": None, "stale": False}

    sensors = start_sensors()
    facts = observer.wait_for_status("ok")
    for state in facts["streams"].values():
        assert state["source"] in ("fresh", "held")
        assert state["age_ms"] == pytest.approx(max(facts["now_ns"] - state["stamp_ns"], 0) / MS)
        assert state["age_ms"] <= 5 * 1000 / 30  # the default limit; a stale one would have no outputs
    assert facts["stamp_ns"] == min(state["stamp_ns"] for state in facts["streams"].values())
    assert_outputs_are_the_bundles(observer, tiny_bundle)

    # A sensor that is lost, and comes back.
    sensors.send_signal(signal.SIGINT)
    assert sensors.wait(PATIENCE_S) == 0
    assert "ms old" in observer.wait_for_status("stale")["reason"]
    assert not observer.outputs[-1][0], "a stale step has no outputs"
    accepted = observer.wait("health", lambda: observer.counts("camera").get("accepted"))
    start_sensors()
    observer.wait_for_status("ok")
    observer.wait("the camera is counted on", lambda: observer.counts("camera").get("accepted", 0) > accepted)


def test_what_is_not_a_delivery_is_counted_and_stops_nothing(robot, example):
    observer, _ = robot
    key, wire = example.wire.sensor_key("test", "camera"), example.wire
    image = np.zeros((1, 1, 8, 8), np.float32)
    for attachment in (b"not json", b'{"arrays": []}', wire.encode({"image": image})[1]):
        observer.session.put(key, b"not an array", attachment=attachment)
    observer.session.put(key, b"no attachment")
    observer.wait("malformed", lambda: observer.health.get("malformed") == {"camera": 4})
    assert observer.health["last_malformed"].startswith("camera: ")

    payload, attachment = wire.encode({"image": image[:, :, :4]}, stamp_ns=time.time_ns())
    observer.session.put(key, payload, attachment=attachment)
    observer.wait("the wrong shape", lambda: observer.counts("camera").get("dropped: shape") == 1)


def test_stamps_that_jump_back_are_a_driver_that_starts_again(robot, example):
    observer, start_sensors = robot
    start_sensors()
    observer.wait_for_status("ok")
    payload, attachment = example.wire.encode(
        {"image": np.zeros((1, 1, 8, 8), np.float32)}, stamp_ns=time.time_ns() - 5000 * MS
    )
    observer.session.put(example.wire.sensor_key("test", "camera"), payload, attachment=attachment)
    observer.wait("restarts", lambda: observer.counts("camera").get("restarts"))
    observer.wait_for_status("ok")


def assert_outputs_are_the_bundles(observer: Observer, bundle: Path) -> None:
    """A published answer equals, bit for bit, a step of the bundle's own stream on the very messages; and the model
    called with them, as far as the bundle's split equals its whole."""

    def complete() -> Any:
        for arrays, facts in reversed(observer.outputs):
            found = {
                name: observer.sensors.get(name, {}).get(state["stamp_ns"]) for name, state in facts["streams"].items()
            }
            if arrays and all(found.values()):
                return arrays, found
        return None

    outputs, deliveries = observer.wait("an answer whose messages were seen", complete)
    with edgefuse.load(bundle, cache=False) as model:
        with model.stream() as stream:
            for name, arrays in deliveries.items():
                assert stream.push(name, arrays, stamp_ns=1)
            np.testing.assert_array_equal(outputs["logits"], stream.step(now_ns=1)["logits"])
        feed = {name: array for arrays in deliveries.values() for name, array in arrays.items()}
        np.testing.assert_allclose(outputs["logits"], model(feed)["logits"], atol=0.05)


@pytest.mark.parametrize(
    "described",
    [
        None,
        {},
        {"name": "x", "dtype": "object", "shape": [1]},
        {"name": "x", "dtype": ["float32"], "shape": [1]},
        {"name": 1, "dtype": "float32", "shape": [1]},
        {"name": "x", "dtype": "float32", "shape": [-1]},
        {"name": "x", "dtype": "float32", "shape": [True]},
        {"name": "x", "dtype": "float32", "shape": [1.0]},
        {"name": "x", "dtype": "float32", "shape": [2**62, 2**62]},
        {"name": "x", "dtype": "float32", "shape": [2]},
        {"name": "x", "dtype": "uint8", "shape": []},
        {"name": "x", "dtype": "uint8", "shape": [0] * 40},
    ],
)
def test_no_message_makes_the_reader_raise_anything_but_a_wire_error(example, described):
    with pytest.raises(example.wire.WireError):
        example.wire.decode(b"1234", json.dumps({"arrays": [described]}).encode())


@pytest.mark.parametrize("attachment", [None, b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"arrays": 1}'])
def test_no_attachment_makes_the_reader_raise_anything_but_a_wire_error(example, attachment):
    with pytest.raises(example.wire.WireError):
        example.wire.decode(b"", attachment)


def test_what_is_written_is_read(example):
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(1, 2, 3).transpose(0, 2, 1),
        "b": np.array([True, False]),
        "c": np.float16(2).reshape(()),
        "none": np.zeros((0, 3), np.int64),
    }
    found, facts = example.wire.decode(*example.wire.encode(arrays, stamp_ns=7))
    assert example.wire.stamp_of(facts) == 7 and found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
