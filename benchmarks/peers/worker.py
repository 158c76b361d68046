"""A process for every arm, and the parent's handle of it: libraries neither crash nor keep each other's cores spinning.

Between turns a pause lets the pools of the arm before fall asleep: onnxruntime's and libgomp's threads spin for a few
milliseconds after a call.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.golden import read_golden, write_outputs
from peers.arms import ARMS
from peers.case import Case
from peers.cost import Failed

TURN = 4
FEEDS = 16
WARMUP_CALLS = 20
ANSWERS_S = 900.0
TURN_S = 120.0


class Worker:
    """The arm called *name*, loaded in a process of its own; every method raises :class:`Failed` once it is dead."""

    def __init__(self, name: str, case: Case) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        case.arm(name).mkdir(parents=True, exist_ok=True)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, name, case.folder), daemon=True)
        self._process.start()
        theirs.close()
        self._ask("load", ANSWERS_S)

    def answer(self) -> Path:
        """Run all held-out samples; the file with the answers, as arrays ``compiled.OUTPUT``."""
        return Path(self._ask("answer", ANSWERS_S))

    def turn(self, start: int) -> list[float]:
        """Milliseconds of ``TURN`` calls, after one that is not counted."""
        found: list[float] = self._ask(start, TURN_S)
        return found

    def _ask(self, what: str | int, timeout_s: float) -> Any:
        try:
            self._pipe.send(what)
            if not self._pipe.poll(timeout_s):
                raise Failed(f"did not answer within {timeout_s:g} s")
            kind, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise Failed(f"died with exit code {self._process.exitcode}") from None
        if kind == "error":
            raise Failed(value)
        return value

    def close(self) -> None:
        self._pipe.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(pipe: Connection, name: str, folder: Path) -> None:
    """The child's side: answers what it is asked until the pipe closes."""
    case, arm = Case.read(folder), ARMS[name]
    artifact = case.arm(arm.artifact or name)
    with (case.arm(name) / "worker.log").open("wb") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    held_out = itertools.islice(read_golden(case.golden), FEEDS)
    feeds = [{key: array.copy() for key, array in sample.feed.items()} for sample in held_out]  # writable, for torch
    try:
        runner = None
        while True:
            asked = pipe.recv()
            if asked == "load":
                runner = arm.runner(case, artifact)
                for index in range(WARMUP_CALLS):
                    runner(feeds[index % FEEDS])
                pipe.send(("loaded", None))
            elif asked == "answer":
                path = case.arm(name) / "answers.npz"
                write_outputs(path, case.golden, {"compiled": runner})
                pipe.send(("path", str(path)))
            else:
                pipe.send(("ms", _turn(runner, feeds, asked)))
    except EOFError:
        return
    except Exception as error:  # whatever a library raises becomes the row's reason
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        pipe.send(("error", f"{type(error).__name__}: {lines[0].strip()[:160]}"))


def _turn(runner: Any, feeds: list[dict[str, np.ndarray]], start: int) -> list[float]:
    chosen = [feeds[(start + step) % len(feeds)] for step in range(TURN)]
    runner(chosen[0])
    found = []
    for feed in chosen:
        begun = time.perf_counter_ns()
        runner(feed)
        found.append((time.perf_counter_ns() - begun) / 1e6)
    return found
