"""The page: what it says, and that every picture is drawn of what is there."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgefuse.bench.recorded import judge_recorded
from edgefuse.report.bench_text import bench_rows, history_rows, verdict_text
from edgefuse.report.history import ROWS, render, write_html
from edgefuse.report.pictures.history import time_ticks


class Page(HTMLParser):
    """The text that a reader sees (a ``<wbr>`` is no gap), and the labels of the pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.pictures: list[str] = []
        self.open: list[str] = []
        self.feed(html.replace("<wbr>", ""))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "wbr", "br"):
            self.open.append(tag)
        if tag == "svg" and dict(attributes).get("role") == "img":
            self.pictures.append(dict(attributes)["aria-label"])

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self.open and "svg" not in self.open:
            self.words.append(data)


def page(report=None, lines=(), damage=None):
    return {"bench": report, "path": "bench.jsonl", "lines": list(lines), "damage": damage}


def interleaved(report):
    found = report(2.0)
    comparison = {
        "kind": "interleaved", "p90_ratio": 1.2, "ci95": [1.18, 1.22], "widened_ci95": [1.17, 1.23], "rounds": 200,
        "block_rounds": 6.0, "verdict": "fail", "limit": 1.05, "more_runs": None, "why": None,
    }  # fmt: skip
    baseline = {**report(1.7)["candidate"], "path": "old.edgefuse", "hash": "b" * 64}
    return {**found, "baseline": baseline, "comparison": comparison, "verdict": "fail"}


def test_a_comparison_shows_verdict_distributions_and_ratio(report) -> None:
    shown = Page(render(page(interleaved(report))))
    assert "The p90 is 1.200 times the baseline's (95 %: 1.170 … 1.230; limit 1.05)" in shown.text
    assert "old.edgefuse" in shown.text and "quiet enough" in shown.text
    assert [label.partition(":")[0] for label in shown.pictures] == ["Distribution of latency", "Ratio of p90"]


def test_a_history_has_a_picture_and_a_table_for_each_bundle_and_device(lines) -> None:
    remarked = lines(12, remarks=["Slow because of the power mode: 15W"], verdict="fail")
    known = [*lines(ROWS + 5), *lines(3, bundle="arm"), *remarked, *lines(1, bundle="alone")]
    shown = Page(render(page(lines=known)))
    assert len(shown.pictures) == 2 and "p90 of arm over 3 runs" in shown.pictures[0]
    assert "One run: nothing to draw yet" in shown.text and "51 recorded in bench.jsonl" in shown.text
    assert "Slow because of the power mode: 15W." in shown.text and f"The newest {ROWS} of 47" in shown.text


def test_a_bench_against_its_history_shows_both(report, lines) -> None:
    judged = judge_recorded(report(2.4), lines(10))
    shown = Page(render(page(judged, lines(10), "bench.jsonl: 1 line could not be read and does not count: 3")))
    assert len(shown.pictures) == 3 and "damaged history" in shown.text
    assert "weaker than bench A B" in shown.text and "that of 10 recorded runs" in shown.text


def test_with_nothing_to_compare_there_is_no_ratio_picture(report) -> None:
    shown = Page(render(page(judge_recorded(report(2.0), []))))
    assert len(shown.pictures) == 1 and "0 of the 5 quiet recorded runs" in shown.text


def test_every_name_is_escaped_and_nothing_is_loaded(report, lines) -> None:
    evil = "<script>alert(1)</script>"
    html = render(page(lines=lines(3, bundle=evil, remarks=[evil], device_class=evil)))
    assert "<script" not in html and "&lt;script&gt;" in html
    assert not re.search(r'(?:src|href)="(?!#)', html) and "default-src 'none'" in html


def test_a_run_a_hundred_times_slower_does_not_flatten_the_others(lines, tmp_path: Path) -> None:
    known = lines(5)
    known[2]["latency"] = {**known[2]["latency"], "p90_ms": 200.0}
    write_html(tmp_path / "page.html", page(lines=known))
    assert "(log scale)" in (tmp_path / "page.html").read_text() and [*tmp_path.iterdir()] == [tmp_path / "page.html"]


@pytest.mark.parametrize("seconds", [60, 3600, 86_400, 40 * 86_400, 400 * 86_400, 4000 * 86_400])
def test_a_time_axis_has_few_round_ticks(seconds: int) -> None:
    places, labels = time_ticks(1.79e9, 1.79e9 + seconds)
    assert 1 <= len(places) <= 5 and len(set(labels)) == len(labels)
    assert all(1.79e9 <= place <= 1.79e9 + seconds for place in places)


def test_the_terminal_says_what_an_inconclusive_bench_needs(report, lines) -> None:
    told = dict(bench_rows(judge_recorded(report(2.0), lines(2))))
    assert "each bench with --history adds one" in told["to decide"]
    judged = judge_recorded(report(2.4), lines(10, spread=0.1))
    assert "in turns on one machine" in dict(bench_rows(judged))["to decide"]
    assert "recorded runs differ that much" in verdict_text(judged)
    noisy = interleaved(report)
    noisy["comparison"] |= {
        "verdict": "inconclusive",
        "more_runs": 900,
        "why": "the limit 1.05 lies inside the interval",
    }
    assert "about 900 more runs of each" in dict(bench_rows(noisy))["to decide"]


def test_on_a_noisy_machine_a_much_slower_bundle_is_undecided_and_said_to_look_slower(report) -> None:
    found = interleaved(report)
    doubt = "the same bundle against itself is known only within 0.900 … 1.100"
    found["comparison"] |= {"verdict": "inconclusive", "more_runs": 5000, "why": doubt}
    found["canary"] |= {"doubt": doubt}
    texts = [text for name, text in bench_rows(found) if name == "to decide"]
    assert len(texts) == 2 and "looks slower all the same" in texts[1]
    found["comparison"]["widened_ci95"] = [0.9, 1.3]
    assert len([text for name, text in bench_rows(found) if name == "to decide"]) == 1


def test_an_accuracy_that_fails_is_said_first(report) -> None:
    found = interleaved(report)
    found["comparison"]["verdict"] = "pass"
    assert verdict_text(found).startswith("accuracy failed; ")


def test_a_history_in_the_terminal_goes_from_the_first_to_the_last(lines) -> None:
    name, text = history_rows(lines(4))[0]
    assert name == "rover" and "4 benches from 2026-09-21 to 2026-09-24" in text and "4 pass, the last pass" in text
