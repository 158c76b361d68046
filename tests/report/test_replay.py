"""The page of a replay: whole, self-contained, and true to the figures."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree

import pytest

from edgefuse.report.pictures import age_picture, staleness_picture, steps_picture
from edgefuse.report.replay import render, write_html
from edgefuse.report.replay_text import summary_rows
from tests.report.page import Page


def series(count=500, value=20.0):
    times = [0.1 * number for number in range(count)]
    return {"t_s": times, "low": [value / 2] * count, "high": [value + number % 7 for number in range(count)]}


def stream(**changes):
    found = {
        "declared_hz": 30.0, "policy": {"max_age_ms": 100.0}, "deliveries": 1500, "accepted": 1490,
        "dropped": {"backwards": 7, "not finite": 3}, "superseded": 4, "rate_hz": 29.9, "gaps": 12,
        "longest_gap_ms": 99.0, "filled_samples": 0, "age_ms": {"p50": 18.0, "p90": 31.0, "max": 64.0},
        "used": {"fresh": 0.75, "held": 0.25}, "stale": 0.125, "age_over_time_ms": series(),
    }  # fmt: skip
    return found | changes


def curve(*values):
    return [
        {"delay_ms": delay, "value": value, "ci95": [value - 0.05, value + 0.05], "drop": values[0] - value,
         "drop_ci95": [0.0, 0.2]}
        for delay, value in zip((0.0, 100.0, 1000.0), values)
    ]  # fmt: skip


@pytest.fixture
def report():
    """Made up: a camera, an IMU whose name has markup, a goal that was not recorded."""
    imu = stream(declared_hz=200.0, deliveries=10_000, policy={"max_age_ms": None}, dropped={}, superseded=0)
    goal = stream(deliveries=0, rate_hz=None, declared_hz=None, age_ms=None, used={"fallback": 1.0}, stale=0.0,
                  dropped={}, superseded=0, gaps=0, age_over_time_ms={"t_s": [], "low": [], "high": []})  # fmt: skip
    parts = [{"name": name, "streams": [name], "runs": runs, "skipped": 2} for name, runs in
             [("camera", 1500), ("<b>imu", 9000), ("trunk", 9900)]]  # fmt: skip
    return {
        "format": 1, "name": "rover",
        "bundle": {"path": "rover.edgefuse", "verdict": "pass", "plan": "int8", "limit_p90_ms": 5.0,
                   "backend": {"backend": "openvino", "version": "2026.4.1"}},
        "recording": {"path": "drive.npz", "duration_s": 50.0, "start_ns": 0, "labels": 50, "unused": ["gps"],
                      "dropped": {}, "notes": [], "damage": None},
        "tick": "each delivery of imu", "deadline_ms": 4.0, "timing": "estimated",
        "environment": {"cpu": "CPU", "arch": "x86_64", "cores": 2, "os": "Linux", "python": "3.12", "packages": {}},
        "steps": {"total": 10_000, "answered": 9900, "status": {"late": 5, "ok": 9895, "waiting": 100}, "late": 40,
                  "missed": 0, "reason": "no data yet from camera"},
        "streams": {"camera": stream(), "<b>imu": imu, "goal": goal}, "parts": parts,
        "equality": {"ticks": 200, "equal_to_recompute": 200, "max_abs_to_whole": 0.0125},
        "accuracy": {"metric": "top1", "output": "logits", "higher_is_better": True, "value": 0.912,
                     "ci95": [0.88, 0.94], "steps": 9900, "stretches": 50, "not_finite": 0},
        "accuracy_reason": None,
        "measured": {"step_ms": {"p50": 0.3, "p90": 0.9, "p99": 2.0, "max": 6.5},
                     "step_over_time_ms": series(value=0.5),
                     "late_over_time_ms": {"t_s": [3.0], "low": [6.0], "high": [6.5]},
                     "parts_ms": {"camera": {"p50": 0.2, "p90": 0.4}, "<b>imu": None,
                                  "trunk": {"p50": 0.1, "p90": 0.1}},
                     "cpu": {"steps_ms": 3000.0, "whole_ms": 12000.0, "times_less": 4.0, "measured_ticks": 200}},
        "staleness": {"steps": 380, "stretches": 50, "ticks": 400, "of_ticks": 10_000,
                      "delays_ms": [0.0, 100.0, 1000.0],
                      "streams": {"camera": curve(0.91, 0.88, 0.5), "<b>imu": curve(0.91, 0.9, 0.89)}},
        "staleness_reason": None,
    }  # fmt: skip


@pytest.fixture
def silent(report):
    """No step had an answer."""
    report["steps"] |= {"answered": 0, "status": {"waiting": 10_000}, "late": 0}
    nothing = {"t_s": [], "low": [], "high": []}
    cpu = {"steps_ms": None, "whole_ms": None, "times_less": None, "measured_ticks": 0}
    report["measured"] |= {"step_ms": None, "step_over_time_ms": nothing, "late_over_time_ms": nothing, "cpu": cpu}
    report["measured"] |= {"parts_ms": dict.fromkeys(report["measured"]["parts_ms"])}
    report["equality"] = {"ticks": 0, "equal_to_recompute": 0, "max_abs_to_whole": None}
    return report | {"accuracy": None, "accuracy_reason": "the recording has no labels", "staleness": None,
                     "staleness_reason": "the recording has no labels"}  # fmt: skip


@pytest.mark.parametrize("kind", ["report", "silent"])
def test_page_is_well_formed_loads_nothing_and_takes_its_colours_from_the_style(kind, request):
    text = render(request.getfixturevalue(kind))
    page = Page(text)
    assert page.open == [] and len(text.encode()) < 300_000
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "b>imu"}
    assert all(target.startswith("#") for target in [*page.all("href"), *page.all("xlink:href"), *page.all("src")])
    assert "@import" not in text and set(re.findall(r"url\((.)", text)) <= {"#"}
    figures = "".join(re.findall(r"<figure>.*?</figure>", text, re.DOTALL))
    assert not re.findall(r"#[0-9a-fA-F]{6}\b(?=[;\"])", figures)
    used, defined = set(re.findall(r"var\((--\w+)\)", text)), set(re.findall(r"(--\w+):", text))
    assert used <= defined and len(page.all("id")) == len(set(page.all("id")))


def test_page_says_what_the_replay_found(report):
    text = Page(render(report)).text
    for expected in (
        "99 %",
        "9900 of 10000, at each delivery of imu",
        "40",
        "0.900 ms",
        "4.00×",
        "less computing",
        "91.20 %",
        "95 %: 88.0 … 94.0",
        "fresh 75 %, held 25 %, stale 12 %",
        "not finite",
        "camera 1000 ms later costs most: 41.0 pt (95 %: 0 … 20.0)",
        "On 380 of 10000 ticks",
        "All of 200 steps that were checked",
        "not used: gps",
        "<b>imu",
    ):
        assert expected in text, expected
    assert "kept" in text and "exceeded" not in text


def test_page_of_a_replay_without_answers_says_why(silent):
    text = Page(render(silent)).text
    assert "none of 10000 steps had an answer: no data yet from camera (goal: not in the recording)" in text
    assert "not measured: no step had an answer" in text and "the recording has no labels" in text


def test_rows_say_what_changed_and_what_is_missing(report):
    rows = summary_rows(report)
    told = dict(rows)
    first = next(text for name, text in rows if name == "staleness")
    assert first == "top1 with camera later by 100 ms −3 pt, 1000 ms −41 pt"
    assert "7 backwards, 3 not finite, 4 superseded" in told["camera"] and "not in the recording" in told["goal"]
    assert "40 later than 4 ms after the tick by the bundle's figures" in told["steps"]
    report["streams"]["camera"] |= {"gaps": 1, "restarts": 2}
    assert "1 gap (longest 99 ms), its clock went back 2 times; " in dict(summary_rows(report))["camera"]
    report["accuracy"] |= {"metric": "mae", "higher_is_better": False}  # an error that grew
    assert "mae with camera later by 100 ms +0.03, 1000 ms +0.41" in [text for _, text in summary_rows(report)]
    report["accuracy"] |= {"metric": "top1", "higher_is_better": True}
    report["equality"] |= {"equal_to_recompute": 199, "max_abs_to_whole": None}
    report["accuracy"] |= {"ci95": None}
    report["measured"]["cpu"]["times_less"] = 0.8
    told = dict(summary_rows(report))
    assert "1.25 times more than the whole graph" in told["computing"] and "more computing" in render(report)
    assert "only 199 of 200" in told["equality"] and "NaN" in told["equality"] and "95 %" not in told["accuracy"]


def test_same_result_gives_the_same_page_and_it_is_written_whole(report, tmp_path, monkeypatch):
    write_html(tmp_path / "a.html", report)
    assert (tmp_path / "a.html").read_text() == render(copy.deepcopy(report))
    monkeypatch.setattr("edgefuse.report.replay.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_html(tmp_path / "b.html", report)
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def texts(svg):
    assert svg is not None
    return [item.text or "" for item in ElementTree.fromstring(svg).iter() if item.tag.endswith("text")]


def test_pictures_name_their_limits_streams_and_scales(report):
    assert "max_age 100 ms ↑" in texts(age_picture("camera", 0, stream(), 50.0))
    assert "max_age 10 ms" in texts(age_picture("camera", 0, stream(policy={"max_age_ms": 10.0}), 50.0))
    assert age_picture("goal", 2, report["streams"]["goal"], 50.0) is None
    assert "deadline 4 ms" in texts(steps_picture(report))
    found = texts(staleness_picture(report["staleness"], report["accuracy"]))
    assert {"camera", "<b>imu", "0", "100", "1000"} <= set(found) and any("better up" in text for text in found)
    report["staleness"] |= {"delays_ms": [0.0]}
    assert staleness_picture(report["staleness"], report["accuracy"]) is None


@pytest.mark.parametrize("count", [1, 2, 7])
def test_pictures_survive_one_value_many_streams_and_no_intervals(report, count):
    report["measured"]["step_over_time_ms"] = {"t_s": [0.5] * count, "low": [1e-5] * count, "high": [900.0] * count}
    report["deadline_ms"] = None
    assert texts(steps_picture(report))
    rows = [item | {"ci95": None, "value": 3.0, "drop": 0.0} for item in curve(0.0, 0.0, 0.0)]
    report["staleness"]["streams"] = {f"sensor {number}": rows for number in range(count)}
    accuracy = report["accuracy"] | {"metric": "mae", "higher_is_better": False}
    assert any("better down" in text for text in texts(staleness_picture(report["staleness"], accuracy)))
