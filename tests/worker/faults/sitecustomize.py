"""On the PYTHONPATH of a worker it gives the executor one more job, ``fault``: what a vendor's library may do to us."""

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

NEVER_S = 600


def run(desk, arguments, arrays):
    from edgefuse.worker.wire import Answer

    given = dict(arguments)
    answer = globals()[given.pop("kind")](desk, arrays, **given)
    return answer if isinstance(answer, Answer) else Answer(answer)


def echo(desk, arrays, value=None):
    from edgefuse.worker.wire import Answer

    return Answer(value, arrays)


def temporary(desk, arrays):
    """A folder that a vendor's library would have removed, had it not been killed."""
    import tempfile

    return tempfile.mkdtemp()


def pid(desk, arrays):
    return os.getpid()


def die(desk, arrays, number):
    os.kill(os.getpid(), number)
    time.sleep(NEVER_S)


def leave(desk, arrays, code, said=""):
    sys.stderr.write(said)
    sys.stderr.flush()
    os._exit(code)


def die_leaving_a_fork(desk, arrays):
    """The fork holds the pipe of our answers open."""
    if os.fork() == 0:
        time.sleep(NEVER_S)
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(desk, arrays, pids):
    """With a child, a child in a session of its own, and a grandchild whose parent has ended; deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeping = ["sleep", str(NEVER_S)]
    children = [subprocess.Popen(sleeping), subprocess.Popen(sleeping, start_new_session=True)]
    orphan = subprocess.run(["sh", "-c", f"sleep {NEVER_S} >&2 & echo $!"], stdout=subprocess.PIPE, check=True)
    found = [os.getpid(), *(child.pid for child in children), int(orphan.stdout)]
    Path(pids).with_suffix(".new").write_text(" ".join(map(str, found)))
    Path(pids).with_suffix(".new").rename(pids)
    time.sleep(NEVER_S)


def sleep(desk, arrays, seconds):
    time.sleep(seconds)
    return os.getpid()


def tell(desk, arrays, count):
    for number in range(count):
        with desk.steps.step(f"step {number}") as step:
            step.note("noted")


def chatter(desk, arrays):
    """Printing on standard output, from Python and from C, and reading standard input."""
    print("chatter", flush=True)
    os.write(1, b"\x00EF1 chatter of a library" * 1000)
    return sys.stdin.read()


def allocate(desk, arrays, megabytes):
    import numpy as np

    return int(np.ones(megabytes << 20, np.uint8).sum())


def refuse(desk, arrays, error="DeviceMismatchError", where="node 3"):
    import edgefuse.errors

    raise getattr(edgefuse.errors, error)("refused", where=where, hint="another one")


def defect(desk, arrays):
    return {}["nothing"]


def no_json(desk, arrays):
    return {1, 2}


def no_numbers(desk, arrays):
    import numpy as np

    from edgefuse.worker.wire import Answer

    return Answer(None, {"words": np.array(["a"])})


def make(desk, arrays, files):
    """Name to size, of a folder that can be fetched."""
    folder = desk.new_folder()
    for name, size in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((os.urandom(1024) * (size // 1024 + 1))[:size])
    return desk.key(folder)


def fill(desk, arrays):
    with (desk.work / "filling").open("wb") as stream:
        while True:
            stream.write(bytes(1 << 20))


def hold(desk, arrays, value):
    """What was held before, and *value* from now on."""
    before, desk.held["value"] = desk.held.get("value"), value
    return before


def remember(desk, arrays, key):
    return [str(path.relative_to(desk.bundle(key))) for path in desk.bundle(key).rglob("*") if path.is_file()]


def limit(desk, arrays, megabytes):
    """From now on the executor has so much address space beyond what it uses."""
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20),) * 2)


def file(desk, arrays, digest):
    return desk.file(digest).stat().st_size


def where(desk, arrays):
    return [os.getcwd(), *sys.path]


if "edgefuse.worker.executor" in sys.orig_argv:
    from edgefuse.worker.jobs import JOBS

    module = types.ModuleType("edgefuse.worker.jobs.fault")
    module.run = run
    sys.modules[module.__name__] = module
    JOBS["fault"] = "fault:run"
