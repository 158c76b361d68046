"""One stream as the step sees it: what is new, what is in use, and which of the two the policy wants. Standard library
and numpy only.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from edgefuse.spec import Array, TensorSpec
from edgefuse.stream.inbox import MS, Delivery, Inbox
from edgefuse.stream.policy import StreamPolicy, age_limit_ms
from edgefuse.stream.results import FALLBACK, FRESH, HELD, MISSING, STALE, StreamState

NOTHING = StreamState(MISSING, None, None)
FILLED = StreamState(FALLBACK, None, None)


class Sensor:
    """``wanted`` is what the next step should use: "fresh", "held", "fallback", or one of "missing" and "stale", with
    which there can be no answer. ``new`` is what no step has used yet, ``used_ns`` the stamp of the data in use."""

    def __init__(self, name: str, inputs: tuple[TensorSpec, ...], policy: StreamPolicy) -> None:
        self.name, self.policy, self.inbox = name, policy, Inbox(name, inputs, policy)
        self.ages = policy.kind != "latched"
        self._inputs, self.names = inputs, tuple(item.name for item in inputs)
        limit_ms = age_limit_ms(policy, inputs)
        self._max_age_ns = None if limit_ms is None else round(limit_ms * MS)
        self._events: Counter[str] = Counter()
        self._reset()

    def _reset(self) -> None:
        self.wanted: str = MISSING
        self.used_ns: int | None = None
        self.new: Delivery | None = None
        self._filled = False
        self._prepared: tuple[Delivery, dict[str, Array]] | None = None

    @property
    def dated(self) -> bool:
        """Whether the data in use have an age that counts."""
        return self.ages and self.used_ns is not None and not self._filled

    def counts(self) -> dict[str, int]:
        """What became of deliveries, and how data were used."""
        return {**self.inbox.counts, **{k: v + self.inbox.counts.get(k, 0) for k, v in dict(self._events).items()}}

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest data, in use or not."""
        return self.used_ns if self.new is None else self.new.stamp_ns

    def take(self, now_ns: int) -> None:
        """Take what has been delivered: it is new until a step uses it."""
        delivery = self.inbox.take(now_ns)
        if delivery is not None:
            if self.new is not None:
                self._events["superseded"] += 1
            self.new = delivery

    def look(self, now_ns: int) -> None:
        """Take what has been delivered, and settle what the step should use."""
        self.take(now_ns)
        newest = self.newest_ns
        if newest is None:
            self.wanted = MISSING if self.policy.required else FALLBACK
        elif self._is_stale(newest, now_ns) and self.policy.on_stale != "hold":
            self.wanted = FALLBACK if self.policy.on_stale == "fallback" else STALE
            self._events["stale"] += 1
        else:
            self.wanted = HELD if self.new is None else FRESH

    @property
    def changes(self) -> bool:
        """Whether a step that follows ``wanted`` has something new for the model."""
        return self.wanted == FRESH or (self.wanted == FALLBACK and not self._filled)

    def worth_preparing(self, now_ns: int) -> bool:
        """Whether a step at *now_ns* would use new data whose features are not there yet."""
        return self.new is not None and self.prepared is None and not self._is_stale(self.new.stamp_ns, now_ns)

    def keep(self, features: dict[str, Array]) -> None:
        """What the branch has made of the new data, until a step uses them or newer ones come."""
        assert self.new is not None
        self._prepared = (self.new, features)

    @property
    def prepared(self) -> dict[str, Array] | None:
        """What the branch has made of the new data already."""
        return self._prepared[1] if self._prepared is not None and self._prepared[0] is self.new else None

    def may_wait(self, now_ns: int) -> bool:
        """Whether the data in use would do for one more step. Once they are stale, new ones are not kept waiting."""
        if self.wanted != FRESH or self.used_ns is None or self._filled:
            return False
        return not self._is_stale(self.used_ns, now_ns)

    def use(self, now_ns: int, values: dict[str, Array]) -> StreamState:
        """Put what is wanted into *values*, the model's inputs by name."""
        if self.wanted == FALLBACK:
            values.update(self._fallback())
            self._filled = True
            return self.hold(now_ns)
        assert self.new is not None  # see ``changes``
        values.update(self.new.arrays)
        values.update(self.prepared or {})
        self.used_ns, self.new, self._filled, self._prepared = self.new.stamp_ns, None, False, None
        self._events[FRESH] += 1
        return self._state(FRESH, self.used_ns, now_ns)

    def hold(self, now_ns: int) -> StreamState:
        """What is in use stays in use."""
        if self._filled:
            self._events[FALLBACK] += 1
            return FILLED
        self._events[HELD] += 1
        assert self.used_ns is not None
        return self._state(HELD, self.used_ns, now_ns)

    def waiting_state(self, now_ns: int) -> StreamState:
        """For a step without an answer: what there would be."""
        stamp = self.newest_ns
        if stamp is None:
            return NOTHING if self.policy.required else FILLED
        return self._state(HELD, stamp, now_ns)

    def _state(self, source: str, stamp_ns: int, now_ns: int) -> StreamState:
        return StreamState(source, stamp_ns, _age_ns(stamp_ns, now_ns), self._is_stale(stamp_ns, now_ns))

    def _is_stale(self, stamp_ns: int, now_ns: int) -> bool:
        return self._max_age_ns is not None and now_ns - stamp_ns > self._max_age_ns

    def used_age_ns(self, now_ns: int) -> int:
        return _age_ns(self.used_ns, now_ns)

    def newest_age_ns(self, now_ns: int) -> int:
        return _age_ns(self.newest_ns, now_ns)

    def _fallback(self) -> dict[str, Array]:
        return {item.name: np.full(item.smallest(), self.policy.fallback, item.dtype) for item in self._inputs}

    def restart(self, now_ns: int) -> None:
        """The clock has gone back to *now_ns*: what is from later is forgotten. Latched data stay, as of now."""
        if not self.ages:
            self.used_ns = None if self.used_ns is None else min(self.used_ns, now_ns)
            self.inbox.rewind()
            return
        self.inbox.clear(after_ns=now_ns + round(self.policy.max_early_ms * MS))
        self._reset()

    def forget(self) -> None:
        self.inbox.clear()
        self._reset()


def _age_ns(stamp_ns: int | None, now_ns: int) -> int:
    """0 where there are no data, or their stamp is a little ahead."""
    return 0 if stamp_ns is None else max(now_ns - stamp_ns, 0)
