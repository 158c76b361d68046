"""``golden.npz``: the held-out samples with the float model's outputs, so that accuracy can be checked
without torch.

Arrays, each with one row per sample: ``inputs.NAME``, ``reference.OUTPUT``, and where the set has them ``label`` and
``group``. Numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefuse.backends import Runner
from edgefuse.calibration import Sample
from edgefuse.errors import ModelError
from edgefuse.samples import SampleWriter, iterate_rows, read_headers
from edgefuse.spec import Array, Feed


@dataclass(frozen=True)
class GoldenSample:
    feed: dict[str, Array]
    reference: dict[str, Array]
    label: Array | None
    group: int | None


def write_golden(path: Path, samples: Iterable[Sample], reference: Runner) -> None:
    """Run the float model over *samples* and write both to *path*, one sample in memory."""
    with SampleWriter(path) as writer:
        for index, sample in enumerate(samples):
            outputs = reference(sample.feed)
            _check_finite(outputs, index)
            row = {f"inputs.{name}": array for name, array in sample.feed.items()}
            row |= {f"reference.{name}": array for name, array in outputs.items()}
            if sample.label is not None:
                row["label"] = np.asarray(sample.label)
            if sample.group is not None:
                row["group"] = np.asarray(sample.group, np.int64)
            writer.write(row)


def write_outputs(path: Path, golden: Path, runners: Mapping[str, Runner]) -> None:
    """What each of *runners* answers to the golden samples, as arrays ``RUNNER.OUTPUT`` with one row per sample."""
    with SampleWriter(path) as writer:
        for sample in read_golden(golden):
            answers = {name: runner(sample.feed) for name, runner in runners.items()}
            writer.write({f"{name}.{key}": array for name, found in answers.items() for key, array in found.items()})


class Recorded:
    """A runner that answers what was written by :func:`write_outputs`, sample after sample, whatever it is fed."""

    def __init__(self, path: Path, name: str) -> None:
        self._rows, self._prefix = iterate_rows(path, read_headers(path)), f"{name}."

    def __call__(self, feed: Feed) -> dict[str, Array]:
        return _part(next(self._rows), self._prefix)

    def close(self) -> None:
        self._rows = iter(())


def _check_finite(outputs: dict[str, Array], index: int) -> None:
    """−inf may be meant (a masked logit); NaN never is."""
    for name, array in outputs.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ModelError(
                f"the float model's output {name!r} holds NaN for held-out sample {index}",
                hint="Check the weights and this sample's inputs before compiling.",
            )


def read_golden(path: Path) -> Iterator[GoldenSample]:
    """The samples in order, one in memory at a time."""
    for row in iterate_rows(path, read_headers(path)):
        yield GoldenSample(
            _part(row, "inputs."),
            _part(row, "reference."),
            row.get("label"),
            int(row["group"]) if "group" in row else None,
        )


def golden_count(path: Path) -> int:
    return next(iter(read_headers(path).values())).shape[0]


def _part(row: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in row.items() if name.startswith(prefix)}
