"""What the answers are worth without a sensor: measured when a bundle is made, so that a stream's fallback is used only
where somebody knows what it costs. Numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner
from edgefuse.comparison import Judge
from edgefuse.gates import COMPILED
from edgefuse.golden import GoldenSample, read_golden
from edgefuse.precision import FLOAT
from edgefuse.robustness.subsets import measure_subsets
from edgefuse.samples import read_headers
from edgefuse.spec import ModelSpec
from edgefuse.stream.absent import absences_to_measure
from edgefuse.stream.policy import StreamPolicy, sensor_inputs

SAMPLES = 200
"""Of the golden ones, spread evenly: enough to tell what is lost without a sensor, and quick."""


def measure_fallbacks(
    golden: Path,
    reference: Runner,
    compiled: Runner,
    judge: Judge,
    spec: ModelSpec,
    state: Mapping[str, str],
    policies: Mapping[str, StreamPolicy],
) -> tuple[dict[str, Any], ...]:
    """A row of the manifest's ``fallbacks`` for every absence that streams with these *policies* may meet, and for each
    stream alone; *reference* is the float model."""
    streams = sensor_inputs(spec, state)
    fills = {name: policies.get(name, StreamPolicy()).fallback for name in streams}
    rows = measure_subsets(
        _evenly(golden),
        {FLOAT: reference, COMPILED: compiled},
        judge,
        streams,
        fills,
        absences_to_measure(policies, streams),
    )
    return tuple(rows)


def _evenly(golden: Path) -> Iterator[GoldenSample]:
    total = next(iter(read_headers(golden).values())).shape[0]
    step = max(total / SAMPLES, 1.0)
    chosen = {int(number * step) for number in range(min(SAMPLES, total))}
    return (sample for index, sample in enumerate(read_golden(golden)) if index in chosen)
