"""Arrays that have been sent over a connection, by content, so that the next call need not send them again: a sensor's
data stay the same while another's are left out. Both ends keep the same ones by the same rule. Numpy only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from edgefuse.spec import Array

LIMIT_BYTES = 64 << 20


class Sent:
    """The latest ``LIMIT_BYTES`` of arrays, the first in the first out. An end that does not need the arrays themselves
    keeps them all the same: it has them anyway."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._bytes = 0

    def to_send(self, feed: Mapping[str, Array]) -> tuple[dict[str, str], dict[str, Array]]:
        """What every array of *feed* is known by, and those that the other end lacks, by that name."""
        named = {name: _digest(array) for name, array in feed.items()}
        new = {key: feed[name] for name, key in named.items() if key not in self._arrays}
        self._keep(new)
        return named, new

    def received(self, named: Mapping[str, str], new: Mapping[str, Array]) -> dict[str, Array] | None:
        """The feed that :meth:`to_send` took apart at the other end; None where one of its arrays is not here."""
        known = {**self._arrays, **new}
        self._keep(new)
        return {name: known[key] for name, key in named.items()} if set(named.values()) <= known.keys() else None

    def _keep(self, new: Mapping[str, Array]) -> None:
        for key, array in new.items():
            self._arrays[key] = array
            self._bytes += array.nbytes
        while self._bytes > LIMIT_BYTES:
            self._bytes -= self._arrays.pop(next(iter(self._arrays))).nbytes


def _digest(array: Array) -> str:
    found = hashlib.blake2b(f"{array.dtype.str} {array.shape} ".encode(), digest_size=16)
    found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
