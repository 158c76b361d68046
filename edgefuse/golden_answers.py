"""What a bundle answers on this device, for whoever judges it elsewhere. Needs numpy and one vendor library.

The runner is opened once and kept, with its place in the golden samples: they are asked for in ranges, so that neither
side holds more than one of them.
"""

from __future__ import annotations

from pathlib import Path

from edgefuse.blob_cache import blob_folder
from edgefuse.bundle import open_bundle
from edgefuse.golden import GoldenRanges, stacked
from edgefuse.manifest import GOLDEN
from edgefuse.runtime import open_runner
from edgefuse.spec import Array, Feed, check_feed


class Answering:
    """The bundle in the folder *path*: every hash is verified, and the device must match. Raises ``BundleError``,
    ``DeviceMismatchError``, ``ToolchainError``."""

    def __init__(self, path: Path) -> None:
        with open_bundle(path) as bundle:
            self.bundle, self.runner = bundle, open_runner(bundle, blob_folder())
        self.golden = GoldenRanges(bundle.path / GOLDEN)

    def to_golden(self, start: int, count: int) -> dict[str, Array]:
        """The outputs for golden samples *start* to *start + count*, each as one array ``(count, *shape)``."""
        return stacked([self.runner(sample.feed) for sample in self.golden.take(start, count)])

    def to_feed(self, feed: Feed) -> dict[str, Array]:
        """The outputs for one feed. Raises ``FeedError``."""
        check_feed(feed, self.bundle.spec.inputs)
        return self.runner(feed)
