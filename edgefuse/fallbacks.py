"""What the answers are worth without a sensor: measured when a bundle is made, so that a stream's fallback is used only
where somebody knows what it costs. Numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner
from edgefuse.comparison import Judge
from edgefuse.gates import COMPILED
from edgefuse.precision import FLOAT
from edgefuse.robustness.samples import Evenly
from edgefuse.robustness.subsets import measure_subsets
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
        Evenly(golden, SAMPLES),
        {FLOAT: reference, COMPILED: compiled},
        judge,
        streams,
        fills,
        absences_to_measure(policies, streams),
    )
    return tuple(rows)
