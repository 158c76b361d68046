"""The page and the text of a calibration set: whole, self-contained, and true to the figures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from edgefuse.calibration.show import show
from edgefuse.report.calibration import render, write_html
from edgefuse.report.calibration_text import bars, class_text, counted_findings, set_rows, warning_rows
from edgefuse.report.pictures.calibration import (
    MOST_CLASSES,
    classes_picture,
    highest_bar,
    histogram_picture,
    settling_picture,
)
from tests.recordings.files import tiny, write
from tests.report.page import Page

NAME = "<b>imu"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A set with a name that has markup, a leak, classes, a dead channel."""
    folder = tmp_path_factory.mktemp("set") / "<i>drive"
    for number, split in enumerate(("calibrate", "golden")):
        rng = np.random.default_rng(number)
        imu = rng.normal(size=(64, 1, 10, 4)).astype(np.float32)
        imu[0, 0, 0, 0], imu[1], imu[..., 3] = 7.0, 1.0, 0.0
        (folder / split).mkdir(parents=True)
        np.savez(folder / split / "a.npz", **{NAME: imu}, label=np.arange(64) % 3)
    return show(folder, None)


def test_the_page_is_self_contained_and_escapes_names(found):
    page = Page(render(found))
    assert not page.open and {"svg", "table"} <= page.tags and not page.tags & {"script", "img", "link", "b>imu"}
    assert not [value for value in page.all("href") if not value.startswith("#")] and not page.all("src")
    assert len(page.all("id")) == len(set(page.all("id")))
    for said in ("<i>drive", NAME, "1 of 64 held-out samples equal samples that calibrate", "channel 3 always 0",
                 "64", "4 channels", "samples that calibrate", "3 classes"):  # fmt: skip
        assert said in page.text, said
    assert render(found) == render(found)


def test_the_page_is_written_whole_or_not_at_all(found, tmp_path):
    write_html(tmp_path / "page.html", found)
    assert (tmp_path / "page.html").read_text() == render(found)
    with pytest.raises(KeyError):
        write_html(tmp_path / "other.html", {"kind": "set"})
    assert [item.name for item in tmp_path.iterdir()] == ["page.html"]


def test_the_page_of_topics_lists_them(tmp_path):
    page = Page(render(show(write(tmp_path / "r.npz", tiny(seconds=1.0)), None)))
    assert not page.open and "image" in page.text and "30.0 Hz" in page.text and "Findings" not in page.text


def test_the_rows_name_every_input_with_its_figures(found):
    rows = dict(set_rows(found))
    assert rows["samples"].startswith("64 calibrate, 64 held out")
    assert rows[NAME].startswith("1x10x4 float32: ") and "… 7.00" in rows[NAME]
    assert rows["label"].startswith("0: 22 + 22, 1: 21 + 21") and rows["label"].endswith("(calibrate + held out)")


def test_bars_show_what_is_not_zero():
    assert bars([0.0, 0.001, 0.5, 1.0]) == " ▁▄█" and bars([]) == "" and bars([0.0]) == " "


def test_findings_are_counted_in_words():
    def given(*levels):
        return [{"level": level} for level in levels]

    assert counted_findings(given("warning", "note", "warning")) == "2 warnings and 1 note"
    assert counted_findings([]) == "no findings"


def test_a_compilation_shows_three_warnings_and_how_many_more():
    finding = {"level": "warning", "input": "imu", "text": "far", "hint": ""}
    report = {"calibration": {"findings": [finding] * 5 + [{**finding, "level": "note"}]}}
    assert warning_rows(report) == [("samples", "imu: far")] * 3 + [("samples", "2 more warnings: in the report")]
    assert warning_rows({}) == [] and warning_rows({"calibration": {"by": "folders"}}) == []


def shares(**splits):
    return {"edges": list(range(len(next(iter(splits.values()))) + 1)), "shares": splits}


def test_pictures_are_svg_and_say_what_is_cut_off():
    even, peaked = shares(calibrate=[0.25] * 4, golden=[0.5, 0.5, 0, 0]), shares(recording=[0.9, *[0.01] * 10])
    settled = {"n": [8, 16, 24, 48], **{key: [1.0, 2, 3, 4] for key in ("low", "high", "p_low", "p_high")}}
    classes = {str(kind): {"calibrate": 3, "golden": kind} for kind in range(4)}
    for svg in (histogram_picture("x", 0, even), settling_picture("x", 0, settled), classes_picture(classes)):
        ElementTree.fromstring(svg)
    assert highest_bar(even) is None and highest_bar(peaked) == "90 %"
    assert classes_picture({str(kind): {"calibrate": 1} for kind in range(MOST_CLASSES + 1)}) is None
    assert class_text({"7": {"recording": 3}}) == "7: 3"
