"""``--device``: the flag that has another machine do it."""

from __future__ import annotations

import click

device_option = click.option(
    "--device",
    metavar="ADDRESS",
    help="Do it on another machine: ssh://[user@]host[:port], labgrid:PLACE, or local [default: in this process].",
)
