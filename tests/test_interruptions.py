"""What a compile leaves behind when it is stopped: by its user, a kill, a full disk, a vendor's library that dies."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgefuse import child
from edgefuse.bundle import verify

ROOT = Path(__file__).resolve().parent.parent
Compile = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with ``out`` for bundles and ``scratch`` for temporary files."""
    (tmp_path / "out").mkdir()
    (tmp_path / "scratch").mkdir()
    return tmp_path


def heed_signals() -> None:
    """A suite that runs in the background, or under nohup, ignores these, and its children would inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start(place: Path, tiny_recipe: Path) -> Iterator[Compile]:
    """Starts ``edgefuse compile`` of the tiny model in a process of its own."""
    running: list[subprocess.Popen[str]] = []

    def compile_tiny(out: Path, *flags: str, scratch: Path | None = None, **options: Any) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "edgefuse",
            "compile",
            str(tiny_recipe),
            "-o",
            str(out),
            "--precision",
            "float",
            *flags,
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch or place / "scratch")}
        process = subprocess.Popen(
            command,
            env=environment,
            text=True,
            start_new_session=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heed_signals, **options},
        )
        running.append(process)
        return process

    yield compile_tiny
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def wait_for_step(process: subprocess.Popen[str], name: str) -> None:
    """Until the progress says that the step called *name* is done."""
    assert process.stderr is not None
    for line in process.stderr:
        if name in line:
            return
    raise AssertionError(f"the compile ended before {name!r}")


def processes_with(text: str) -> list[str]:
    """The command lines of all processes that name *text*."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if text in line]


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (signal.SIGINT, "Loading the model"),
        (signal.SIGTERM, "Exporting to ONNX"),
        (signal.SIGHUP, "Exporting to ONNX"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_stopped_compile_leaves_nothing(start: Compile, place: Path, number: signal.Signals, step: str) -> None:
    process = start(place / "out" / "x.edgefuse")
    wait_for_step(process, step)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; nothing was written" in said and "Traceback" not in said
    assert list((place / "out").iterdir()) == [] and list((place / "scratch").iterdir()) == []
    assert processes_with(str(place / "scratch")) == [], "the vendor's process outlived us"


def test_an_interrupt_keeps_the_older_bundle(start: Compile, copy_of_bundle: Path) -> None:
    process = start(copy_of_bundle)
    wait_for_step(process, "Exporting to ONNX")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert [path.name for path in copy_of_bundle.parent.iterdir()] == [copy_of_bundle.name]
    assert verify(copy_of_bundle).manifest["plan"]["precision"] == "int8", "the one that was there before"


def test_after_a_kill_the_next_compile_succeeds_and_cleans_up(start: Compile, place: Path) -> None:
    out = place / "out" / "x.edgefuse"
    process = start(out)
    wait_for_step(process, "Exporting to ONNX")
    process.kill()
    process.communicate(timeout=20)
    left = [path.name for path in (place / "out").iterdir()]
    assert len(left) == 1 and left[0].startswith(".x.edgefuse-"), "half a bundle must not look like one"
    assert wait_until(lambda: not processes_with(str(place / "scratch"))), "the vendor's process runs on for ever"
    again = start(out, "-q")
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert [path.name for path in (place / "out").iterdir()] == ["x.edgefuse"]
    verify(out)


# --- disks ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A tmpfs at *folder*; skips the test where this user may not mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def check_refused(process: subprocess.Popen[str], code: int, *said: str) -> None:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert "Traceback" not in errors and "defect" not in errors, errors
    assert errors.count("error:") == 1 and out == ""
    for text in said:
        assert text in errors


@pytest.mark.parametrize("size", ["24k", "64k", "100k"])
def test_a_full_disk_is_one_clear_error(start: Compile, place: Path, size: str) -> None:
    """The tiny bundle has about 200 kB, so that writing fails in the first, a middle or a late file."""
    with mounted(place / "full", f"size={size}") as disk:
        check_refused(start(disk / "x.edgefuse", "-q"), 5, "No space left on device", "Check the disk's space")
        assert list(disk.iterdir()) == []
    assert list((place / "scratch").iterdir()) == []


def test_large_files_go_beside_the_bundle_and_not_into_a_small_temporary_folder(start: Compile, place: Path) -> None:
    """A robot's /tmp is often a few megabytes of memory; here 40 kB, with a bundle of about 200 kB."""
    with mounted(place / "full", "size=40k") as disk:
        process = start(place / "out" / "x.edgefuse", "-q", scratch=disk)
        assert process.wait() == 0
        assert list(disk.iterdir()) == []
    assert [path.name for path in (place / "out").iterdir()] == ["x.edgefuse"]


def test_a_file_that_may_not_grow_is_one_clear_error(start: Compile, place: Path) -> None:
    """As a full disk, for users who may not mount one."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    check_refused(start(place / "out" / "x.edgefuse", "-q", preexec_fn=limit), 5, "File too large")
    assert list((place / "out").iterdir()) == [] and list((place / "scratch").iterdir()) == []


def test_a_read_only_disk_is_refused_before_any_work(start: Compile, place: Path) -> None:
    with mounted(place / "full", "ro") as disk:
        began = time.monotonic()
        check_refused(
            start(disk / "x.edgefuse", "-q"), 2, "cannot write there: Read-only file system", "Choose another -o"
        )
        assert time.monotonic() - began < 15


def test_a_folder_without_permission_is_refused(start: Compile, place: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; the read-only disk above is the same for root")
    (place / "out").chmod(0o555)
    check_refused(start(place / "out" / "x.edgefuse", "-q"), 2, "cannot write there: Permission denied")


# --- two at once ------------------------------------------------------------------------------------------------------


def test_two_compiles_to_one_place_leave_one_whole_bundle(start: Compile, place: Path) -> None:
    out = place / "out" / "x.edgefuse"
    both = [start(out, "-q") for _ in range(2)]
    said = [process.communicate(timeout=180)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    verify(out)
    assert [path.name for path in (place / "out").iterdir()] == ["x.edgefuse"]


def test_bundles_that_are_put_in_place_at_once_replace_each_other(place: Path) -> None:
    """The last step alone, many times: eight processes, one place."""
    code = f"""if True:
        from pathlib import Path
        from edgefuse.bundle_writer import new_bundle, write_manifest
        for _ in range(60):
            with new_bundle(Path({str(place / "out" / "x.edgefuse")!r})) as folder:
                (folder / "model.onnx").write_text("x")
                write_manifest(folder, {{"artifact": {{}}}})
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    all_of_them = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    said = [process.communicate(timeout=120)[1] for process in all_of_them]
    assert [process.returncode for process in all_of_them] == [0] * 8, said
    assert [path.name for path in (place / "out").iterdir()] == ["x.edgefuse"]
    assert sorted(path.name for path in (place / "out" / "x.edgefuse").iterdir()) == ["manifest.json", "model.onnx"]


# --- the vendor's library ---------------------------------------------------------------------------------------------


def crash(**arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def abort(**arguments: Any) -> None:
    print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr, flush=True)
    os.abort()


def hang(**arguments: Any) -> None:
    time.sleep(600)


def leave(**arguments: Any) -> None:
    os._exit(0)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (crash, ("killed by SIGSEGV", "--precision float")),
        (abort, ("killed by SIGABRT", "std::bad_alloc")),
        (hang, ("did not finish within 0.5 s", "--precision float")),
        (leave, ("ended with exit code 0",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_vendor_library_that_dies_is_one_clear_error(
    cli: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tiny_recipe: Path,
    tmp_path: Path,
    function: Callable[..., None],
    said: tuple[str, ...],
) -> None:
    real, limit_s = child.call, 0.5 if function is hang else 60  # every candidate of the search hangs

    def call(name: str, arguments: dict[str, Any], **options: Any) -> Any:
        if name == "edgefuse.probe:compile_artifact":
            return real(f"{__name__}:{function.__name__}", arguments, what=options["what"], timeout_s=limit_s)
        return real(name, arguments, **options)

    monkeypatch.setattr(child, "call", call)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = cli("compile", tiny_recipe, "-o", tmp_path / "x.edgefuse", "-q")
    assert done.code == 5 and "Traceback" not in done.err
    for text in said:
        assert text in done.err
    assert list(tmp_path.iterdir()) == []


# --- readers that go away ---------------------------------------------------------------------------------------------


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("flags", [("--json",), ()], ids=["click", "rich"])
@pytest.mark.parametrize("verb", ["inspect", "devices"])
def test_a_reader_that_has_gone_is_no_verdict(tiny_bundle: Path, verb: str, flags: tuple[str, ...]) -> None:
    """``edgefuse … | head -1``: 1 would say that a gate failed, 0 that the answer was given."""
    command = [sys.executable, "-m", "edgefuse", verb, *([str(tiny_bundle)] if verb == "inspect" else []), *flags]
    pipe = closed_pipe()
    done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    os.close(pipe)
    assert done.returncode == 141 and done.stderr == ""


def test_head_gets_its_line(tiny_bundle: Path) -> None:
    command = f"set -o pipefail; {sys.executable} -m edgefuse inspect {tiny_bundle} --json | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout == "{\n" and done.stderr == "" and done.returncode in (0, 141)


@pytest.mark.parametrize("flags", [("--json",), ()], ids=["click", "rich"])
def test_a_result_that_cannot_be_written_is_an_error(flags: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgefuse", "devices", *flags],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 5
    assert done.stderr.startswith("error: No space left on device") and "Exception ignored" not in done.stderr


def test_a_compile_whose_listener_has_gone_leaves_nothing(start: Compile, place: Path) -> None:
    pipe = closed_pipe()
    process = start(place / "out" / "x.edgefuse", stderr=pipe, stdout=pipe)
    os.close(pipe)
    assert process.wait(timeout=60) == 141
    assert list((place / "out").iterdir()) == [] and list((place / "scratch").iterdir()) == []
