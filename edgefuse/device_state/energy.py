"""Energy of one inference: by RAPL's counters, or by a Jetson's power rails while it runs.

    before = read_state()
    with PowerSampler() as power:
        ...                                  # 1000 inferences, nothing else
    after = read_state()
    energy(before, after, 1000, power.result())["joules"]

It is all that the package or the module used meanwhile, idle power included, divided by the inferences: what a battery
pays. Nothing is subtracted.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from edgefuse.device_state.jetson.tegrastats import parse_line, total_power
from edgefuse.device_state.rapl import read_rapl, used_uj
from edgefuse.device_state.reading import Unreadable, known
from edgefuse.device_state.system import boot_id, read_time

INTERVAL_MS = 100
MIN_SAMPLES = 10
"""Fewer lines of tegrastats say little of a mean power."""
MIN_SECONDS = 1.0
"""RAPL's counters are renewed about every millisecond, so that a second is exact to about 0.1 %."""
NO_SOURCE = "neither RAPL nor a Jetson's tegrastats is here"


class PowerSampler:
    """Runs ``tegrastats`` beside the block and takes the mean of every rail; nothing where there is no tegrastats.

    It reads sensors ten times a second in a process of its own, which costs a fraction of one core.
    """

    def __init__(self, interval_ms: int = INTERVAL_MS) -> None:
        self._interval_ms, self._samples = interval_ms, list[dict[str, float]]()
        self._child: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = self._seconds = 0.0

    def __enter__(self) -> PowerSampler:
        program = shutil.which("tegrastats")
        self._started = time.monotonic()
        if program is not None:
            self._child = subprocess.Popen(
                [program, "--interval", str(self._interval_ms)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def _read(self) -> None:
        assert self._child is not None and self._child.stdout is not None
        for line in self._child.stdout:
            try:
                self._samples.append(parse_line(line)["rails_mw"])
            except Unreadable:
                continue

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seconds = time.monotonic() - self._started
        if self._child is not None and self._reader is not None and self._child.stdout is not None:
            self._child.kill()
            self._child.wait()
            self._reader.join()
            self._child.stdout.close()

    def result(self) -> dict[str, Any] | None:
        """Mean milliwatts of each rail and of the whole; None where there is no tegrastats."""
        if self._child is None:
            return None
        names = set.intersection(*map(set, self._samples)) if self._samples else set()
        rails = {name: sum(sample[name] for sample in self._samples) / len(self._samples) for name in sorted(names)}
        found = {"samples": len(self._samples), "seconds": self._seconds, "rails_mw": rails, **total_power(rails)}
        if len(self._samples) < MIN_SAMPLES:
            reason = f"tegrastats printed {len(self._samples)} lines, a mean needs {MIN_SAMPLES}"
            return {**found, "total_mw": None, "total_mw_reason": reason}
        return found


def energy(
    before: dict[str, Any], after: dict[str, Any], runs: int, power: dict[str, Any] | None = None
) -> dict[str, Any]:
    """``joules`` of one of *runs* inferences between two states, ``watts`` on the mean, and ``source``; null with a
    reason where neither is known. *power* is what a :class:`PowerSampler` around them has found."""
    seconds = power["seconds"] if power is not None else after["time"]["clock_s"] - before["time"]["clock_s"]
    if runs < 1 or seconds < MIN_SECONDS:
        return _unknown(f"{runs} inferences in {seconds:.2f} s are too few; it needs {MIN_SECONDS:g} s")
    if power is None:
        return _by_rapl(before, after, seconds, runs)
    if power["total_mw"] is None:
        return _unknown(power["total_mw_reason"])
    watts = power["total_mw"] / 1000
    return _known(watts * seconds, seconds, runs, f"tegrastats, {' + '.join(power['total_of'])}")


def _by_rapl(before: dict[str, Any], after: dict[str, Any], seconds: float, runs: int) -> dict[str, Any]:
    """The packages; ``psys``, the whole machine, holds them already and is told by few."""
    if before["rapl"] is None or after["rapl"] is None:
        return _unknown(f"{NO_SOURCE}: {after.get('rapl_reason') or before.get('rapl_reason')}")
    if before["boot_id"] != after["boot_id"]:
        return _unknown("the machine was started again meanwhile")
    earlier = {zone["zone"]: zone for zone in before["rapl"]}
    packages = [zone for zone in after["rapl"] if zone["name"].startswith("package") and zone["zone"] in earlier]
    if not packages:
        return _unknown("RAPL shows no package here")
    joules = sum(used_uj(earlier[zone["zone"]], zone) for zone in packages) / 1e6
    return _known(joules, seconds, runs, f"RAPL, {' + '.join(zone['name'] for zone in packages)}")


def _known(joules: float, seconds: float, runs: int, source: str) -> dict[str, Any]:
    return {"joules": joules / runs, "watts": joules / seconds, "runs": runs, "seconds": seconds, "source": source}


def _unknown(reason: str) -> dict[str, Any]:
    return {"joules": None, "joules_reason": reason}


def measure_energy(call: Callable[[], object], seconds: float = 2.0, root: Path = Path("/")) -> dict[str, Any]:
    """Run *call* again and again for about *seconds* and tell the energy of one; at once, and without a run, where
    there is no source."""
    before = _counters(root)
    if before["rapl"] is None and shutil.which("tegrastats") is None:
        return _unknown(f"{NO_SOURCE}: {before['rapl_reason']}")
    with PowerSampler() as power:
        before, runs = _counters(root), 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            call()
            runs += 1
        after = _counters(root)
    return energy(before, after, runs, power.result())


def _counters(root: Path) -> dict[str, Any]:
    """As much of a state as energy needs: what takes long to read would be counted as idle."""
    return {**known("boot_id", lambda: boot_id(root)), "time": read_time(root), **read_rapl(root)}
