"""A ROS 2 node around a bundle.   python3 fusion_node.py --ros-args --params-file fusion_node.yaml

NOT RUN YET: there was no ROS 2 where this was written. Written against the documentation and sources of rclpy of Humble
and Jazzy. What was checked: conversions.py, with messages that have the field names of both (of the package rosbags);
this file's logic, with a stand-in for the few calls of rclpy that it makes. What was not: rclpy itself, the middleware,
QoS between real nodes, timing. Please report what does not work.

Parameters (see fusion_node.yaml)
    bundle                     path of a compiled bundle
    rate_hz                    steps per second (20)
    deadline_ms                time that a step has (one period)
    streams.NAME.topic         of each stream of the bundle (its name)
    streams.NAME.type          image: sensor_msgs/Image; imu: sensor_msgs/Imu; array: std_msgs/Float32MultiArray
                               (by the input's modality)
    streams.NAME.policy.KEY    max_age_ms, on_stale, kind …: any key of a stream's policy

Publishes every output on ~/OUTPUT (std_msgs/Float32MultiArray), only where a step has an answer: when a sensor is lost
there is silence, so whoever drives the robot must stop when nothing comes. /diagnostics says why, once a second.

Time. One clock: stamps are header.stamp, the step's time is the node's clock.
  * use_sim_time:=true: both are /clock's, and nothing else changes. The timer then ticks in simulated time. Before the
    first /clock the time is 0: steps are "waiting", and deliveries with later stamps are counted as "dropped: future".
  * deadline_ms is compared with how long the parts really take: at twice the speed half a period of simulated time is
    all a step has, so set it yourself. model.stream(…, timing="estimated") makes a replay the same on every machine.
  * The clock jumps back by more than a second (a bag that loops, a simulator that was reset): step() notices, forgets
    what is from the future and the model's state, and counts "clock restarted"; the streams begin anew with the first
    stamp that lies back by more than reset_after_ms. By less: time stands still until it has caught up (NTP).
  * The clock jumps forward: whatever is held is old at once, so that streams are "stale" until they deliver. Right so.
    No jump callback is needed for any of this; where an episode ends without a jump, call stream.reset().
"""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from conversions import ConversionError, diagnose, image_to_array, imu_to_array, multi_array_to_array, stamp_ns
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, Imu
from std_msgs.msg import Float32MultiArray, MultiArrayDimension

import edgefuse
from edgefuse.spec import TensorSpec
from edgefuse.stream import StepResult, StreamPolicy

TYPES = {"image": Image, "imu": Imu, "array": Float32MultiArray}
TYPE_OF_MODALITY = {"image": "image", "depth": "image", "imu": "imu"}


class FusionNode(Node):
    def __init__(self) -> None:
        # Declared from what was given, because the names depend on the bundle.
        super().__init__("fusion", automatically_declare_parameters_from_overrides=True)
        self.model = edgefuse.load(self._parameter("bundle", ""))
        policies = self.model.policies({name: self._policy(name) for name in self.model.policies()})
        self.stream = self.model.stream(policies)
        rate_hz = float(self._parameter("rate_hz", 20.0))
        self._deadline_ns = round(float(self._parameter("deadline_ms", 1e3 / rate_hz)) * 1e6)
        self._unreadable: Counter[str] = Counter()
        self._result: StepResult | None = None
        # Deliveries in one group and steps in another: with two threads a push never waits for the model, and one
        # sensor's messages stay in order (a ReentrantCallbackGroup would let them overtake each other).
        sensors, steps = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        for name, policy in policies.items():
            self._subscribe(name, policy, sensors)
        self._outputs = {
            name: self.create_publisher(Float32MultiArray, f"~/{name}", 1) for name in self.model.spec.outputs
        }
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0 / rate_hz, self.step, callback_group=steps)  # by the node's clock: simulated, if it is
        # By a clock that a paused simulation does not stop.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self.publish_diagnostics, callback_group=steps, clock=steady)

    def _parameter(self, name: str, default: Any) -> Any:
        return self.get_parameter(name).value if self.has_parameter(name) else default

    def _policy(self, name: str) -> dict[str, Any]:
        return {key: found.value for key, found in self.get_parameters_by_prefix(f"streams.{name}.policy").items()}

    def _subscribe(self, name: str, policy: StreamPolicy, group: MutuallyExclusiveCallbackGroup) -> None:
        inputs = [item for item in self.model.spec.inputs if (item.stream or item.name) == name]
        if len(inputs) > 1:
            names = ", ".join(item.name for item in inputs)
            raise NotImplementedError(f"the stream {name} delivers {names} together: join them in a callback of yours")
        kind = self._parameter(f"streams.{name}.type", TYPE_OF_MODALITY.get(str(inputs[0].modality), "array"))
        # SensorDataQoS: best effort, the last five. What is latched (a goal) comes once, perhaps before this node is
        # there, so it is asked for again; its publisher must be TRANSIENT_LOCAL, too, or nothing will ever come.
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(
            TYPES[kind],
            self._parameter(f"streams.{name}.topic", name),
            self._receiver(name, inputs[0], policy, kind),
            latched if policy.kind == "latched" else qos_profile_sensor_data,
            callback_group=group,
        )

    def _receiver(self, name: str, item: TensorSpec, policy: StreamPolicy, kind: str) -> Callable[[Any], None]:
        def receive(message: Any) -> None:
            try:
                if kind == "image":
                    found, stamp = image_to_array(message, item), stamp_ns(message.header.stamp)
                elif kind == "imu":
                    found, stamp = imu_to_array(message, item), stamp_ns(message.header.stamp)
                else:  # has no header, so it is as of now: prefer a message of your own that has one
                    found, stamp = multi_array_to_array(message, item, policy), self.get_clock().now().nanoseconds
            except ConversionError as error:
                self._unreadable[name] += 1
                self.get_logger().warning(f"{name}: {error}", throttle_duration_sec=5.0)
                return
            pushed = self.stream.push(name, found, stamp)
            if not pushed:  # counted in /diagnostics
                self.get_logger().warning(pushed.detail, throttle_duration_sec=5.0)

        return receive

    def step(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        try:
            self._result = result = self.stream.step(now_ns, deadline_ns=now_ns + self._deadline_ns)
        except edgefuse.EdgeFuseError as error:  # health says "degraded"; the next step computes everything anew
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        if result.ok:
            for name, publisher in self._outputs.items():
                publisher.publish(to_message(name, result[name]))
        elif result.status != "waiting":
            self.get_logger().warning(f"{result.status}: {result.reason}", throttle_duration_sec=1.0)

    def publish_diagnostics(self) -> None:
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        for finding in diagnose(self.get_name(), self.model.health(), self._result, self._unreadable):
            message.status.append(
                DiagnosticStatus(
                    level=getattr(DiagnosticStatus, finding.level),
                    name=finding.name,
                    message=finding.message,
                    hardware_id=self.model.name,
                    values=[KeyValue(key=key, value=value) for key, value in finding.values.items()],
                )
            )
        self._diagnostics.publish(message)


def to_message(name: str, output: np.ndarray) -> Float32MultiArray:
    """With its shape in the layout."""
    message = Float32MultiArray()
    for index, size in enumerate(output.shape):
        stride = int(np.prod(output.shape[index:]))
        message.layout.dim.append(MultiArrayDimension(label=f"{name}.{index}", size=size, stride=stride))
    # array.array is what rclpy takes without looking at every number.
    message.data = array.array("f", np.ascontiguousarray(output, np.float32).tobytes())
    return message


def main() -> None:
    rclpy.init()
    node = FusionNode()
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.shutdown()  # waits for callbacks that run
        node.model.close()
        node.destroy_node()
        if rclpy.ok():
            rclpy.shutdown()


if __name__ == "__main__":
    main()
