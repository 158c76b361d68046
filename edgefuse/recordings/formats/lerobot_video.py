"""Frames of a dataset's videos, decoded in order as far as they are asked for: the only file that imports ``av``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgefuse.errors import MissingToolError
from edgefuse.spec import Array

try:
    import av
except ImportError as error:
    raise MissingToolError(
        "the package 'av' is not installed", hint="Install it with: pip install 'edgefuse[lerobot]'"
    ) from error

FAR_S = 2.0
"""Frames up to so far ahead are decoded through, not sought."""
MOST_ERRORS = 1000
READ_ERRORS = (av.FFmpegError, OSError, EOFError, ValueError, IndexError)


class Video:
    """The videos of one feature, one of them open at a time. ``lost``: (file, seconds) of frames that are not there."""

    def __init__(self, rate_hz: float, lost: set[tuple[Path, float]]) -> None:
        self._tolerance_s = 0.5 / rate_hz
        self._lost = lost
        self._path: Path | None = None
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._frame: Any = None
        self._broken, self._end_s = "", math.inf

    def frame(self, path: Path, seconds: float) -> Array:
        """(H, W, 3) uint8, the frame that is shown at *seconds*; raises ``ValueError`` where there is none."""
        try:
            if path != self._path:
                self._open(path)
            if self._broken:
                raise ValueError(self._broken)
            return self._find(seconds)
        except READ_ERRORS as error:
            self._lost.add((path, seconds))
            raise ValueError(f"{path.name} has no frame at {seconds:.3f} s: {_reason(error)}") from error

    def _open(self, path: Path) -> None:
        self._path, self._frame, self._broken, self._end_s = path, None, "", math.inf
        if self._container is not None:
            self._container.close()
        try:
            self._container = av.open(str(path))
            self._frames = self._container.decode(video=0)
        except READ_ERRORS as error:
            self._container, self._broken = None, _reason(error)
            raise

    def _find(self, seconds: float) -> Array:
        earliest, latest = seconds - self._tolerance_s, seconds + self._tolerance_s
        if earliest > self._end_s:
            raise ValueError(f"it ends at {self._end_s:.3f} s")
        here = self._frame.time if self._frame is not None else 0.0
        if here > latest or here < seconds - FAR_S:
            self._seek(max(seconds - self._tolerance_s, 0.0))
        while self._frame is None or self._frame.time < earliest:
            frame = self._next()
            if frame is None and self._frame is None:
                raise ValueError("none can be decoded there")
            if frame is None:
                self._end_s = self._frame.time
                raise ValueError(f"it ends at {self._end_s:.3f} s")
            if frame.time is not None:
                self._frame = frame
        if self._frame.time > latest:
            raise ValueError(f"the next one is at {self._frame.time:.3f} s")
        pixels: Array = self._frame.to_ndarray(format="rgb24")
        return pixels

    def _next(self) -> Any:
        """The next frame that can be decoded; None at the end."""
        for _ in range(MOST_ERRORS):
            try:
                return next(self._frames, None)
            except av.FFmpegError:
                self._frames = self._container.decode(video=0)  # goes on behind the damaged packet
        return None

    def _seek(self, seconds: float) -> None:
        """To the last frame not later than *seconds* from which decoding can begin."""
        stream = self._container.streams.video[0]
        self._container.seek(int(seconds / stream.time_base), stream=stream, backward=True)
        self._frames, self._frame = self._container.decode(video=0), None


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]
