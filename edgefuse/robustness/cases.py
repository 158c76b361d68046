"""The cases: each stream, each corruption that applies to it, each severity; and the feed of a case. Numpy only."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgefuse.errors import UsageError, nearest
from edgefuse.golden import GoldenSample
from edgefuse.robustness.corruptions import (
    SEVERITIES,
    About,
    Corruption,
    audio,
    corrupt,
    generic,
    image,
    imu,
    points,
    text,
)
from edgefuse.robustness.corruptions.generic import nan_burst
from edgefuse.robustness.corruptions.timing import NO_RATE_MS, NOBODY, TIMINGS, Indices, Timing, stand_ins
from edgefuse.robustness.facts import main_modality
from edgefuse.robustness.samples import Rows
from edgefuse.spec import Array, TensorSpec
from edgefuse.stream.policy import StreamPolicy

CORRUPTIONS = (*generic.TABLE, *image.TABLE, *audio.TABLE, *imu.TABLE, *points.TABLE, *text.TABLE)

NO_TIMES = "the samples carry no times: build the set with edgefuse calibration build"
NO_AGE = "what is latched does not age"
DROPPED = "the stream's check_finite drops such data before the model sees them"
PERMUTED = "permuted"


@dataclass(frozen=True, eq=False)
class Case:
    """One thing that happens to one stream, at one severity.

    ``inputs`` are those that it changes. A corruption changes the sample's own data; otherwise ``stand_ins`` (n,) says
    for each golden sample the index of the one whose data it gets. ``unjudged``: why there is no verdict, or empty.
    """

    stream: str
    modality: str | None
    inputs: tuple[str, ...]
    name: str
    severity: int
    amount: float
    unit: str
    words: str
    corruption: Corruption | None = None
    stand_ins: Indices | None = field(default=None, repr=False)
    unjudged: str = ""

    def feed(
        self, index: int, sample: GoldenSample, rows: Rows, about: Mapping[str, About], seed: int
    ) -> dict[str, Array] | None:
        """The feed of golden sample *index*; None where nothing can stand in for it. All severities of a corruption
        draw the same numbers, so that they differ in their amount alone."""
        if self.corruption is not None:
            key = zlib.crc32(f"{self.stream}/{self.name}/{self.modality}".encode())
            changed = {
                name: corrupt(
                    self.corruption,
                    self.severity,
                    sample.feed[name],
                    np.random.default_rng([seed, key, index]),
                    about[name],
                )
                for name in self.inputs
            }
            return {**sample.feed, **changed}
        assert self.stand_ins is not None
        other = int(self.stand_ins[index])
        if other == NOBODY:
            return None
        if other == index:
            return dict(sample.feed)
        return {**sample.feed, **{name: rows.get(other, name) for name in self.inputs}}


SAMPLES = 500
"""Golden samples in each case. With 390 an answer that never changes is within a limit of 1 point (docs/gate.md), and
300 is the least that any other metric asks for."""


@dataclass(frozen=True)
class Options:
    """``samples``: of the golden ones at most. Which cases: streams or ``modalities`` (empty: all) and ``severities``.
    ``seed`` is of everything that is drawn."""

    samples: int = SAMPLES
    modalities: tuple[str, ...] = ()
    severities: tuple[int, ...] = SEVERITIES
    seed: int = 0


def chosen_streams(options: Options, streams: Mapping[str, tuple[TensorSpec, ...]]) -> list[str]:
    """Raises :class:`UsageError` for a name that is neither a stream nor the modality of one."""
    modalities = {name: main_modality(inputs) for name, inputs in streams.items()}
    known = {*streams, *(modality for modality in modalities.values() if modality)}
    for name in options.modalities:
        if name not in known:
            raise UsageError(
                f"the model has no stream or modality {name!r}", where="--modality", hint=nearest(name, known)
            )
    return [
        name
        for name, modality in modalities.items()
        if not options.modalities or name in options.modalities or modality in options.modalities
    ]


def corruption_cases(
    options: Options,
    streams: Mapping[str, tuple[TensorSpec, ...]],
    policies: Mapping[str, StreamPolicy],
    about: Mapping[str, About],
) -> Iterator[Case]:
    """By stream, then in the order of ``CORRUPTIONS``, the mildest first. Of a stream with several modalities (picture
    and intrinsics) only inputs of the main one are corrupted; all are missing together."""
    for name in chosen_streams(options, streams):
        modality = main_modality(streams[name])
        for corruption in CORRUPTIONS:
            whole = corruption.function is generic.missing
            inputs = tuple(
                item.name
                for item in streams[name]
                if corruption.applies(about[item.name]) and (whole or about[item.name].modality == modality)
            )
            unjudged = DROPPED if corruption.function is nan_burst and policies[name].check_finite else ""
            for severity in corruption.severities if inputs else ():
                if severity in options.severities:
                    yield Case(
                        name, modality, inputs, corruption.name, severity, corruption.amount(severity), corruption.unit,
                        corruption.words.format(f"the {name}"), corruption, unjudged=unjudged,
                    )  # fmt: skip


def timing_cases(
    options: Options,
    streams: Mapping[str, tuple[TensorSpec, ...]],
    policies: Mapping[str, StreamPolicy],
    stamps_ns: Indices | None,
    groups: Indices | None,
    unmeasured: list[dict[str, str]],
) -> Iterator[Case]:
    """What there is no data for goes to *unmeasured*, with its reason."""
    for name in chosen_streams(options, streams):
        if stamps_ns is None or policies[name].kind == "latched":
            reason = NO_TIMES if stamps_ns is None else NO_AGE
            unmeasured += [{"stream": name, "name": timing.name, "reason": reason} for timing in TIMINGS]
            continue
        for timing in TIMINGS:
            for severity, amount in zip(SEVERITIES, timing.amounts):
                if severity in options.severities:
                    found = _stand_ins(timing, name, amount, streams[name], stamps_ns, groups, options.seed)
                    inputs = tuple(item.name for item in streams[name])
                    modality = main_modality(streams[name])
                    words = timing.words.format(f"the {name}")
                    yield Case(
                        name, modality, inputs, timing.name, severity, amount, timing.unit, words, stand_ins=found
                    )  # fmt: skip


def _stand_ins(
    timing: Timing,
    stream: str,
    amount: float,
    inputs: tuple[TensorSpec, ...],
    stamps_ns: Indices,
    groups: Indices | None,
    seed: int,
) -> Indices:
    rates = [item.rate_hz for item in inputs if item.rate_hz]
    period_ns = 1e9 / min(rates) if rates else NO_RATE_MS * 1e6
    rng = np.random.default_rng([seed, zlib.crc32(f"{stream}/{timing.name}".encode())])
    return stand_ins(timing, amount, stamps_ns, groups, period_ns, rng)


DONORS = 64
"""So many samples' data stand in for all others' where a stream is permuted."""


def permuted_cases(
    streams: Mapping[str, tuple[TensorSpec, ...]],
    chosen: Collection[int],
    total: int,
    groups: Indices | None,
    seed: int,
) -> list[Case]:
    """Each stream with the data of another of the *chosen* samples, of another recording where there are several: what
    the model takes from it, on data like those that it knows (Breiman 2001, Random Forests: permutation importance)."""
    picked = np.array(sorted(chosen))
    donors = picked[np.unique((np.arange(DONORS) * len(picked)) // DONORS)]
    found = []
    for name, inputs in streams.items():
        rng = np.random.default_rng([seed, zlib.crc32(f"{name}/{PERMUTED}".encode())])
        others = np.full(total, NOBODY, np.int64)
        for index in picked:
            far = donors[groups[donors] != groups[index]] if groups is not None else donors[donors != index]
            if not len(far):
                far = donors[donors != index]
            others[index] = rng.choice(far) if len(far) else NOBODY
        found.append(
            Case(
                name, main_modality(inputs), tuple(item.name for item in inputs), PERMUTED, SEVERITIES[-1], 1.0, "",
                f"the {name} shows another sample", stand_ins=others,
            )
        )  # fmt: skip
    return found
