"""Stands for the robot's sensors: publishes every stream of a bundle at its declared rate.

    python sensors.py rover.edgefuse --connect tcp/127.0.0.1:7447

The data are the bundle's golden samples, another one each second, so that the answers mean something. No engine is
loaded: this runs on any machine that has the bundle.
"""

from __future__ import annotations

import argparse
import threading
import time
from itertools import islice
from typing import Any

import node
import numpy as np
import wire
import zenoh
from numpy.typing import NDArray

import edgefuse
from edgefuse.spec import TensorSpec
from edgefuse.stream import StreamPolicy
from edgefuse.testing import FakeModel

SAMPLES = 32
DEFAULT_HZ = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish a bundle's streams from its golden samples.")
    node.add_options(parser)
    parser.add_argument("--connect", action="append", help=f"endpoint of the fusion node ({node.ENDPOINT}); repeatable")
    args, stop = parser.parse_args(), node.stop_on_signals()
    try:
        with FakeModel(args.bundle) as model:
            feeds = [sample.feed for sample in islice(model.golden(), SAMPLES)]
            inputs, policies = model.spec.inputs, model.policies()
    except edgefuse.EdgeFuseError as error:
        parser.exit(error.exit_code, f"{error}\n")
    with node.open_session(listen=[], connect=args.connect or [node.ENDPOINT]) as session:
        threads = []
        for name, policy in policies.items():
            own = [item for item in inputs if (item.stream or item.name) == name]
            # A subscriber that is too slow loses messages; it never holds the driver up.
            publisher = session.declare_publisher(
                wire.sensor_key(args.prefix, name), congestion_control=zenoh.CongestionControl.DROP, express=True
            )
            sensor = Sensor(publisher, own, policy, feeds)
            threads.append(threading.Thread(target=sensor.run, args=(stop, args.seconds)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Sensor:
    """A driver of one stream: here it would wait for its device."""

    def __init__(
        self,
        publisher: zenoh.Publisher,
        inputs: list[TensorSpec],
        policy: StreamPolicy,
        feeds: list[dict[str, NDArray[Any]]],
    ) -> None:
        self._publisher, self._inputs, self._policy, self._feeds = publisher, inputs, policy, feeds
        self._rate_hz = max((item.rate_hz or 0.0 for item in inputs), default=0.0) or DEFAULT_HZ
        self._position = 0

    def run(self, stop: threading.Event, seconds: float) -> None:
        for tick in node.ticks(self._rate_hz, stop, seconds):
            stamp_ns = time.time_ns()  # the exposure's time, by the clock that all machines share
            feed = self._feeds[int(tick / self._rate_hz) % len(self._feeds)]
            payload, attachment = wire.encode(
                {item.name: self._delivery(feed[item.name]) for item in self._inputs}, stamp_ns=stamp_ns
            )
            self._publisher.put(payload, attachment=attachment)

    def _delivery(self, array: NDArray[Any]) -> NDArray[Any]:
        """The whole array; of a window the samples since the last delivery."""
        if self._policy.kind != "window":
            return array
        count = max(round((self._policy.sample_hz or self._rate_hz) / self._rate_hz), 1)
        first, self._position = self._position, self._position + count
        return np.take(array, range(first, first + count), axis=self._policy.axis, mode="wrap")


if __name__ == "__main__":
    main()
