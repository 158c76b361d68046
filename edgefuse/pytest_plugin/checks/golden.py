"""Does the device answer to the bit what it answered when it was recorded? :mod:`edgefuse.pytest_plugin.records`."""

from __future__ import annotations

from pathlib import Path

from edgefuse.errors import InputError
from edgefuse.pytest_plugin.bits import OutputBits, compare_bits
from edgefuse.pytest_plugin.case import DEVICE, Case
from edgefuse.pytest_plugin.outcome import SKIPPED, Finding
from edgefuse.pytest_plugin.records import (
    ANSWERS,
    Key,
    count_rows,
    other_records,
    read_answers,
    record_key,
    record_path,
    records_folder,
    write_record,
)
from edgefuse.verdict import Verdict


def run(case: Case) -> Finding:
    """Records in place of comparing where that is asked for. Raises ``InputError`` for a damaged record."""
    key = record_key(case.bundle, str(case.device.about["device_class"]))
    folder = records_folder(case.path, case.settings.golden_dir)
    path = record_path(folder, key)
    if case.settings.update_golden:
        return _update(case, path, key)
    if not path.is_file():
        return _nothing(case, folder, key)
    return _compare(case, path, key)


def _update(case: Case, path: Path, key: Key) -> Finding:
    """Recorded is not proven: what it replaces is told."""
    old = _differences(case, path) if path.is_file() and _fits(case, path) else None
    before = None if old is None else [line for item in old for line in item.lines]
    write_record(path, key, case.answers())
    was = {None: "new", True: "as before, to the bit", False: "other answers than before"}
    said = was[None if before is None else not before]
    return Finding(
        "golden",
        SKIPPED,
        f"recorded {case.samples} samples' answers in {path} ({said})",
        {"samples": case.samples},
        before or (),
        {"record": str(path), "key": key, "changed": bool(before)},
        word="recorded",
    )


def _nothing(case: Case, folder: Path, key: Key) -> Finding:
    """Skipped, with what to type."""
    device = f" --edgefuse-device '{case.device.address.text}'" if case.device.address.kind != "local" else ""
    where = f" --edgefuse-golden-dir {case.settings.golden_dir}" if case.settings.golden_dir else ""
    others = other_records(folder, key)
    there = f"; {'; '.join(others)}" if others else ""
    return Finding(
        "golden",
        SKIPPED,
        f"nothing is recorded for this bundle on this class of device ({key['device_class']}){there}",
        result={"record": None, "key": key, "others": others},
        hint=f"Record: pytest {_shown(case.path)}::golden{device}{where} --edgefuse-update-golden",
    )


def _shown(path: Path) -> str:
    """As somebody here would type it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _compare(case: Case, path: Path, key: Key) -> Finding:
    if not _fits(case, path):
        raise InputError(
            f"does not hold {', '.join(case.bundle.spec.outputs)} of {case.samples} samples",
            where=str(path),
            hint="Restore it, or record again.",
        )
    found = _differences(case, path)
    lines = [line for item in found for line in item.lines]
    differing = max(item.samples_differing for item in found)
    said = f"of {case.samples} samples' answers {differing} are other than recorded in {path}"
    equal = f"{case.samples} samples' answers are to the bit those recorded in {path.name}"
    return Finding(
        "golden",
        Verdict.FAIL.value if lines else Verdict.PASS.value,
        said if lines else equal,
        {"samples": case.samples, "differing": differing},
        lines,
        {"record": str(path), "key": key, "outputs": [item.to_json() for item in found]},
    )


def _fits(case: Case, path: Path) -> bool:
    wanted = dict.fromkeys((f"{ANSWERS}{name}" for name in case.bundle.spec.outputs), case.samples)
    return count_rows(path) == wanted


def _differences(case: Case, path: Path) -> list[OutputBits]:
    return compare_bits(zip(read_answers(path), read_answers(case.answers(), f"{DEVICE}.")))
