"""What ``push`` and ``step`` say. Standard library and numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edgefuse.errors import StreamError, nearest
from edgefuse.spec import Array

OK, LATE, WAITING, STALE = "ok", "late", "waiting", "stale"
FRESH, HELD, FALLBACK, MISSING = "fresh", "held", "fallback", "missing"


class Pushed(NamedTuple):
    """Whether a delivery was taken; if not, ``reason`` is the counter that went up and ``detail`` a sentence. It is
    true where it was accepted."""

    accepted: bool
    reason: str = ""
    detail: str = ""

    def __bool__(self) -> bool:
        return self.accepted


class StreamState(NamedTuple):
    """A stream at one step.

    ``source``    "fresh": delivered since the last step, and used in this one. "held": older data, used again.
                  "fallback": the policy's number stands in. "missing": there is nothing
    ``stamp_ns``  acquisition of the data that were used (a window's: of its newest sample), ``offset_ms`` added; None
                  where there are none
    ``age_ns``    the step's time less ``stamp_ns``, at least 0
    ``stale``     whether that is more than ``max_age_ms``
    """

    source: str
    stamp_ns: int | None
    age_ns: int | None
    stale: bool = False


@dataclass(slots=True, eq=False)  # not frozen: that takes a microsecond longer to make
class StepResult:
    """One step's answer.

    ``status``    "ok": the outputs are of this step. "late": not even the parts that have to run would have met the
                  deadline, so nothing was computed and the outputs are the last ones. "waiting": a required stream
                  has not delivered yet. "stale": one whose ``on_stale`` is "fail" has grown too old. The last two
                  have no outputs
    ``outputs``   output name to array, the caller's own; None where there are none, never an old answer unsaid
    ``streams``   stream name to :class:`StreamState`
    ``ran``       names of the parts that ran, as they came to an end; ``skipped`` those that a deadline left out
    ``late``      whether the deadline has passed, with these outputs computed (status "ok") or not ("late")
    ``stamp_ns``  acquisition of the oldest data in the outputs, fallbacks and latched data aside
    ``reason``    why it is not "ok", or what a deadline has held
    """

    status: str
    outputs: dict[str, Array] | None
    streams: Mapping[str, StreamState]
    ran: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    late: bool = False
    stamp_ns: int | None = None
    seq: int = 0
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the outputs are there and of this step (they may still be ``late``)."""
        return self.status == OK

    def __getitem__(self, name: str) -> Array:
        """The output called *name*; raises :class:`StreamError` where the step has no outputs."""
        if self.outputs is None:
            raise StreamError(f"the step has no outputs: {self.reason}", hint="Look at result.status before.")
        try:
            return self.outputs[name]
        except KeyError:
            raise StreamError(f"there is no output {name!r}", hint=nearest(name, self.outputs)) from None
