"""examples/*.py really run; of examples/ros2, which needs ROS 2, what can be run without it."""

from __future__ import annotations

import array
import ast
import importlib.util
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgefuse.spec import TensorSpec
from edgefuse.stream import StreamPolicy
from edgefuse.testing import FakeModel
from tests.stream import robots

EXAMPLES = Path(__file__).parents[2] / "examples"
CONTROL_LOOP = EXAMPLES / "control_loop.py"
MS = 1_000_000


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CONTROL_LOOP), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- control_loop.py


def test_the_control_loop_steps_prints_and_ends(tiny_bundle):
    found = run(tiny_bundle, "--seconds", "2", "--rate", "20")
    assert (found.returncode, found.stderr) == (0, "")
    *lines, health = found.stdout.splitlines()
    assert len(lines) == 2 and lines[0].startswith(("waiting STOP", "ok ")) and lines[1].startswith(("ok ", "stale "))
    steps = {name: int(count) for name, count in re.findall(r"'(\w+)': (\d+)", health.split("streams=")[0])}
    assert steps["ok"] >= 5, "on a very busy machine some are left out, and some are stale"
    assert sum(steps.values()) <= 41 + steps.get("late", 0)
    assert "dropped" not in health


def test_the_control_loop_ends_well_on_ctrl_c(tiny_bundle):
    command = [sys.executable, str(CONTROL_LOOP), str(tiny_bundle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "") and "StreamHealth" in out


def test_the_control_loop_says_what_is_wrong_with_the_bundle(tmp_path):
    found = run(tmp_path / "none.edgefuse")
    assert found.returncode == 4 and "there is no such bundle" in found.stderr and "Traceback" not in found.stderr


def test_the_control_loop_is_short_enough_to_copy():
    text = CONTROL_LOOP.read_text(encoding="utf-8")
    assert sum(bool(line.strip()) for line in text.splitlines()) < 75


class Clock:
    """Stands for ``time`` and for the event that ends the loop: waiting is what makes time pass."""

    def __init__(self) -> None:
        self.now_ns, self.waits = 1_000_000_000, []

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> bool:
        self.now_ns += round(seconds * 1e9)
        return False


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Clock]:
    module, clock = load(CONTROL_LOOP), Clock()
    monkeypatch.setattr(module, "time", clock)
    return module, clock


def test_the_timer_does_not_drift(loop):
    module, clock = loop
    first_ns = clock.now_ns
    for tick in module.ticks(30, clock, seconds=100):
        assert abs(clock.now_ns - first_ns - tick * 1e9 / 30) < 1000
        clock.now_ns += 20 * MS
    assert tick == 2999


def test_ticks_that_were_missed_are_not_made_up_for(loop):
    module, clock = loop
    seen = []
    for tick in module.ticks(10, clock, seconds=1):
        seen.append(tick)
        clock.now_ns += 350 * MS if tick == 2 else MS
    assert seen == [0, 1, 2, 5, 6, 7, 8, 9]


def test_the_robot_stops_when_a_sensor_is_lost(loop, tiny_bundle, capsys):
    module, clock = loop
    policy = {"camera": {"max_age_ms": 1500}, "state": {"on_stale": "hold"}}
    with FakeModel(tiny_bundle) as model, model.stream(policy) as stream:
        module.control(stream, 1.0, 1, clock)
        feed = next(iter(model.golden())).feed
        assert stream.push("camera", feed["image"], clock.now_ns) and stream.push("state", feed["state"], clock.now_ns)
        module.control(stream, 1.0, 4, clock)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["waiting", "ok", "ok", "stale", "stale"]
    assert [("STOP" in line) for line in lines] == [True, False, False, True, True]


@pytest.mark.parametrize("sample_hz", [None, 200.0])
def test_the_made_up_sensors_fit_any_bundle(loop, sample_hz):
    """Windows, one sample or several at a time, sensors with several inputs, and data that are latched."""
    module, clock = loop
    policy = {"imu": {"kind": "window", **({"sample_hz": sample_hz} if sample_hz else {})}, "goal": {"kind": "latched"}}
    policy |= {"camera": {"on_stale": "hold"}, "lidar": {"on_stale": "hold"}}  # here they deliver one after the other
    stream = robots.session(policy)
    for name in stream.streams:
        module.sensor(stream, name, Limited(clock, 40))
    counts = stream.health().streams
    assert {name: found.get("accepted") for name, found in counts.items()} == dict.fromkeys(counts, 40)
    assert stream.step(clock.now_ns).ok


class Limited:
    """An event that is set after *ticks*."""

    def __init__(self, clock: Clock, ticks: int) -> None:
        self._clock, self._left = clock, ticks

    def wait(self, seconds: float) -> bool:
        self._left -= 1
        return self._left < 0 or self._clock.wait(seconds)


# -- the folder


def test_every_example_compiles_and_is_in_the_table():
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path))
    for path in (*EXAMPLES.glob("*.py"), *(folder for folder in EXAMPLES.iterdir() if folder.is_dir())):
        if path.name != "__pycache__":
            assert f"]({path.name})" in table, path.name
    for page in EXAMPLES.rglob("README.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), (page, target)


# -- ros2: conversions, with messages that have the fields of Humble's and Jazzy's


@pytest.fixture(params=["ROS2_HUMBLE", "ROS2_JAZZY"])
def messages(request: pytest.FixtureRequest) -> Any:
    """A function: ``messages("sensor_msgs/msg/Image", height=2, …)``; what is not given is zero or empty."""
    typesys = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")
    return Messages(typesys.get_typestore(typesys.Stores[request.param]))


class Messages:
    def __init__(self, store: Any) -> None:
        self.store = store

    def __call__(self, name: str, /, **given: Any) -> Any:
        fields = dict(self.store.fielddefs[name][1])
        assert given.keys() <= fields.keys(), f"{name} has no {given.keys() - fields.keys()}"
        values = {key: given[key] if key in given else self._default(kind) for key, kind in fields.items()}
        return self.store.types[name](**values)

    def _default(self, kind: Any) -> Any:
        what, detail = kind[0].name, kind[1]
        if what == "NAME":
            return self(detail)
        if what == "BASE":
            return {"string": "", "bool": False}.get(detail[0], 0)
        return []


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(EXAMPLES / "ros2"))
    import conversions

    yield conversions
    del sys.modules["conversions"]


def image(messages: Messages, pixels: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> Any:
    """A message with *padding* bytes behind each row; as rclpy has them, its data are an ``array.array``."""
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return messages(
        "sensor_msgs/msg/Image",
        height=len(pixels),
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big),
        step=rows.shape[1],
        data=array.array("B", rows.tobytes()),
    )


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
@pytest.mark.parametrize("padding", [0, 5])
def test_a_colour_image_becomes_rgb_in_the_layout_and_type_of_the_input(messages, conversions, encoding, padding):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    sent = rgb[:, :, ::-1] if encoding.startswith("bgr") else rgb
    if len(encoding) == 5:
        sent = np.concatenate([sent, np.full((4, 6, 1), 9, np.uint8)], axis=2)
    message = image(messages, sent, encoding, padding)
    found = conversions.image_to_array(message, TensorSpec("image", (1, 3, 4, 6)))
    assert found.dtype == np.float32 and found.shape == (1, 3, 4, 6)
    np.testing.assert_allclose(found[0], rgb.transpose(2, 0, 1) / np.float32(255), rtol=1e-6)
    found = conversions.image_to_array(message, TensorSpec("image", (1, 4, 6, 3), "uint8"))
    np.testing.assert_array_equal(found[0], rgb)


@pytest.mark.parametrize("big", [False, True])
def test_depth_in_millimetres_becomes_metres(messages, conversions, big):
    millimetres = np.array([[1500, 0], [65535, 1]], ">u2" if big else "<u2")
    found = conversions.image_to_array(
        image(messages, millimetres[:, :, None], "16UC1", big=big), TensorSpec("depth", (1, 1, 2, 2))
    )
    np.testing.assert_allclose(found[0, 0], [[1.5, 0], [65.535, 0.001]], rtol=1e-6)


def test_depth_in_metres_stays(messages, conversions):
    metres = np.array([[[0.5], [2.0]]], np.float32)
    found = conversions.image_to_array(image(messages, metres, "32FC1"), TensorSpec("depth", (1, 1, 1, 2)))
    np.testing.assert_array_equal(found, [[[[0.5, 2.0]]]])


def test_an_image_that_lies_about_itself_is_an_error_that_says_so(messages, conversions):
    item, good = TensorSpec("image", (1, 3, 4, 6)), np.zeros((4, 6, 3), np.uint8)
    with pytest.raises(conversions.ConversionError, match="bayer_rggb8"):
        conversions.image_to_array(image(messages, good, "bayer_rggb8"), item)
    short = image(messages, good, "rgb8")
    short.data = short.data[:-1]
    with pytest.raises(conversions.ConversionError, match="71 bytes"):
        conversions.image_to_array(short, item)
    narrow = image(messages, good, "rgb8")
    narrow.width = 7
    with pytest.raises(conversions.ConversionError, match="step 18"):
        conversions.image_to_array(narrow, item)


def imu(messages: Messages, **given: Any) -> Any:
    gyro, acceleration = (messages("geometry_msgs/msg/Vector3", x=n + 1.0, y=n + 2.0, z=n + 3.0) for n in (0, 3))
    return messages("sensor_msgs/msg/Imu", angular_velocity=gyro, linear_acceleration=acceleration, **given)


def test_an_imu_message_is_one_sample_of_a_window_or_a_whole_input(messages, conversions):
    sample = conversions.imu_to_array(imu(messages), TensorSpec("imu", (1, 100, 6)))
    np.testing.assert_array_equal(sample, np.arange(1, 7, dtype=np.float32))
    assert conversions.imu_to_array(imu(messages), TensorSpec("imu", (1, 6))).shape == (1, 6)


def test_a_multi_array_takes_its_layouts_shape_or_the_inputs(messages, conversions):
    def message(count: int, *sizes: int) -> Any:
        dims = [messages("std_msgs/msg/MultiArrayDimension", size=size) for size in sizes]
        layout = messages("std_msgs/msg/MultiArrayLayout", dim=dims)
        data = array.array("f", range(count))
        return messages("std_msgs/msg/Float32MultiArray", layout=layout, data=data)

    latest, window = StreamPolicy(), StreamPolicy(kind="window", axis=2)
    item = TensorSpec("points", (1, 3, 8))
    assert conversions.multi_array_to_array(message(24), item, latest).shape == (1, 3, 8)
    assert conversions.multi_array_to_array(message(6, 1, 3, 2), item, latest).shape == (1, 3, 2)  # push will refuse it
    found = conversions.multi_array_to_array(message(6), item, window)  # two samples of three numbers, in turn
    np.testing.assert_array_equal(found, [[[0, 3], [1, 4], [2, 5]]])
    words = TensorSpec("words", (1, 3), "int64")
    assert conversions.multi_array_to_array(message(3), words, latest).dtype == np.int64
    for wrong, policy in ((message(23), latest), (message(6, 2, 4), latest), (message(7), window)):
        with pytest.raises(conversions.ConversionError, match="do not fill"):
            conversions.multi_array_to_array(wrong, item, policy)


def test_stamps_are_exact(messages, conversions):
    stamp = messages("builtin_interfaces/msg/Time", sec=1_700_000_000, nanosec=123_456_789)
    assert conversions.stamp_ns(stamp) == 1_700_000_000_123_456_789


# -- ros2: the node's own logic, against a stand-in for the calls of rclpy that it makes


class Ros:
    """A few of rclpy's names, with the signatures that its documentation gives for Humble and Jazzy."""

    def __init__(self, messages: Messages, parameters: dict[str, Any]) -> None:
        self.messages, self.parameters, self.now_ns = messages, parameters, 0
        self.subscriptions: dict[str, tuple[Any, Any, Any]] = {}
        self.published: dict[str, list[Any]] = {}
        self.timers: list[Any] = []
        self.logged: list[str] = []

    def message(self, name: str) -> Any:
        store = self.messages.store
        constants = {key: bytes([value]) for key, _, value in store.fielddefs[name][0]}
        return type(
            name.rpartition("/")[2], (), {**constants, "__new__": lambda cls, **given: self.messages(name, **given)}
        )

    def modules(self) -> dict[str, ModuleType]:
        ros = self

        class Node:
            def __init__(self, name: str, *, automatically_declare_parameters_from_overrides: bool = False) -> None:
                assert automatically_declare_parameters_from_overrides
                self._name = name

            def get_name(self) -> str:
                return self._name

            def has_parameter(self, name: str) -> bool:
                return name in ros.parameters

            def get_parameter(self, name: str) -> Any:
                return SimpleNamespace(value=ros.parameters[name])

            def get_parameters_by_prefix(self, prefix: str) -> dict[str, Any]:
                names = [name for name in ros.parameters if name.startswith(f"{prefix}.")]
                return {name.removeprefix(f"{prefix}."): self.get_parameter(name) for name in names}

            def get_clock(self) -> Any:
                return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=ros.now_ns, to_msg=self.to_msg))

            @staticmethod
            def to_msg() -> Any:
                return ros.messages("builtin_interfaces/msg/Time", sec=ros.now_ns // 10**9)

            def get_logger(self) -> Any:
                def log(message: str, *, throttle_duration_sec: float) -> None:
                    ros.logged.append(message)

                return SimpleNamespace(warning=log, error=log)

            def create_publisher(self, msg_type: Any, topic: str, qos_profile: Any) -> Any:
                return SimpleNamespace(publish=ros.published.setdefault(topic, []).append)

            def create_subscription(
                self, msg_type: Any, topic: str, callback: Any, qos_profile: Any, *, callback_group: Any = None
            ) -> None:
                ros.subscriptions[topic] = (msg_type, callback, qos_profile)

            def create_timer(
                self, timer_period_sec: float, callback: Any, callback_group: Any = None, clock: Any = None
            ) -> None:
                ros.timers.append((timer_period_sec, callback))

        def module(name: str, **members: Any) -> tuple[str, ModuleType]:
            found = ModuleType(name)
            vars(found).update(members)
            return name, found

        def package(name: str, *types: str) -> list[tuple[str, ModuleType]]:
            kinds = {kind: self.message(f"{name}/msg/{kind}") for kind in types}
            return [module(name), module(f"{name}.msg", **kinds)]

        return dict(
            [
                module("rclpy"),
                module("rclpy.callback_groups", MutuallyExclusiveCallbackGroup=object),
                module("rclpy.clock", Clock=lambda *, clock_type: clock_type, ClockType=SimpleNamespace(STEADY_TIME=3)),
                module("rclpy.executors", ExternalShutdownException=Exception, MultiThreadedExecutor=object),
                module("rclpy.node", Node=Node),
                module(
                    "rclpy.qos",
                    DurabilityPolicy=SimpleNamespace(TRANSIENT_LOCAL="transient local"),
                    QoSProfile=lambda *, depth, durability: (depth, durability),
                    qos_profile_sensor_data="sensor data",
                ),
                *package("diagnostic_msgs", "DiagnosticArray", "DiagnosticStatus", "KeyValue"),
                *package("sensor_msgs", "Image", "Imu"),
                *package("std_msgs", "Float32MultiArray", "MultiArrayDimension"),
            ]
        )


@pytest.fixture
def node(messages: Messages, conversions: Any, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    ros = Ros(
        messages,
        {
            "bundle": str(tiny_bundle),
            "rate_hz": 50.0,
            "streams.camera.topic": "/camera/image_raw",
            "streams.camera.policy.max_age_ms": 100.0,
            "streams.state.policy.kind": "latched",
        },
    )
    for name, module in ros.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    found = load(EXAMPLES / "ros2" / "fusion_node.py").FusionNode()
    found.ros = ros
    yield found
    found.model.close()


def test_the_ros_node_publishes_answers_and_says_why_there_are_none(node, messages):
    ros = node.ros
    assert [(period, callback.__name__) for period, callback in ros.timers] == [
        (0.02, "step"),
        (1.0, "publish_diagnostics"),
    ]
    (_, camera, camera_qos), (_, state, state_qos) = ros.subscriptions["/camera/image_raw"], ros.subscriptions["state"]
    assert camera_qos == "sensor data" and state_qos == (1, "transient local")

    def diagnostics() -> dict[str, tuple[bytes, str]]:
        node.publish_diagnostics()
        (message,) = ros.published["/diagnostics"][-1:]
        return {status.name: (status.level, status.message) for status in message.status}

    ros.now_ns = 1000 * MS
    assert diagnostics() == {"fusion: model": (b"\1", "no step yet")}
    node.step()
    assert not ros.published["~/logits"]
    assert diagnostics()["fusion: model"] == (b"\1", "no data yet from camera, state")

    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 1)).astype(np.uint8)
    header = messages("std_msgs/msg/Header", stamp=messages("builtin_interfaces/msg/Time", sec=1, nanosec=30 * MS))
    message = image(messages, pixels, "mono8")
    message.header = header
    camera(message)
    state(messages("std_msgs/msg/Float32MultiArray", data=array.array("f", range(6))))
    ros.now_ns = 1050 * MS
    node.step()
    (answer,) = ros.published["~/logits"]
    assert [(dim.label, dim.size, dim.stride) for dim in answer.layout.dim] == [("logits.0", 1, 4), ("logits.1", 4, 4)]
    feed = {
        "image": pixels.transpose(2, 0, 1)[None] / np.float32(255),
        "state": np.arange(6, dtype=np.float32)[None],
    }
    np.testing.assert_allclose(answer.data, node.model(feed)["logits"][0], atol=0.05)
    found = diagnostics()
    assert found["fusion: model"][0] in (b"\0", b"\1") and found["fusion: camera"] == (b"\0", "fresh")
    values = {item.key: item.value for item in ros.published["/diagnostics"][-1].status[1].values}
    assert values["age ms"] == "20.0" and values["accepted"] == "1" and values["unreadable messages"] == "0"

    message.encoding = "yuv422"
    camera(message)
    message.encoding = "mono8"
    camera(message)  # the same stamp again
    assert any("yuv422" in line for line in ros.logged) and any("not later" in line for line in ros.logged)
    ros.now_ns = 1200 * MS
    node.step()
    assert len(ros.published["~/logits"]) == 1, "silence where there is no answer"
    found = diagnostics()
    assert found["fusion: model"] == (b"\2", "camera is 170 ms old")
    assert found["fusion: camera"] == (b"\2", "held, too old") and found["fusion: state"] == (b"\0", "held")
    values = {item.key: item.value for item in ros.published["/diagnostics"][-1].status[1].values}
    assert values["unreadable messages"] == "1" and values["dropped: backwards"] == "1"


def test_the_ros_nodes_parameter_file_names_what_the_node_reads(node):
    """Every key of the file is one that the node knows, so that a copied file has no dead lines."""
    text = (EXAMPLES / "ros2" / "fusion_node.yaml").read_text(encoding="utf-8")
    source = (EXAMPLES / "ros2" / "fusion_node.py").read_text(encoding="utf-8")
    for key in ("bundle", "rate_hz", "deadline_ms"):
        assert f"{key}:" in text and f'"{key}"' in source
    policy_keys = {key for line in re.findall(r"policy: \{(.*)\}", text) for key in re.findall(r"(\w+):", line)}
    assert policy_keys and policy_keys <= set(StreamPolicy().to_json())
