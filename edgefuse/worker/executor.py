"""The process that does the work of a worker, which may crash, hang or run out of memory: jobs, one after another.

``python -m edgefuse.worker.executor PARENT WORK`` takes requests as frames on its standard input and answers on its
standard output. Its worker kills it with all that it has started; the kernel does when the worker is gone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgefuse.child import die_with_parent, os_error
from edgefuse.errors import CrashError, EdgeFuseError, OutOfMemoryError
from edgefuse.progress import Step
from edgefuse.worker.desk import Desk, RelayedSteps
from edgefuse.worker.jobs import load_job
from edgefuse.worker.store import Store
from edgefuse.worker.wire import Buffer, Channel, Frame, encode, own_channel


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    channel = own_channel()
    desk = Desk(Store(Path(sys.argv[2])))
    while (frame := channel.receive()) is not None:
        _answer(channel, frame, desk)


def _answer(channel: Channel, frame: Frame, desk: Desk) -> None:
    number = frame.header.get("id")

    def relay(step: Step) -> None:
        channel.send({"id": number, "step": {"name": step.name, "seconds": step.seconds, "notes": step.notes}})

    desk.steps = RelayedSteps(relay=relay)
    try:
        answer = _run(frame, desk)
    except EdgeFuseError as error:
        answer = encode({"id": number, **error.to_json()})
    except OSError as error:
        answer = encode({"id": number, **os_error(error).to_json()})
    except MemoryError as error:
        failure = OutOfMemoryError(f"out of memory: {error}", hint="End other programs on the device.")
        answer = encode({"id": number, **failure.to_json()})
    except Exception as error:  # the boundary of this process: a defect of EdgeFuse, told at the user's
        answer = encode({"id": number, **_defect(error).to_json()})
    channel.write(answer)


def _run(frame: Frame, desk: Desk) -> list[Buffer]:
    """The answer's frame: what a job gives back may be no JSON, or too large, and that is an answer too."""
    found = load_job(str(frame.header["do"]))(desk, dict(frame.header.get("arguments", {})), frame.arrays())
    return encode({"id": frame.header.get("id"), "value": found.value}, found.arrays)


def _defect(error: Exception) -> CrashError:
    import traceback

    traceback.print_exc()
    where = traceback.extract_tb(error.__traceback__)[-1]
    return CrashError(
        f"a defect of EdgeFuse on the device: {type(error).__name__}: {error}",
        where=f"{Path(where.filename).name}:{where.lineno}",
        hint="Please report it.",
    )


if __name__ == "__main__":
    main()
