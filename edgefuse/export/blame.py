"""Turns an exception from deep inside torch into one sentence and the user's own file and line."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
STANDARD_LIBRARY = Path(traceback.__file__).resolve().parent
_STACK_LINE = re.compile(r'File "([^"]+)", line (\d+)')
_NAMED = re.compile(r"\w*(Error|Exception): ")
_NOISE = re.compile(
    r"Traceback|File \"|While executing|Original traceback|\s*$|For more information|Suggested fix|<class "
)


def root_cause(error: BaseException) -> BaseException:
    """The innermost exception: exporters wrap the cause several times."""
    seen = {id(error)}
    while (inner := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        if id(inner) in seen:
            break
        seen.add(id(inner))
        error = inner
    return error


def one_sentence(error: BaseException, limit: int = 300) -> str:
    """``TypeName: first meaningful line`` of *error*'s message, shortened to *limit* characters."""
    lines = [line.strip() for line in str(error).splitlines() if not _NOISE.match(line.strip())]
    if lines and lines[0].startswith("The following operation failed in the TorchScript interpreter"):
        lines = [line.partition(": ")[2] or line for line in lines if _NAMED.match(line)] or lines
    text = lines[0] if lines else ""
    if text.endswith(":") and len(lines) > 1:
        text = f"{text} {lines[1]}"
    text = text if len(text) <= limit else text[:limit] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_users(filename: str) -> bool:
    """Neither an installed package nor EdgeFuse itself nor a frozen module."""
    path = Path(filename)
    foreign = {"site-packages", "dist-packages", "__torch__"} & set(path.parts)
    inside = any(folder in path.parents for folder in (PACKAGE, STANDARD_LIBRARY))
    return bool(filename) and not filename.startswith("<") and not foreign and not inside


def user_line(error: BaseException) -> str:
    """``file.py:12`` of the innermost frame in the user's code, or an empty string."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else line_in_text(str(error))


def line_in_text(text: str) -> str:
    """The innermost ``File "x.py", line 12`` of the user's code that *text* (a stack trace) mentions."""
    found = [(name, line) for name, line in _STACK_LINE.findall(text) if is_users(name)]
    return "{}:{}".format(*found[-1]) if found else ""
