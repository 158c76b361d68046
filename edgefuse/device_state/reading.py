"""Reading one value, or saying why it cannot be read: files of sysfs and procfs, and what a program prints."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOOL_TIMEOUT_S = 10.0


class Unreadable(Exception):
    """Why a value is not known, in words for a report. It never leaves ``edgefuse.device_state``."""


def known(name: str, read: Callable[[], Any]) -> dict[str, Any]:
    """``{name: value}``, or ``{name: None, name_reason: why}``: what another kernel or tool writes is no error here."""
    try:
        return {name: read()}
    except Unreadable as reason:
        return {name: None, f"{name}_reason": str(reason)}
    except (OSError, ValueError, LookupError) as error:
        return {name: None, f"{name}_reason": f"reads otherwise than expected ({type(error).__name__}: {error})"}


def read_text(path: Path) -> str:
    """The stripped text of a small file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except FileNotFoundError:
        raise Unreadable(f"no {path}") from None
    except PermissionError:
        raise Unreadable(f"{path} is readable for root only") from None
    except OSError as error:  # EAGAIN of a sensor that is powered down, ENODEV, EIO …
        raise Unreadable(f"{path}: {error.strerror}") from None


def read_number(path: Path) -> int:
    text = read_text(path)
    try:
        return int(text)
    except ValueError:
        raise Unreadable(f"{path} says {text[:40]!r}, not a number") from None


def read_or_none(path: Path) -> str | None:
    """For a detail that needs no reason where it is missing."""
    try:
        return read_text(path)
    except Unreadable:
        return None


def number_or_none(path: Path) -> int | None:
    try:
        return read_number(path)
    except Unreadable:
        return None


def folders(parent: Path, pattern: str, what: str) -> list[Path]:
    """The folders of *parent* that match, in the order of their numbers; none is :class:`Unreadable`."""
    found = sorted(parent.glob(pattern), key=lambda path: (len(path.name), path.name))
    if not found:
        raise Unreadable(f"no {what} here ({parent / pattern})")
    return found


def run_tool(*command: str, stdin: str = "", timeout_s: float = TOOL_TIMEOUT_S) -> str:
    """What a program prints, on both streams and whatever its exit code: several say the half that they know and fail.

    Raises :class:`Unreadable` where it is not installed, says nothing or takes too long.
    """
    program = shutil.which(command[0])
    if program is None:
        raise Unreadable(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(f"{command[0]} did not answer within {timeout_s:g} s") from None
    except OSError as error:
        raise Unreadable(f"{command[0]} cannot be run: {error.strerror}") from None
    if not done.stdout.strip():
        raise Unreadable(f"{' '.join(command)} printed nothing (exit code {done.returncode})")
    return done.stdout
