"""``edgefuse bench``, its exit codes, its history and its page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgefuse.bench.history import read_history

CODES = {"pass": 0, "fail": 1, "inconclusive": 3}


def test_two_bundles_in_turns_with_history_and_page(cli, tiny_bundle: Path, tmp_path: Path) -> None:
    history, page = tmp_path / "bench.jsonl", tmp_path / "page.html"
    done = cli("bench", tiny_bundle, tiny_bundle, "--runs", 66, "--history", history, "-o", page, "--json", "-q")
    report = json.loads(done.out)
    assert done.code == CODES[report["verdict"]] and report["verdict"] != "fail" and done.err == ""
    assert report["candidate"]["latency"]["runs"] == 68, "whole turns"
    (line,) = read_history(history).lines
    assert line["bundle"] == "tiny" and line["verdict"] == report["verdict"]
    assert line["comparison"]["baseline"]["hash"] == report["baseline"]["hash"]
    assert line["latency"]["p90_ms"] == report["candidate"]["latency"]["p90_ms"]
    assert "Slower or not" in page.read_text()


def test_a_bundle_against_its_own_history(cli, tiny_bundle: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    history = tmp_path / "bench.jsonl"
    for count in range(5):
        done = cli("bench", tiny_bundle, "--runs", "64", "--history", history, "-q")
        assert done.code == 3 and "INCONCLUSIVE" in done.out and f"{count + 1} recorded" in done.out
        assert max(map(len, done.out.splitlines())) <= 80 or str(history) in done.out
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    quiet = {**lines[-1], "canary": {**lines[-1]["canary"], "doubt": None}}
    history.write_text("".join(json.dumps(quiet) + "\n" for _ in range(5)))  # as on a machine that holds still
    done = cli("bench", tiny_bundle, "--runs", "64", "--history", history, "--json", "-q")
    report = json.loads(done.out)
    assert report["comparison"]["kind"] == "recorded" and report["comparison"]["runs"] == 5
    assert done.code == CODES[report["verdict"]] and report["comparison"]["p90_ratio"] is not None


def test_the_history_alone_is_shown_and_drawn(cli, tiny_bundle: Path, tmp_path: Path) -> None:
    history, page = tmp_path / "bench.jsonl", tmp_path / "page.html"
    for _ in range(2):
        cli("bench", tiny_bundle, "--runs", "64", "--history", history, "-q")
    with history.open("a") as stream:
        stream.write('{"format":1,"stamp":"20')  # cut off
    done = cli("bench", "--history", history, "-o", page)
    assert done.code == 0 and "2 recorded" in done.out and "could not be read" in " ".join(done.out.split())
    assert "Benches over time" in page.read_text() and "damaged history" in page.read_text()
    told = json.loads(cli("bench", "--history", history, "--json").out)
    assert len(told["lines"]) == 2 and told["damaged"] == [3]


def test_on_a_device_it_is_the_same(cli, tiny_bundle: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("EDGEFUSE_LOCK", str(tmp_path / "lock"))
    done = cli("bench", tiny_bundle, tiny_bundle, "--device", "local", "--runs", "64", "--json")
    report = json.loads(done.out)
    assert done.code == CODES[report["verdict"]] and report["verdict"] != "fail"
    assert report["candidate"]["path"] == str(tiny_bundle) and "Measuring latency" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no bundle is given"),
        (("BUNDLE",), "nothing to compare with"),
        (("BUNDLE", "BUNDLE", "--runs", "63"), "63"),
        (("BUNDLE", "BUNDLE", "--runs", "64", "--time-budget", "1s"), "cannot be given together"),
        (("BUNDLE", "BUNDLE", "--max-slowdown", "0%"), "no share above zero"),
        (("BUNDLE", "BUNDLE", "--max-slowdown", "5"), "no share above zero"),
        (("BUNDLE", "BUNDLE", "--time-budget", "soon"), "not a duration"),
        (("BUNDLE", "--history", "FOLDER"), "is a folder"),
        (("BUNDLE", "--history", "FOLDER/none/bench.jsonl"), "no such folder"),
        (("BUNDLE", "BUNDLE", "-o", "FOLDER/page.txt"), "must end in .html"),
        (("--history", "FOLDER/none.jsonl"), "no such file"),
        (("BUNDLE", "BUNDLE", "--power-mode", "warp"), "power mode"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(cli, arguments, told: str, tiny_bundle: Path, tmp_path: Path) -> None:
    places = {"BUNDLE": str(tiny_bundle), "FOLDER": str(tmp_path)}
    given = [text.replace("FOLDER", places["FOLDER"]) if text != "BUNDLE" else places["BUNDLE"] for text in arguments]
    done = cli("bench", *given)
    assert done.code in (2, 5 if told == "power mode" else 2) and told in done.err.lower().replace("\n", " ")


def test_wrong_files_are_exit_code_4_and_nothing_is_recorded(cli, tiny_bundle: Path, tmp_path: Path) -> None:
    history = tmp_path / "bench.jsonl"
    assert cli("bench", tmp_path / "none.edgefuse", "--history", history).code == 4
    damaged = Path(shutil.copytree(tiny_bundle, tmp_path / "damaged.edgefuse"))
    (damaged / "model.onnx").write_bytes(b"")
    assert cli("bench", tiny_bundle, damaged, "--history", history).code == 4
    assert not history.exists()
    history.write_text("this is a diary\nof several lines\n")
    done = cli("bench", tiny_bundle, "--history", history)
    assert done.code == 4 and "no history of edgefuse bench" in done.err
    assert history.read_text() == "this is a diary\nof several lines\n"
