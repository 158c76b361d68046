"""What both processes need: a Zenoh session without surprises, a timer without drift, and a clean end."""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
from collections.abc import Iterator

import zenoh

ENDPOINT = "tcp/127.0.0.1:7447"


def open_session(listen: list[str], connect: list[str]) -> zenoh.Session:
    """Peer to peer over exactly these endpoints. Zenoh's defaults would listen on every interface and look for others
    by multicast, which on a robot's network finds the neighbour's robot, too."""
    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("listen/endpoints", json.dumps(listen))
    config.insert_json5("connect/endpoints", json.dumps(connect))
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("scouting/gossip/enabled", "false")
    # Who is not there yet, or starts again, is found within half a second; nobody fails or waits because of that.
    # (-1: try for ever. With 0 a peer that is not there at the start is never tried again; seen with Zenoh 1.10.2.)
    config.insert_json5("connect/timeout_ms", "-1")
    config.insert_json5("connect/exit_on_failure", "false")
    config.insert_json5("connect/retry", '{"period_init_ms": 100, "period_max_ms": 500, "period_increase_factor": 2}')
    return zenoh.open(config)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="a compiled bundle")
    parser.add_argument("--prefix", default="robot", help="of all keys (robot)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long (until Ctrl-C)")


def stop_on_signals() -> threading.Event:
    """Set by Ctrl-C, and by what systemd and docker send."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def ticks(rate_hz: float, stop: threading.Event, seconds: float = float("inf")) -> Iterator[int]:
    """At start + n / rate, so that errors do not add up; ticks that were missed are left out, not made up for."""
    start_s, tick = time.monotonic(), 0
    while tick < seconds * rate_hz and not stop.wait(max(start_s + tick / rate_hz - time.monotonic(), 0)):
        yield tick
        tick = max(tick + 1, int((time.monotonic() - start_s) * rate_hz))
