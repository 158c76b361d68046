"""For the tests of an application: a model that needs no engine.

    model = edgefuse.testing.FakeModel("rover.edgefuse")
    assert my_controller(model).stops_when_the_camera_is_lost()

It has the bundle's inputs, streams and policies, and answers with the float model's outputs that the bundle carries
for its golden samples. Works with portable bundles, too. Standard library and numpy only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from edgefuse.bundle import open_bundle
from edgefuse.golden import GoldenSample, read_golden
from edgefuse.manifest import GOLDEN
from edgefuse.model import Model
from edgefuse.spec import Array, Feed


class FakeModel(Model):
    """As ``edgefuse.load``, without the vendor's library: calls, streams, health and errors are the real ones.

    A feed that is a golden sample gets that sample's reference outputs; any other the next one's, in turn. Streams run
    the model as one part, "whole".
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        with ExitStack() as stack:
            bundle = stack.enter_context(open_bundle(Path(path)))
            self._golden_path = bundle.path / GOLDEN
            self._player = _Player(self._golden_path, bundle.spec.names)
            super().__init__(bundle, self._player, stack.pop_all(), lambda: None)
        self._warm = True

    def golden(self) -> Iterator[GoldenSample]:
        """The samples: ``feed`` and ``reference`` of each."""
        return read_golden(self._golden_path)

    def fail_next(self, error: Exception) -> None:
        """The next call, or step that runs the model, raises *error*."""
        self._player.error = error


class _Player:
    """A runner that knows the answers by heart."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._names = names
        samples = [(self._key(sample.feed), sample.reference) for sample in read_golden(path)]
        self._known, self._answers = dict(samples), [answer for _, answer in samples]
        self._count = 0
        self.error: Exception | None = None

    def _key(self, feed: Feed) -> bytes:
        digest = hashlib.sha256()
        for name in self._names:
            digest.update(feed[name].tobytes())
        return digest.digest()

    def __call__(self, feed: Feed) -> dict[str, Array]:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        found = self._known.get(self._key(feed))
        if found is None:
            found = self._answers[self._count % len(self._answers)]
            self._count += 1
        return {name: array.copy() for name, array in found.items()}

    def close(self) -> None:
        """Nothing is held."""
