"""What a check works with: the bundle, the device, the limits, and what the device answers to the golden samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from edgefuse.bundle import Bundle
from edgefuse.comparison import Judge
from edgefuse.errors import RecipeError, UsageError
from edgefuse.golden import check_golden
from edgefuse.manifest import GOLDEN
from edgefuse.metrics import METRICS, SQNR
from edgefuse.pytest_plugin.connection import Connection
from edgefuse.pytest_plugin.limits import Limits
from edgefuse.pytest_plugin.options import Settings
from edgefuse.recheck import stored_judge
from edgefuse.recipe import require_recipe
from edgefuse.samples import SampleWriter, read_headers
from edgefuse.spec import Array
from edgefuse.worker.wire import Answer

DEVICE = "device"
"""The runner's name in the file of :meth:`Case.answers`."""

CHUNK_BYTES = 32 << 20


@dataclass(frozen=True)
class Case:
    """``path`` is the bundle as it was named. ``folder`` is the run's own, for the device's answers."""

    path: Path
    bundle: Bundle
    device: Connection
    limits: Limits
    settings: Settings
    folder: Path

    @property
    def golden(self) -> Path:
        return self.bundle.path / GOLDEN

    @cached_property
    def samples(self) -> int:
        """How many golden samples there are. Raises ``BundleError`` where they do not fit the model."""
        return check_golden(self.golden, self.bundle.spec, False)

    def ask(self, job: str, arguments: Mapping[str, Any], what: str, timeout_s: float | None = None) -> Answer:
        """A job for this bundle, which is sent unless it is there."""
        sent = self.device.put_bundle(self.bundle.path, self.bundle.shown)
        return self.device.ask(job, {"bundle": sent, **arguments}, what=what, timeout_s=timeout_s)

    def answers(self) -> Path:
        """An .npz with what the device answers to all golden samples, ``device.OUTPUT`` (n, *shape); asked for once."""
        path = self.folder / f"{self.bundle.manifest['checksum']}.npz"
        if not path.exists():
            part = path.with_suffix(".part")
            with SampleWriter(part) as writer:
                for start in range(0, self.samples, self.chunk):
                    self._write_range(writer, start)
            part.rename(path)
        return path

    def _write_range(self, writer: SampleWriter, start: int) -> None:
        count = min(self.chunk, self.samples - start)
        found = self.ask("answers", {"start": start, "count": count}, "Running the golden samples").arrays
        for row in range(count):
            writer.write({f"{DEVICE}.{name}": array[row] for name, array in found.items()})

    @cached_property
    def chunk(self) -> int:
        """So many samples' answers travel at a time."""
        headers = read_headers(self.golden)
        row = sum(
            math.prod(item.shape[1:]) * item.dtype.itemsize
            for name, item in headers.items()
            if name.startswith("reference.")
        )
        return max(1, min(self.samples, CHUNK_BYTES // max(row, 1)))

    @cached_property
    def judge(self) -> Judge:
        """The bundle's rule for accuracy, with the test's limits. Raises ``RecipeError``, ``UsageError``."""
        recipe = self.settings.recipe
        metric = str(self.bundle.manifest["limits"]["accuracy"]["metric"])
        if metric != SQNR and metric not in METRICS and recipe is None:
            raise RecipeError(
                f"the metric {metric!r} is code of yours, which a bundle does not carry",
                where=str(self.path),
                hint="Add --edgefuse-recipe with the recipe that the bundle was made from.",
            )
        folder = require_recipe(recipe).resolve().parent if recipe is not None else None
        judge = stored_judge(self.bundle, self.limits.max_drop, folder)
        self._refuse_pointless(judge)
        if self.limits.min_sqnr_db is None:
            return judge
        return replace(judge, accuracy=replace(judge.accuracy, min_sqnr_db=self.limits.min_sqnr_db))

    def _refuse_pointless(self, judge: Judge) -> None:
        """A limit that nothing is held against was meant otherwise."""
        given, other = ("max_drop", "min_sqnr_db") if judge.metric is None else ("min_sqnr_db", "max_drop")
        if getattr(self.limits, given) is not None:
            raise UsageError(
                f"the marker limits {given}, and the bundle's metric is {judge.accuracy.metric}",
                where=str(self.path),
                hint=f"Limit {other}.",
            )


def row_of(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
