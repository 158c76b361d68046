"""What the plugin is asked for on pytest's command line, and in its configuration file. Imports nothing of EdgeFuse
until something is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

DEVICE = "local"
TIMEOUT_S = 600.0
INI = {
    "edgefuse_device": "default of --edgefuse-device",
    "edgefuse_golden_dir": "default of --edgefuse-golden-dir, from this file's folder",
}


@dataclass(frozen=True)
class Settings:
    """All options, checked; paths are absolute."""

    bundles: tuple[Path, ...]
    device: str
    report: Path | None
    update_golden: bool
    golden_dir: Path | None
    recipe: str | None
    recording: Path | None
    timeout_s: float
    strict: bool
    history: Path | None


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("edgefuse", "EdgeFuse: a bundle on a device")
    option = group.addoption
    option("--edgefuse-bundle", action="append", metavar="PATH", help="Test this bundle, folder or zip. Repeatable.")
    option("--edgefuse-device", metavar="ADDRESS", help="Test on local (default), ssh://user@host:port, labgrid:PLACE.")
    option("--edgefuse-report", metavar="FILE.json", help="Write all figures, the device and its state to FILE.")
    option(
        "--edgefuse-update-golden",
        action="store_true",
        help="Record this device's answers for the test `golden`; refused where CI is set.",
    )
    option("--edgefuse-golden-dir", metavar="DIR", help="The folder of NAME.edgefuse.golden/ (default: the bundle's).")
    option("--edgefuse-recipe", metavar="RECIPE", help="The recipe whose custom metric to use.")
    option("--edgefuse-recording", metavar="PATH", help="What the fixture edgefuse_replay replays.")
    option("--edgefuse-timeout", type=float, metavar="S", help=f"Seconds for one request (default: {TIMEOUT_S:g}).")
    option("--edgefuse-strict", action="store_true", help="Inconclusive counts as failed.")
    option("--edgefuse-history", metavar="FILE.jsonl", help="Append the latencies to FILE (edgefuse bench --history).")
    for name, text in INI.items():
        parser.addini(name, text)


def read_settings(config: pytest.Config) -> Settings:
    """Raises ``pytest.UsageError``: now and not after an hour."""
    get, folder = config.getoption, config.invocation_params.dir
    golden = _path(get("edgefuse_golden_dir"), folder)
    if golden is None and config.getini("edgefuse_golden_dir"):
        golden = _path(config.getini("edgefuse_golden_dir"), config.inipath.parent if config.inipath else folder)
    if get("edgefuse_update_golden") and _in_ci():
        raise pytest.UsageError(
            "--edgefuse-update-golden: CI is set, and a CI job that records what it is to compare with proves nothing. "
            "Record at a desk, look at the difference, and commit it."
        )
    return Settings(
        bundles=tuple(folder / path for path in get("edgefuse_bundle") or ()),
        device=_address(get("edgefuse_device") or config.getini("edgefuse_device") or DEVICE),
        report=_new_file(get("edgefuse_report"), "--edgefuse-report", ".json", folder),
        update_golden=get("edgefuse_update_golden"),
        golden_dir=golden,
        recipe=get("edgefuse_recipe"),
        recording=_existing(get("edgefuse_recording"), "--edgefuse-recording", folder),
        timeout_s=_seconds(get("edgefuse_timeout")),
        strict=get("edgefuse_strict"),
        history=_new_file(get("edgefuse_history"), "--edgefuse-history", ".jsonl", folder),
    )


def _address(text: str) -> str:
    from edgefuse.errors import UsageError
    from edgefuse.remote.address import parse_address

    try:
        return parse_address(text).text
    except UsageError as error:
        raise pytest.UsageError(f"--edgefuse-device: {error.what}. {error.hint}") from None


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def _path(text: str | None, folder: Path) -> Path | None:
    return folder / text if text else None


def _existing(text: str | None, option: str, folder: Path) -> Path | None:
    path = _path(text, folder)
    if path is not None and not path.exists():
        raise pytest.UsageError(f"{option}: there is no {path}")
    return path


def _new_file(text: str | None, option: str, suffix: str, folder: Path) -> Path | None:
    path = _path(text, folder)
    if path is None:
        return None
    if path.suffix != suffix:
        raise pytest.UsageError(f"{option}: {text} must end in {suffix}")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"there is no such folder: {path.parent}"
        raise pytest.UsageError(f"{option}: {what}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise pytest.UsageError(f"{option}: cannot write {path}")
    return path


def _seconds(given: float | None) -> float:
    if given is None:
        return TIMEOUT_S
    if not 0 < given < float("inf"):
        raise pytest.UsageError(f"--edgefuse-timeout: {given:g} is no number of seconds")
    return given
