"""Every error that EdgeFuse raises on purpose, drawn once.

    EdgeFuseError
    ├── UsageError              2   the command line or a call is wrong
    ├── InputError              4   a file that the user gave is wrong
    │   ├── ModelError              the model file, or what is in it
    │   │   └── UntrustedError      it would run its author's code: needs --trust
    │   ├── RecipeError             the recipe or the device profile
    │   ├── CalibrationError        the calibration set
    │   ├── RecordingError          a recorded stream
    │   ├── FeedError               the arrays of one call
    │   │   └── StreamError             a step of a stream that has no outputs
    │   └── BundleError             the bundle: missing, damaged, of another format
    └── ToolchainError          5   a vendor library or the device
        ├── MissingToolError        a package is not installed
        ├── CrashError              a vendor library died or hung
        │   ├── OutOfMemoryError        the kernel killed it, or it could not allocate
        │   └── TimeLimitError          it did not come back in time, and was killed
        ├── DeviceMismatchError     made for another device or another version
        └── DeviceError             the machine that --device names
            ├── UnreachableError        no connection, or it broke
            ├── AuthenticationError     it refused the key, or has another host key
            ├── MissingRuntimeError     it has no Python with EdgeFuse
            ├── VersionMismatchError    it has another version of EdgeFuse
            └── DeviceBusyError         somebody else is using it

The number is the exit code. A message says what is wrong (actual and expected); ``where`` names the file and key,
tensor or node; ``hint`` says what to do. Imports nothing: every module may use it.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager


class EdgeFuseError(Exception):
    """Base of all errors meant for a person; ``str()`` holds all three parts, ready to print."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        hint = f"\n{self.hint}" if self.hint else ""
        return f"{where}{self.what}{hint}"

    def to_json(self) -> dict[str, str]:
        """For another process; see :func:`error_from_json`."""
        return {"error": type(self).__name__, "what": self.what, "where": self.where, "hint": self.hint}


class UsageError(EdgeFuseError):
    exit_code = 2


class InputError(EdgeFuseError):
    exit_code = 4


class ModelError(InputError):
    """The model file cannot be read, exported or trusted to give one answer."""


class UntrustedError(ModelError):
    """Loading the file would run code that it carries."""


class RecipeError(InputError):
    """A recipe or a device profile is wrong."""


class CalibrationError(InputError):
    """The calibration set does not fit the model."""


class RecordingError(InputError):
    """A recording of sensor streams is missing, damaged, or does not fit the model."""


class FeedError(InputError):
    """The arrays of one call do not fit the model."""


class StreamError(FeedError):
    """The step of a stream has no outputs: a sensor has not delivered, or not for too long."""


class BundleError(InputError):
    """The bundle is missing, damaged or of a format that this version does not read."""


class ToolchainError(EdgeFuseError):
    """A vendor library refused or failed."""

    exit_code = 5


class MissingToolError(ToolchainError):
    """A package that this step needs is not installed."""


class CrashError(ToolchainError):
    """A vendor library died (signal) or did not come back (time limit)."""


class OutOfMemoryError(CrashError):
    """The kernel killed it for want of memory, or it could not allocate."""


class TimeLimitError(CrashError):
    """It did not come back within its time limit, and was killed."""


class DeviceMismatchError(ToolchainError):
    """The bundle was made for another device, toolchain version or instruction set."""


class DeviceError(ToolchainError):
    """The machine that ``--device`` names cannot be used."""


class UnreachableError(DeviceError):
    """There is no connection to it, or the connection broke."""


class AuthenticationError(DeviceError):
    """It refused the user's key, or its host key is not the known one."""


class MissingRuntimeError(DeviceError):
    """It has no Python with EdgeFuse where the address says."""


class VersionMismatchError(DeviceError):
    """Its EdgeFuse speaks another version of the worker's protocol."""


class DeviceBusyError(DeviceError):
    """Somebody else holds its lock."""


def error_from_json(data: Mapping[str, str]) -> EdgeFuseError:
    """The error that another process put into JSON, with its own type; one of unknown type is the toolchain's."""
    kind = globals().get(str(data.get("error")))
    if not (isinstance(kind, type) and issubclass(kind, EdgeFuseError)):
        kind = ToolchainError
    return kind(str(data.get("what")), where=str(data.get("where", "")), hint=str(data.get("hint", "")))


@contextmanager
def left_out(name: str, failed: dict[str, str], required: Container[str] = ()) -> Iterator[None]:
    """Put the block's error into *failed* under *name* and go on after the block, unless *name* is *required* or the
    device itself is lost."""
    try:
        yield
    except EdgeFuseError as error:
        if name in required or isinstance(error, DeviceError):
            raise
        failed[name] = f"{type(error).__name__}: {error.what}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the closest of *known*, or lists them all; never acts on the guess."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(names)}." if names else ""
