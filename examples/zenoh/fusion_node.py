"""The robot's fusion process: subscribes to every stream of a bundle, steps on a timer, publishes the answers.

    python fusion_node.py rover.edgefuse --listen tcp/127.0.0.1:7447 --rate 20

Keys, below --prefix:  sensor/STREAM in;  output, on every step, and health, once a second, out. An output message
without arrays is a step without an answer: its status says why, and whoever drives the robot should stop.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter

import node
import wire
import zenoh

import edgefuse
from edgefuse.stream import Session, StepResult

MS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Subscribe, step on a timer, publish.")
    node.add_options(parser)
    parser.add_argument("--listen", action="append", help=f"endpoint ({node.ENDPOINT}); repeatable")
    parser.add_argument("--connect", action="append", default=[], help="endpoint of another peer; repeatable")
    parser.add_argument("--rate", type=float, default=20.0, help="steps per second (20)")
    args, stop = parser.parse_args(), node.stop_on_signals()
    try:
        with edgefuse.load(args.bundle, parts=True) as model:
            stream = model.stream()
            with node.open_session(args.listen or [node.ENDPOINT], args.connect) as session:
                fusion = FusionNode(model, stream, session, args.prefix)
                print("ready", file=sys.stderr, flush=True)
                for tick in node.ticks(args.rate, stop, args.seconds):
                    fusion.step(period_ns=round(1e9 / args.rate))
                    if tick % max(round(args.rate), 1) == 0:
                        fusion.publish_health()
    except edgefuse.EdgeFuseError as error:
        parser.exit(error.exit_code, f"{error}\n")


class FusionNode:
    def __init__(self, model: edgefuse.Model, stream: Session, session: zenoh.Session, prefix: str) -> None:
        self._model, self._stream = model, stream
        self.malformed: Counter[str] = Counter()
        self._last_malformed = ""
        # Answers that nobody takes are dropped, too: the next one is better.
        drop = zenoh.CongestionControl.DROP
        self._output = session.declare_publisher(wire.output_key(prefix), congestion_control=drop, express=True)
        self._health = session.declare_publisher(wire.health_key(prefix), congestion_control=drop)
        for name in stream.streams:
            session.declare_subscriber(wire.sensor_key(prefix, name), self._receiver(name))

    def _receiver(self, name: str):
        """What Zenoh's thread calls for each message of the stream *name*: checks and copies, a few microseconds. An
        exception here would be printed by Zenoh and forgotten, so everything that can go wrong is counted instead: a
        message that is none here, a delivery that does not fit the model by ``push``."""

        def receive(sample: zenoh.Sample) -> None:
            attachment = sample.attachment
            try:
                arrays, facts = wire.decode(sample.payload.to_bytes(), attachment.to_bytes() if attachment else None)
                stamp_ns = wire.stamp_of(facts)
            except wire.WireError as error:
                self.malformed[name] += 1
                self._last_malformed = f"{name}: {error}"
            else:
                self._stream.push(name, arrays, stamp_ns)

        return receive

    def step(self, period_ns: int) -> None:
        # Sensors stamp with the shared clock, so the step's time is by the same one. When it is set back, or a driver
        # starts again with older stamps, the stream notices and begins anew (and counts it).
        now_ns = time.time_ns()
        result = self._stream.step(now_ns, deadline_ns=now_ns + period_ns)
        payload, attachment = wire.encode(result.outputs or {}, **facts_of(result, now_ns))
        self._output.put(payload, attachment=attachment)

    def publish_health(self) -> None:
        health = {
            **self._model.health().to_json(),
            "malformed": dict(self.malformed),
            "last_malformed": self._last_malformed,
        }
        self._health.put(json.dumps(health).encode())


def facts_of(result: StepResult, now_ns: int) -> dict[str, object]:
    return {
        "status": result.status,
        "reason": result.reason,
        "late": result.late,
        "seq": result.seq,
        "now_ns": now_ns,
        "stamp_ns": result.stamp_ns,
        "streams": {
            name: {
                "source": state.source,
                "stamp_ns": state.stamp_ns,
                "age_ms": None if state.age_ns is None else state.age_ns / MS,
                "stale": state.stale,
            }
            for name, state in result.streams.items()
        },
    }


if __name__ == "__main__":
    main()
