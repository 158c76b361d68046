"""``edgefuse run``: one feed through a bundle."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import click
import numpy as np

from edgefuse.cli.device import device_option
from edgefuse.cli.place import check_place
from edgefuse.errors import FeedError
from edgefuse.progress import Steps
from edgefuse.runtime import load
from edgefuse.spec import Array
from edgefuse.whole_file import whole_file


@click.command("run")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--input",
    "feed_path",
    type=click.Path(path_type=Path),
    required=True,
    help="An .npz file with one array per input.",
)
@device_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the outputs to this .npz file.")
@click.option("--json", "as_json", is_flag=True, help="Print the outputs as JSON.")
def command(bundle: Path, feed_path: Path, device: str | None, output: Path | None, as_json: bool) -> None:
    """Run BUNDLE once on the arrays of an .npz file and show its outputs."""
    if output is not None:
        check_place(output, ".npz")
    outputs = _run_here(bundle, feed_path) if device is None else _run_there(bundle, feed_path, device)
    if output is not None:
        _write(output, outputs)
    for name, array in outputs.items():
        if as_json:
            click.echo(json.dumps({"output": name, "shape": array.shape, "values": array.tolist()}))
        else:
            shown = np.array2string(array, precision=4, threshold=24, max_line_width=76)
            click.echo(f"{name}  {array.dtype} {'x'.join(map(str, array.shape))}\n{shown}")


def _run_here(bundle: Path, feed_path: Path) -> dict[str, Array]:
    with warnings.catch_warnings(record=True) as told, load(bundle) as model:
        for warning in told:
            click.echo(f"warning: {warning.message}", err=True)
        return model(_read_feed(feed_path))


def _run_there(bundle: Path, feed_path: Path, device: str) -> dict[str, Array]:
    from edgefuse.remote import connect, verbs

    feed = _read_feed(feed_path)
    with connect(device, steps=Steps()) as there:
        return verbs.run_once(there, bundle, feed)


def _read_feed(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise FeedError("there is no such file", where=str(path)) from None
    except Exception as error:  # numpy raises a dozen types for the ways in which a file can be wrong
        raise FeedError(
            f"is not an .npz file of plain arrays ({type(error).__name__})",
            where=str(path),
            hint="Write it with numpy.savez(path, name=array, …).",
        ) from error


def _write(path: Path, outputs: dict[str, Array]) -> None:
    with whole_file(path) as part, part.open("wb") as stream:
        np.savez(stream, **outputs)  # type: ignore[arg-type]
