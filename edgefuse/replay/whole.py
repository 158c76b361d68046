"""The same answers from the whole graph: what they cost, and whether a step's are equal to them. Numpy only."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Container
from typing import Any

import numpy as np

from edgefuse.assembled import Assembled
from edgefuse.model import Model
from edgefuse.replay.events import Stepped
from edgefuse.spec import Array
from edgefuse.stream import Session

WARM_UP = 3
TICKS = 200
LONGEST_PAUSE_S = 0.02


class Whole:
    """On the *chosen* ticks, with the very data that the step used: all of the session's parts anew, which must give
    the step's outputs bit for bit, and the whole graph. That is timed as a step is: after a call that is not, since a
    loop that ran it at every tick would find its code and weights in the caches; where the loop *pauses* between ticks,
    after a pause, since that costs either as much as a small model does."""

    def __init__(self, session: Session, model: Model, chosen: Container[int], *, pauses: bool) -> None:
        self._parts, self._session = session.parts, session
        self._model, self._chosen = model, chosen
        self._state = self._state_now()
        self._cpu_ns, self._steps_cpu_ns = array("q"), array("q")
        self._compared, self._equal, self._difference = 0, 0, 0.0
        self._disturbed, self._pauses = False, pauses
        self._typical_ns = self._warm_up()

    @property
    def parts(self) -> Assembled:
        return self._parts

    def _warm_up(self) -> int:
        """The vendor allocates what it needs; returns how long looking at one tick takes, in nanoseconds."""
        zeros = {item.name: np.zeros(item.smallest(), item.dtype) for item in self._model.spec.inputs}
        took = []
        for _ in range(WARM_UP):
            started = time.perf_counter_ns()
            self._parts(zeros)
            self._model(zeros)
            took.append(2 * (time.perf_counter_ns() - started))
        return min(took)

    def stepped(self, step: Stepped) -> None:
        """Count what the step took, and look at it where it is chosen and there is time until the next event. The step
        after that is not counted: its caches hold the whole graph."""
        outputs = step.result.outputs
        if outputs is not None and not self._disturbed:
            self._steps_cpu_ns.append(step.cpu_ns)
        self._disturbed = step.tick.number in self._chosen and step.result.ok and step.slack_ns > 2 * self._typical_ns
        if self._disturbed:
            assert outputs is not None
            feed = self._session.feed() | self._state
            self._prepare(feed, step.slack_ns)
            self._compare(feed, outputs)
        self._state = self._state_now()

    def _state_now(self) -> dict[str, Array]:
        """The model's state, which the next step reads and replaces."""
        values = self._session.feed()
        return {name: values[name] for name, _ in self._parts.partition.state}

    def _prepare(self, feed: dict[str, Array], slack_ns: float) -> None:
        if self._pauses:
            time.sleep(min(slack_ns / 3e9, LONGEST_PAUSE_S))
        else:
            self._model(feed)

    def _compare(self, feed: dict[str, Array], outputs: dict[str, Array]) -> None:
        before = time.process_time_ns()
        whole = self._model(feed)
        self._cpu_ns.append(time.process_time_ns() - before)
        anew = self._parts(feed)
        self._compared += 1
        self._equal += all(array.tobytes() == anew[name].tobytes() for name, array in outputs.items())
        self._difference = max(self._difference, *(_difference(outputs[name], whole[name]) for name in outputs))

    def equality_json(self) -> dict[str, Any]:
        """``max_abs_to_whole``: null where NaN or infinity stands against a number, or nothing was compared."""
        comparable = self._compared > 0 and math.isfinite(self._difference)
        return {
            "ticks": self._compared,
            "equal_to_recompute": self._equal,
            "max_abs_to_whole": self._difference if comparable else None,
        }

    def cpu_json(self, answered: int) -> dict[str, Any]:
        """CPU time of all *answered* steps and of the whole graph at each of them; both scaled from those counted."""
        if not len(self._cpu_ns) or not len(self._steps_cpu_ns):
            return {"steps_ms": None, "whole_ms": None, "times_less": None, "measured_ticks": 0}
        steps_ns, whole_ns = float(np.mean(self._steps_cpu_ns)), float(np.mean(self._cpu_ns))
        return {
            "steps_ms": steps_ns * answered / 1e6,
            "whole_ms": whole_ns * answered / 1e6,
            "times_less": whole_ns / steps_ns if steps_ns else None,
            "measured_ticks": len(self._cpu_ns),
        }


def _difference(one: Array, other: Array) -> float:
    """The largest absolute difference; infinite where only one of two values is a number."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(first - second))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0.0))
