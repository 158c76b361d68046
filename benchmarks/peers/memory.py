"""Memory and time of `edgefuse compile`, its children included, with few and with many calibration samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from peers import arm_edgefuse
from peers.build import prepare_case, tool_path
from peers.case import Case
from peers.cost import Cost, watch
from peers.tables import make_table

COUNTS = (64, 4096)


def memory_table(name: str, cache: Path, counts: Sequence[int] = COUNTS, timeout_s: float = 7200.0) -> Table:
    """A run of its own for each of *counts*; the 256 held-out samples are the same."""
    case = prepare_case(name, cache)
    table = make_table(
        "calibration samples", "on disk MB", "compile s", "peak MB of all processes", "largest process MB"
    )
    for count in counts:
        many = _with_samples(case, count)
        folder = many.arm("memory")
        folder.mkdir(parents=True, exist_ok=True)
        command = arm_edgefuse.command(many, folder, "--calibration", str(many.folder / "samples"))
        cost = watch(command, folder / "log.txt", timeout_s, tool_path(), arm_edgefuse.EXIT_INCONCLUSIVE)
        table.add_row(f"{count:,}", f"{_disk_mb(many.folder / 'samples' / 'calibrate'):,.0f}", *_cells(cost))
    return table


def _cells(cost: Cost) -> tuple[str, ...]:
    return f"{cost.seconds:.1f}", f"{cost.peak_mb:,.0f}", f"{cost.largest_mb:,.0f}"


def _with_samples(case: Case, count: int) -> Case:
    """The same model with *count* calibration samples, in a folder beside it."""
    import fusion_models

    folder = case.folder.parent / f"{case.name}-{count}"
    many = Case(case.name, folder, folder / "recipe.toml")
    many.write()
    text = (case.folder / "recipe.toml").read_text()
    many.recipe_path.write_text(text.replace(f"samples = {fusion_models.CALIBRATED}", f"samples = {count}"))
    if not many.model.exists():
        many.model.symlink_to(case.model)
    samples = folder / "samples"
    if len(list((samples / "calibrate").glob("*.npz"))) != -(-count // fusion_models.CHUNK):
        fusion_models.write_samples(case.name, samples / "calibrate", "calibrate", count)
    if not (samples / "golden").exists():
        (samples / "golden").symlink_to(case.folder / "samples" / "golden")
    return many


def _disk_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*.npz")) / 2**20
