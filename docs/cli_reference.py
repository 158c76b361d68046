"""Writes docs/cli.md from the commands' own help: ``python docs/cli_reference.py``. A test keeps the two equal."""

from __future__ import annotations

from pathlib import Path

import click

from edgefuse.cli import COMMANDS, app

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 80


def help_text(verb: str) -> str:
    """What ``edgefuse VERB --help`` prints in a terminal of 80 columns."""
    parent = click.Context(app, info_name="edgefuse", terminal_width=WIDTH, max_content_width=WIDTH)
    command = app.get_command(parent, verb)
    assert command is not None
    with click.Context(command, info_name=verb, parent=parent) as context:
        return command.get_help(context)


def page() -> str:
    blocks = [f"## edgefuse {verb}\n\n```\n{help_text(verb)}\n```\n" for verb in COMMANDS]
    intro = "# Commands\n\nMade from the commands' own help by `python docs/cli_reference.py`.\n"
    return "\n".join([intro, *blocks])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
