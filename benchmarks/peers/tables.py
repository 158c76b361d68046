"""The tables: in the terminal, and the same as Markdown."""

from __future__ import annotations

import io
import os
import platform
from importlib.metadata import version
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from peers.arms import AGAIN, ARMS, OURS, PEERS
from peers.contest import Result
from peers.race import geometric_mean, ratio_of

PACKAGES = ("openvino", "nncf", "onnxruntime", "torch", "numpy")
QUIET = 0.1
COLUMNS = (
    *("", "p50 ms", "p90 ms", "× f32", "SQNR dB", "lowest dB (95 %)", "metric %, drop in points", "gate"),
    *("build s", "peak MB", "note"),
)


def make_table(*columns: str, title: str | None = None) -> Table:
    return Table(*columns, title=title, box=MARKDOWN)


def model_table(result: Result, arms: tuple[str, ...]) -> Table:
    """One row for each arm."""
    table = make_table(*COLUMNS)
    for name in arms:
        table.add_row(ARMS[name].title, *_row(result, name))
    return table


def _row(result: Result, name: str) -> tuple[str, ...]:
    cost, judged, times = result.costs.get(name), result.judged.get(name), result.times.get(name)
    speedup = result.speedup(name)
    return (
        *((f"{times.p50:.3f}", f"{times.p90:.3f}") if times else ("", "")),
        f"{speedup:.2f}" if speedup else "",
        *((f"{judged.plain_db:.1f}", judged.worst, judged.metric) if judged else ("", "", "")),
        judged.accuracy["verdict"] if judged else "",
        *((f"{cost.seconds:.1f}", f"{cost.peak_mb:.0f}") if cost else ("–", "–")),
        result.failed.get(name) or result.notes.get(name, ""),
    )


def sentences(result: Result) -> list[str]:
    """EdgeFuse against the best peer that passes, and against itself."""
    found = []
    best = result.best_peer()
    if best and (gain := result.gain(best)):
        verdict = "" if result.judged[OURS].passes else " But EdgeFuse's answers do not pass the gate."
        found.append(
            f"EdgeFuse is {gain} times as fast as the best peer that passes, {ARMS[best].title} "
            f"(p50; 95 % interval over {len(result.times[OURS].ms)} rounds).{verdict}"
        )
    if {OURS, AGAIN} <= set(result.times):
        found.append(f"A/A: {ratio_of(result.times[AGAIN], result.times[OURS])}.")
    if result.exported:
        cost = f"{result.exported.seconds:.1f} s and {result.exported.peak_mb:.0f} MB"
        found.append(f"The export to ONNX takes {cost}, which is in every row but those of torch and EdgeFuse.")
    if result.busy > QUIET:
        found.append(f"The machine was not quiet: others used {result.busy:.0%} of it before the race.")
    return found


def summary_tables(results: list[Result], arms: tuple[str, ...]) -> list[Table]:
    return [_best_table(results), _peer_table(results, arms)]


def _best_table(results: list[Result]) -> Table:
    """A row for each model, and the geometric mean."""
    table, gains = make_table("", "best peer that passes", "EdgeFuse is faster by", "EdgeFuse's gate", "A/A"), []
    for result in results:
        best = result.best_peer()
        gain = result.gain(best) if best else None
        if best is None or gain is None:
            table.add_row(result.case.name, "–", "–", result.failed.get(OURS, ""), "")
            continue
        gains.append(gain.value)
        again = ratio_of(result.times[AGAIN], result.times[OURS]).value if AGAIN in result.times else None
        verdict = result.judged[OURS].accuracy["verdict"]
        table.add_row(result.case.name, ARMS[best].title, str(gain), verdict, f"{again:.3f}" if again else "–")
    if gains:
        table.add_row("geometric mean", "", f"{geometric_mean(gains):.3f}", "", "")
    return table


def _peer_table(results: list[Result], arms: tuple[str, ...]) -> Table:
    """A row for each peer: over all models on which it ran, and over those on which it also passes."""
    columns = ("", "EdgeFuse is faster by", "models", "where it passes", "models")
    table = make_table(*columns)
    for name in (arm for arm in arms if arm in PEERS):
        ran = [result for result in results if name in result.times and OURS in result.times]
        passed = [result for result in ran if result.judged[name].passes]
        cells = [(f"{_mean_gain(found, name):.3f}" if found else "–", str(len(found))) for found in (ran, passed)]
        table.add_row(ARMS[name].title, *cells[0], *cells[1])
    return table


def _mean_gain(results: list[Result], peer: str) -> float:
    return geometric_mean([result.times[peer].p50 / result.times[OURS].p50 for result in results])


def machine() -> str:
    found = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {found}."


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


class Paper:
    """Prints to the terminal, and to a Markdown file where one is wanted; the file is whole after every piece."""

    def __init__(self, markdown: Path | None) -> None:
        self.screen, self.markdown = Console(width=250), markdown
        if markdown:
            markdown.parent.mkdir(parents=True, exist_ok=True)
            markdown.write_text("")

    def put(self, *pieces: str | Table) -> None:
        for piece in pieces:
            self.screen.print(piece, markup=False, highlight=False)
            if self.markdown:
                text = io.StringIO()
                Console(file=text, width=1000).print(piece, markup=False, highlight=False)
                lines = [line.rstrip() for line in text.getvalue().strip().splitlines()]
                with self.markdown.open("a") as stream:
                    stream.write("\n".join(lines) + "\n\n")
