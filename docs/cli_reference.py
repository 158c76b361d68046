"""Writes docs/cli.md from the commands' own help: ``python docs/cli_reference.py``. A test keeps the two equal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from edgefuse.cli import COMMANDS, app

PAGE = Path(__file__).with_name("cli.md")


def commands() -> list[str]:
    """Every verb, and the verbs of those that are groups."""
    found = []
    for verb in COMMANDS:
        command = app.get_command(click.Context(app), verb)
        inner = command.commands if isinstance(command, click.Group) else ()
        found += [verb, *(f"{verb} {name}" for name in inner)]
    return found


def help_text(verb: str) -> str:
    """What ``edgefuse VERB --help`` prints in a terminal of 80 columns, asked of a process of its own: click keeps
    the help option of whoever used a command first."""
    command = [sys.executable, "-m", "edgefuse", *verb.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.rstrip()


def page() -> str:
    blocks = [f"## edgefuse {verb}\n\n```\n{help_text(verb)}\n```\n" for verb in commands()]
    intro = "# Commands\n\nMade from the commands' own help by `python docs/cli_reference.py`.\n"
    return "\n".join([intro, *blocks])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
