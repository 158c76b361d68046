"""The only file that imports NVIDIA's library: ``tensorrt`` where it is installed, else TensorRT-RTX.

Imported when it is first asked for and not with this package: the offline check wants TensorRT-RTX alone, and the two
should not share a process. Standard library only.
"""

from __future__ import annotations

import functools
import platform
from collections import deque
from collections.abc import Callable
from typing import Any

from edgefuse.errors import MissingToolError, ToolchainError

OLDEST = 10
"""8.x has no strongly typed networks: precision would be a builder flag and not a property of the graph."""
KEPT_MESSAGES = 32
SHOWN_CHARACTERS = 400

JETSON = (
    "It comes with JetPack: sudo apt install nvidia-jetpack, and a virtual environment made with "
    "python3 -m venv --system-site-packages."
)
DESKTOP = (
    "Install it with: pip install --extra-index-url https://pypi.nvidia.com tensorrt (without NVIDIA's index that "
    "fails while it prepares metadata), or TensorRT-RTX with: pip install 'edgefuse[trt-check]'"
)


@functools.cache
def library() -> Any:
    """The module of the library that builds and runs here; raises ``MissingToolError``, or ``ToolchainError`` for a
    TensorRT older than 10.0."""
    try:
        import tensorrt as found
    except ModuleNotFoundError as error:
        if error.name != "tensorrt":  # it is there, and something that it needs is not: no reason to take RTX instead
            raise _broken("TensorRT", error) from error
    except ImportError as error:
        raise _broken("TensorRT", error) from error
    else:
        _refuse_old(str(found.__version__))
        # NonMaxSuppression, RoiAlign and NonZero are plugins. No logger: it would be kept without being held.
        found.init_libnvinfer_plugins(None, "")
        return found
    try:
        return rtx_library()
    except MissingToolError as error:
        raise MissingToolError("TensorRT is not installed", hint=_cure()) from error


@functools.cache
def rtx_library() -> Any:
    """TensorRT-RTX; raises ``MissingToolError``. The bindings alone do not find the libraries' wheel everywhere."""
    try:
        try:
            import tensorrt_rtx as found
        except ModuleNotFoundError as error:
            if error.name != "tensorrt_rtx":
                raise
            import tensorrt_rtx_bindings as found
            import tensorrt_rtx_libs  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tensorrt_rtx"):
            raise MissingToolError("TensorRT-RTX is not installed", hint=DESKTOP) from error
        raise _broken("TensorRT-RTX", error) from error
    except ImportError as error:
        raise _broken("TensorRT-RTX", error) from error
    return found


def is_rtx(trt: Any) -> bool:
    return str(trt.__name__).startswith("tensorrt_rtx")


def version() -> str:
    """Such as "10.3.0.26", or "rtx-1.7.1.116"."""
    found = library()
    return f"rtx-{found.__version__}" if is_rtx(found) else str(found.__version__)


def _refuse_old(release: str) -> None:
    if int(release.split(".")[0]) < OLDEST:
        raise ToolchainError(
            f"TensorRT {release} is too old: EdgeFuse needs {OLDEST}.0, which comes with JetPack 6.1",
            hint="The trtexec line in the bundle's report builds an engine with TensorRT 8.6.",
        )


def _broken(name: str, error: ImportError) -> MissingToolError:
    return MissingToolError(f"{name} is installed but cannot be loaded: {error}", hint=_cure())


def _cure() -> str:
    return JETSON if platform.machine() == "aarch64" else DESKTOP


def make_logger(trt: Any, wanted: Callable[[str], bool] = lambda message: False) -> Any:
    """A logger that prints nothing and keeps the last messages: ``errors``, ``warnings``, and in ``said`` whatever
    else is *wanted*, all of it. A library keeps the logger it saw first for its messages without an owner."""

    class Collector(trt.ILogger):  # type: ignore[misc]  # the base is known when the vendor's library is
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=KEPT_MESSAGES)
            self.warnings: deque[str] = deque(maxlen=KEPT_MESSAGES)
            self.said: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                self.warnings.append(message)
            elif wanted(message):
                self.said.append(message)

    return Collector()


def last_words(log: Any, otherwise: str = "it gave no reason") -> str:
    """The vendor's own sentence for the last failure."""
    errors = [" ".join(message.split()) for message in log.errors]
    return errors[-1][:SHOWN_CHARACTERS] if errors else otherwise
