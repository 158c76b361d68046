"""Running a function in a process of its own, so that a vendor library that dies or hangs does not take us with it.

    result = call("edgefuse.backends.openvino:probe", {"path": "…"}, timeout_s=600)

Arguments and result are JSON (no pickle). What the child prints goes to a log. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgefuse.errors import CrashError, EdgeFuseError, OutOfMemoryError, TimeLimitError, ToolchainError, error_from_json

TIMEOUT_S = 1800.0
PR_SET_PDEATHSIG = 1
MIN_FREE_BYTES = 64 * 1024
MEMORY_WORDS = r"MemoryError|std::bad_alloc|Cannot allocate memory"
"""The last that Python, C++ and the C library say of it."""
MEMORY_HINT = "The device has too little memory for it. End other programs there, or compile a smaller model."

KILLED_HINT = "No program does that to itself: somebody ended it, or the system for want of memory (dmesg says so)."


def call(function: str, arguments: dict[str, Any], *, what: str, timeout_s: float = TIMEOUT_S) -> Any:
    """The JSON result of ``module:function(**arguments)``, run in a fresh interpreter.

    *what* says for people what the child does. Raises :class:`CrashError` when it dies or outlives *timeout_s*, and
    whatever :class:`EdgeFuseError` the function raised.
    """
    with tempfile.TemporaryDirectory(prefix="edgefuse-") as folder:
        answer, log = Path(folder) / "answer.json", Path(folder) / "log.txt"
        kills = oom_kills()
        code = _run([function, str(answer), str(os.getpid())], json.dumps(arguments), log, what, timeout_s)
        result = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
        if "value" in result:
            return result["value"]
        _refuse_full_disk(Path(folder))
        if not result:
            raise crash_of(code, what, log, kills)
    raise error_from_json(result)


def _refuse_full_disk(folder: Path) -> None:
    """Vendors' libraries tell a full disk in words of their own ("iostream error"), or die of it."""
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise ToolchainError(
            "No space left on device",
            where=str(folder.parent),
            hint="Free some, or set TMPDIR to a folder on another disk.",
        )


def _run(arguments: list[str], given: str, log: Path, what: str, timeout_s: float) -> int:
    package_root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")]))
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "edgefuse.child", *arguments],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            child.communicate(given.encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeLimitError(f"{what} did not finish within {timeout_s:g} s", hint=_advice()) from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    return child.returncode


def crash_of(code: int, what: str, log: Path, kills_before: int) -> CrashError:
    """The error of a process that ended with *code* and no answer; *kills_before* is :func:`oom_kills` at its start."""
    last, killed = _last_words(log), code == -signal.SIGKILL
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if re.search(MEMORY_WORDS, last) or (killed and oom_kills() > kills_before):
        return OutOfMemoryError(f"{what} {how} for want of memory{last}", hint=MEMORY_HINT)
    return CrashError(f"{what} {how}{last}", hint=KILLED_HINT if killed else _advice())


def _last_words(log: Path) -> str:
    last = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-1:]
    return f"; it last said: {last[0].strip()[:200]}" if last else ""


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since the boot, in this container and in all."""
    found = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError):
            counters = (line.split() for line in Path(path).read_text(encoding="ascii").splitlines())
            found += sum(int(words[1]) for words in counters if words[0] == "oom_kill")
    return found


def _advice() -> str:
    return (
        "The vendor's library failed on this graph. Try --precision float, or another version of the library "
        "(edgefuse doctor shows which one is installed)."
    )


def die_with_parent(parent: int) -> None:
    """A *parent* that is killed outright cannot kill us: ask the kernel to (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)


def os_error(error: OSError) -> ToolchainError:
    """What the system refused, for a person."""
    return ToolchainError(
        error.strerror or str(error), where=str(error.filename or ""), hint="Check the disk's space and permissions."
    )


def main() -> None:
    """The child's side: read arguments, call, write the answer."""
    target, answer = sys.argv[1], Path(sys.argv[2])
    die_with_parent(int(sys.argv[3]))
    module, _, function = target.partition(":")
    arguments = json.load(sys.stdin)
    try:
        result = {"value": getattr(importlib.import_module(module), function)(**arguments)}
    except EdgeFuseError as error:
        result = error.to_json()
    except OSError as error:  # a full disk, say: no fault of the vendor's library
        result = os_error(error).to_json()
    except MemoryError as error:
        result = OutOfMemoryError(f"out of memory: {error}", hint=_advice()).to_json()
    temporary = answer.with_suffix(".part")
    temporary.write_text(json.dumps(result), encoding="utf-8")
    temporary.rename(answer)
    # A vendor library that crashes while it is being unloaded has already answered.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
