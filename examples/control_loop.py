"""A robot's control loop around any bundle:  python control_loop.py rover.edgefuse --rate 20 --seconds 10

Sensor threads push whenever they deliver; the loop steps at a fixed rate, with a deadline, and acts on every status.
"""

import argparse
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np

import edgefuse
from edgefuse.stream import Session


def ticks(rate_hz: float, stop: threading.Event, seconds: float = float("inf")) -> Iterator[int]:
    """At start + n / rate, so that errors do not add up; ticks that were missed are left out, not made up for."""
    start_s, tick = time.monotonic(), 0
    while tick < seconds * rate_hz and not stop.wait(max(start_s + tick / rate_hz - time.monotonic(), 0)):
        yield tick
        tick = max(tick + 1, int((time.monotonic() - start_s) * rate_hz))


def sensor(stream: Session, name: str, stop: threading.Event):
    """THE DRIVER GOES HERE: wait for the device instead of the tick, push its data instead of random ones."""
    inputs, policy, rng, data = stream.streams[name], stream.policies[name], np.random.default_rng(0), {}
    rate_hz = max(item.rate_hz or 0 for item in inputs) or 10
    for _ in ticks(rate_hz, stop):
        for item in inputs:
            shape = list(item.smallest())
            if policy.kind == "window":  # what is delivered are the samples since the last delivery
                shape[policy.axis] = max(round((policy.sample_hz or rate_hz) / rate_hz), 1)
            data[item.name] = rng.integers(0, 2, shape).astype(item.dtype)
        # The stamp is of the measurement, not of its arrival, by the loop's clock. Says if it was dropped, and why.
        stream.push(name, data, stamp_ns=time.monotonic_ns())


def main(bundle: str, rate_hz: float, seconds: float, stop: threading.Event) -> None:
    with edgefuse.load(bundle, parts=True) as model:
        stream = model.stream()
        threads = [threading.Thread(target=sensor, args=(stream, name, stop)) for name in stream.streams]
        for thread in threads:
            thread.start()
        try:
            control(stream, rate_hz, seconds, stop)
        finally:  # also the place to stop the robot, whatever has happened
            stop.set()
            for thread in threads:
                thread.join()
            print(stream.health())


def control(stream: Session, rate_hz: float, seconds: float, stop: threading.Event) -> None:
    for tick in ticks(rate_hz, stop, seconds):
        now_ns = time.monotonic_ns()
        result = stream.step(now_ns, deadline_ns=now_ns + round(1e9 / rate_hz))
        if result.status == "ok":  # the outputs are of this step; result.streams says how old each sensor's data were
            command = {name: output.ravel()[:4].tolist() for name, output in result.outputs.items()}
        elif result.status == "late":
            pass  # there was no time to compute anything: the last command stands for one more step
        else:  # "waiting" or "stale": a sensor has not started, or is lost, and nobody knows what is right
            command = "STOP"
        if tick % max(round(rate_hz), 1) == 0:
            print(f"{result.status:8}{command}  {result.reason}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Step a bundle at a fixed rate, with made-up sensors.")
    parser.add_argument("bundle")
    parser.add_argument("--rate", type=float, default=20, help="steps per second (20)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long (until Ctrl-C)")
    args, ended = parser.parse_args(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        main(args.bundle, args.rate, args.seconds, ended)
    except edgefuse.EdgeFuseError as error:
        parser.exit(error.exit_code, f"{error}\n")
