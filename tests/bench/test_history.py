"""The file of benches: nothing is lost, what is damaged is counted, and two may write at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgefuse.bench.history import append, damage_text, lines_of, read_history
from edgefuse.errors import InputError


def test_lines_come_back_as_they_were_written(lines, tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    assert read_history(path).lines == ()
    for line in lines(3):
        append(path, line)
    found = read_history(path)
    assert list(found.lines) == lines(3) and found.damaged == () and damage_text(found, path) is None
    assert path.read_text().count("\n") == 3, "one line a bench"
    assert len(found.lines[0]["latency"]["quantiles_ms"]) == 101


def test_a_line_that_was_cut_off_spoils_itself_alone(lines, tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    for line in lines(2):
        append(path, line)
    path.write_bytes(path.read_bytes()[:-100])  # the machine lost power
    found = read_history(path)
    assert len(found.lines) == 1 and found.damaged == (2,)
    append(path, lines(3)[2])
    found = read_history(path)
    assert list(found.lines) == [lines(3)[0], lines(3)[2]] and found.damaged == (2,)
    assert damage_text(found, path) == f"{path}: 1 line could not be read and does not count: 2"


def test_a_first_line_that_was_cut_off_is_damage_and_another_file_is_refused(lines, tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    append(path, lines(1)[0])
    path.write_bytes(path.read_bytes()[:50])
    assert read_history(path).damaged == (1,)
    for text in ("{}", "import json\nimport os\n", '{"format": 1}\n{"format": 1}\n'):
        path.write_text(text)
        with pytest.raises(InputError, match="no history"):
            read_history(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.pop("latency"),
        lambda line: line["latency"].update(p90_ms="fast"),
        lambda line: line["latency"].update(p90_ms=float("nan")),
        lambda line: line["latency"]["quantiles_ms"].pop(),
        lambda line: line.update(stamp="yesterday"),
        lambda line: line.update(verdict="fine"),
        lambda line: line.update(format=2),
    ],
)
def test_a_line_of_another_form_does_not_count(change, lines, tmp_path: Path) -> None:
    path, (first, second) = tmp_path / "bench.jsonl", lines(2)
    change(second)
    path.write_text(json.dumps(first) + "\n" + json.dumps(second) + "\n")
    found = read_history(path)
    assert list(found.lines) == [first] and found.damaged == (2,)


def test_two_processes_that_append_at_once_lose_nothing(lines, tmp_path: Path) -> None:
    path, text = tmp_path / "bench.jsonl", json.dumps(lines(1)[0])
    code = (
        "import json, sys; from pathlib import Path; from edgefuse.bench.history import append\n"
        "for _ in range(50): append(Path(sys.argv[1]), json.loads(sys.argv[2]))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), text]) for _ in range(3)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    found = read_history(path)
    assert len(found.lines) == 150 and found.damaged == ()


def test_a_disk_that_is_full_leaves_nothing_half_written(lines, tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    append(path, lines(1)[0])
    before = path.read_bytes()
    code = (
        "import json, resource, signal, sys; from pathlib import Path; from edgefuse.bench.history import append\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "line, limit = json.loads(sys.argv[2]), int(sys.argv[3])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "try: append(Path(sys.argv[1]), line)\n"
        "except OSError: sys.exit(7)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), json.dumps(lines(1)[0]), str(len(before) + 100)], check=False
    )
    assert done.returncode == 7 and path.read_bytes() == before


def test_a_bundle_is_known_by_its_name_and_the_class_of_its_device(lines, tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    for line in (*lines(2), *lines(1, bundle="arm"), *lines(1, device_class="x86_64-epyc")):
        append(path, line)
    assert len(lines_of(read_history(path), "rover", "aarch64-orin-1234")) == 2
