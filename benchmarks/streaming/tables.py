"""The tables of ``streaming.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from peers.tables import make_table
from rich.table import Table

from edgefuse.spec import Array
from streaming.arms import Arm
from streaming.play import Played
from streaming.recording import TICKING

COLUMNS = ("", "CPU ms a second", "× less than whole", "p50 ms", "p90 ms", "p99 ms", "p90 of IMU-only ticks, ms")


def cpu_table(arms: Sequence[Arm], found: Sequence[Played], whole: Played) -> Table:
    """CPU time of one second of recording, and the wall time of a tick."""
    table = make_table(*COLUMNS)
    for arm, played in zip(arms, found):
        ratio = whole.cpu_ms_per_s / played.cpu_ms_per_s
        ticks = [f"{played.percentile(q):.3f}" for q in (50, 90, 99)]
        alone = f"{played.percentile(90, TICKING):.3f}"
        table.add_row(arm.title, f"{played.cpu_ms_per_s:.1f}", f"{ratio:.2f}", *ticks, alone)
    return table


def ratio_interval(one: Played, other: Played, rounds: int = 2000) -> str:
    """*one*'s CPU time over *other*'s, with a 95 % interval from resampling the seconds in pairs."""
    pairs = np.array([one.cpu_s, other.cpu_s])
    picked = np.random.default_rng(0).integers(0, pairs.shape[1], (rounds, pairs.shape[1]))
    ratios = pairs[0][picked].sum(1) / pairs[1][picked].sum(1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return f"{pairs[0].sum() / pairs[1].sum():.2f} ({low:.2f} … {high:.2f})"


def overhead_table(ours: Played, vendor: Played) -> Table:
    """What ``push`` and ``step`` take beyond the vendor's calls, by who delivered: medians of paired ticks."""
    table = make_table(
        "delivered", "ticks", "EdgeFuse p50 ms", "bare calls p50 ms", "beyond them µs: wall p50", "CPU p50", "CPU mean"
    )
    kinds: dict[frozenset[str], list[int]] = {}
    for index, fresh in enumerate(ours.fresh):
        kinds.setdefault(fresh, []).append(index)
    for fresh, ticks in sorted(kinds.items(), key=lambda item: -len(item[1])):
        if len(ticks) >= 20:
            table.add_row(" + ".join(sorted(fresh)), *_overhead_row(ours, vendor, ticks))
    table.add_row("all", *_overhead_row(ours, vendor, list(range(len(ours.fresh)))))
    return table


def _overhead_row(ours: Played, vendor: Played, ticks: list[int]) -> tuple[str, ...]:
    (mine, bare), cpu = (np.array(arm.tick_ms)[ticks] for arm in (ours, vendor)), cpu_beyond_us(ours, vendor, ticks)
    medians = (f"{np.median(mine):.3f}", f"{np.median(bare):.3f}", f"{1e3 * np.median(mine - bare):+.0f}")
    return (str(len(ticks)), *medians, f"{np.median(cpu):+.0f}", f"{np.mean(cpu):+.0f}")


def cpu_beyond_us(ours: Played, vendor: Played, ticks: list[int] | slice = slice(None)) -> Array:
    """CPU time of each tick, with all deliveries before it, beyond the other's."""
    mine, bare = (np.array(arm.tick_cpu_ms)[ticks] for arm in (ours, vendor))
    return 1e3 * (mine - bare)


def agreement(name: str, ours: Array, other: Array) -> str:
    """Outputs of all ticks against *other*'s."""
    same = int((ours == other).reshape(len(ours), -1).all(1).sum())
    largest, spread = float(np.abs(ours - other).max()), float(other.std(0).mean())
    return f"{name}: {same} of {len(ours)} ticks bit-equal, at most {largest:.3g} apart (outputs' std is {spread:.2f})."


def sqnr_db(signal: Array, other: Array) -> float:
    noise = float(np.mean((signal.astype(np.float64) - other) ** 2))
    return float("inf") if noise == 0 else 10 * float(np.log10(np.mean(signal.astype(np.float64) ** 2) / noise))


def counts_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "–"
