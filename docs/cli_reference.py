"""Writes docs/cli.md from the commands' own help: ``python docs/cli_reference.py``. A test keeps the two equal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from edgefuse.cli import COMMANDS

PAGE = Path(__file__).with_name("cli.md")


def help_text(verb: str) -> str:
    """What ``edgefuse VERB --help`` prints in a terminal of 80 columns, asked of a process of its own: click keeps
    the help option of whoever used a command first."""
    command = [sys.executable, "-m", "edgefuse", verb, "--help"]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.rstrip()


def page() -> str:
    blocks = [f"## edgefuse {verb}\n\n```\n{help_text(verb)}\n```\n" for verb in COMMANDS]
    intro = "# Commands\n\nMade from the commands' own help by `python docs/cli_reference.py`.\n"
    return "\n".join([intro, *blocks])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
