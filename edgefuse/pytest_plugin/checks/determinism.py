"""Does the device answer the same to the same? The same inputs twice must give the same bits."""

from __future__ import annotations

from edgefuse.pytest_plugin.bits import Pair, compare_bits
from edgefuse.pytest_plugin.case import Case, row_of
from edgefuse.pytest_plugin.outcome import Finding
from edgefuse.verdict import Verdict

SAMPLES = 64


def run(case: Case) -> Finding:
    """The first golden samples in order, and then again: an answer that depends on the call before is found, too."""
    count = min(case.samples, SAMPLES)
    found = compare_bits(pair for start in range(0, count, case.chunk) for pair in _pairs(case, start, count))
    differing = max(item.samples_differing for item in found)
    lines = [line for item in found for line in item.lines]
    return Finding(
        "determinism",
        Verdict.FAIL.value if lines else Verdict.PASS.value,
        f"{count} samples twice: {f'{differing} answered differently' if lines else 'equal to the bit'}",
        {"samples": count, "differing": differing},
        lines,
        {"samples": count, "outputs": [item.to_json() for item in found]},
    )


def _pairs(case: Case, start: int, count: int) -> list[Pair]:
    size = min(case.chunk, count - start)
    what = "Running golden samples twice"
    arrays = case.ask("answers", {"start": start, "count": size, "twice": True}, what).arrays
    first, second = row_of(arrays, "first."), row_of(arrays, "second.")
    return [
        ({name: array[row] for name, array in first.items()}, {name: array[row] for name, array in second.items()})
        for row in range(size)
    ]
