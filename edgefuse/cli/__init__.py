"""The command line: ``edgefuse VERB``. Parses, calls the library, prints, exits; decides nothing else.

Each verb is a module of this package, imported only when it is used, so that ``edgefuse --help`` is instant.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import traceback
from types import FrameType

import click

from edgefuse.errors import EdgeFuseError, InputError, ToolchainError, nearest
from edgefuse.version import __version__

COMMANDS = {
    "compile": "Compile a model for a device, prove it, and write a bundle.",
    "calibration": "Make calibration sets out of recordings, and look into them.",
    "check": "Judge a bundle again on this machine.",
    "bench": "Say whether a bundle became slower: than another, or than it was.",
    "inspect": "Show what is in a bundle or a model file.",
    "lint": "Say what TensorRT would refuse in an ONNX graph, or silently do otherwise.",
    "run": "Run a bundle once on a feed.",
    "replay": "Replay a recorded stream through a bundle.",
    "doctor": "Say what is installed here, what is missing, and the cure.",
    "devices": "List the targets, or show one.",
    "recipes": "List the recipes that ship with EdgeFuse.",
}

DEFECT = 70
"""``EX_SOFTWARE`` of sysexits.h."""

WORKSTATION_PACKAGES = ("torch", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "jinja2", "markupsafe", "matplotlib")

READER_GONE = 141
"""Nobody reads the answer any more; what a shell reports for SIGPIPE (128 + 13), as 130 is for SIGINT."""


class _Verbs(click.Group):
    """A group whose commands are modules, loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"edgefuse.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(f"there is no command {args[0]!r}. {nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgefuse")
def app() -> None:
    """Compile multi-sensor fusion models for edge devices, with proof that they are still accurate."""


def main() -> None:
    """Run the command line; every way out has its exit code (DESIGN §5)."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _interrupt)
    # onnxruntime's wheel (seen: 1.32.0) has a telemetry client, which leaves a file .ses in the temporary folder.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        # Not app.main(), which takes an EOFError for Ctrl-C and exits with 1, "a gate failed", for a closed pipe.
        with app.make_context("edgefuse", sys.argv[1:]) as context:
            code = app.invoke(context)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.UsageError as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted; nothing was written", "", "")
        code = 130
    except EdgeFuseError as error:
        _say(error.what, error.where, error.hint)
        code = error.exit_code
    except SystemExit as error:  # no verb exits by itself
        code = _foreign_exit(error)
    except BrokenPipeError:
        code = READER_GONE
    except OSError as error:
        _say(f"{error.strerror or error}", str(error.filename or ""), "Check the disk's space and permissions.")
        code = 5
    except MemoryError as error:
        _say(f"out of memory: {error}", "", "Are the shapes right? Otherwise use a machine with more memory.")
        code = ToolchainError.exit_code
    except ImportError as error:
        code = _missing_package(error)
    except Exception:  # the boundary: what reaches it is a defect of EdgeFuse, and is shown whole
        code = _defect()
    _finish_stdout()
    sys.exit(code if isinstance(code, int) else 0)


def _missing_package(error: ImportError) -> int:
    """The exit code for a package of the workstation's half that is not there; on a robot it need not be."""
    if (error.name or "").partition(".")[0] not in WORKSTATION_PACKAGES:
        return _defect()
    _say(
        f"this needs the package {error.name!r}, which is not installed",
        "",
        "Install it with: pip install 'edgefuse[compile]'",
    )
    return ToolchainError.exit_code


def _defect() -> int:
    traceback.print_exc()
    _say("this is a defect of EdgeFuse; please report it with the lines above", "", "")
    return DEFECT


def _foreign_exit(error: SystemExit) -> int:
    """The exit code for a ``sys.exit`` that is not ours, whose own code, often 0, would be taken for a verdict."""
    if isinstance(error.__context__, BrokenPipeError):  # rich, when the reader (head, less) has gone
        return READER_GONE
    line = traceback.extract_tb(error.__traceback__)[-1]
    _say(
        f"the code there ended the program (SystemExit: {error.code})",
        f"{line.filename}:{line.lineno}",
        "Code that a model, recipe or metric names must not call sys.exit.",
    )
    return InputError.exit_code


def _finish_stdout() -> None:
    """What could not be written has been told above; Python must not complain about it once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(what: str, where: str, hint: str) -> None:
    place = f"{where}: " if where else ""
    with contextlib.suppress(OSError):  # nobody may be listening; the exit code still tells
        click.echo(f"{click.style('error:', fg='red', bold=True)} {place}{what}", err=True)
        for line in hint.splitlines():
            click.echo(f"  {line}".rstrip(), err=True)
