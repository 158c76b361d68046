"""Keeps the exporters' chatter (thousands of lines) off the terminal, and writes it to a file where it is
needed."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Chatter:
    """What was printed, logged and warned inside a :func:`quiet` block."""

    stream: io.StringIO = field(default_factory=io.StringIO)
    warnings: list[warnings.WarningMessage] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.stream.getvalue() + "".join(f"{w.filename}:{w.lineno}: {w.message}\n" for w in self.warnings)


@contextlib.contextmanager
def quiet(native: bool = False) -> Iterator[Chatter]:
    """Collect stdout, stderr, warnings and torch's log lines; nothing reaches the terminal.

    With *native* what C++ prints as well: for the whole process, so only where that is needed.
    """
    chatter = Chatter()
    with contextlib.ExitStack() as stack:
        if native:
            stack.enter_context(_redirected_descriptors(chatter.stream))
        stack.enter_context(contextlib.redirect_stdout(chatter.stream))
        stack.enter_context(contextlib.redirect_stderr(chatter.stream))
        stack.enter_context(_redirected_logs(chatter.stream))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        chatter.warnings = caught if caught is not None else []
        warnings.simplefilter("always")
        yield chatter


@contextlib.contextmanager
def _redirected_descriptors(stream: io.StringIO) -> Iterator[None]:
    """Descriptors 1 and 2 to a file, whose text is added to *stream* at the end."""
    for python in (sys.stdout, sys.stderr):
        python.flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        try:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
            yield
        finally:
            for descriptor, old in zip((1, 2), kept):
                os.dup2(old, descriptor)
                os.close(old)
            file.seek(0)
            stream.write(file.read().decode(errors="replace"))


@contextlib.contextmanager
def _redirected_logs(stream: io.StringIO) -> Iterator[None]:
    """torch and onnxscript log through handlers of their own, which hold the real stderr from import time."""
    handlers = [
        handler
        for name in ("", "torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")
        for handler in logging.getLogger(name).handlers
        if type(handler) is logging.StreamHandler
    ]
    before = [handler.setStream(stream) for handler in handlers]
    try:
        yield
    finally:
        for handler, old in zip(handlers, before):
            if old is not None:
                handler.setStream(old)


def write_log(text: str, error: BaseException | None = None) -> Path:
    """A new file in the temporary folder with *text* and the whole traceback; error messages name it."""
    trace = "".join(traceback.format_exception(error)) if error else ""
    with tempfile.NamedTemporaryFile("w", prefix="edgefuse-export-", suffix=".log", delete=False) as file:
        file.write(f"{text}\n{trace}")
    return Path(file.name)
