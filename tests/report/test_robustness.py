"""The page on robustness: whole, self-contained, true to the figures. The result is a real one, of models in numpy."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from edgefuse.report.pictures.robustness import contribution_picture, heat_picture, subset_words, subsets_picture
from edgefuse.report.robustness import render, write_html
from edgefuse.report.robustness_text import (
    case_text,
    cell_figure,
    cell_unit,
    figure,
    heat_rows,
    summary_rows,
    verdict_text,
    worst_cases,
)
from tests.report.page import Page
from tests.robustness.robots import Fails, cases_of, clipped, judge, make_bundle, measure

COUNT = 120


class Fragile(Fails):
    """Clips, and a vendor's library that refuses what is far out."""

    def __init__(self):
        super().__init__(lambda name, array: np.clip(array, -2.5, 2.5))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("page"), COUNT, stamps_ns=np.arange(COUNT) * 500_000_000)


@pytest.fixture(scope="module")
def measured(bundle):
    return measure(bundle, Fragile(), judged=judge("top1", "4%"))


@pytest.fixture(scope="module")
def distances(bundle):
    return measure(bundle, clipped(), judged=judge("sqnr"), severities=(1, 3))


def report_of(found):
    machine = {"cpu": "CPU", "arch": "x86_64", "cores": 2, "os": "Linux", "python": "3.12", "packages": {"numpy": "2"}}
    return {"name": "<b>rover", "environment": machine, "robustness": copy.deepcopy(found)}


@pytest.fixture(params=["measured", "distances"])
def report(request):
    return report_of(request.getfixturevalue(request.param))


def test_page_is_well_formed_loads_nothing_and_takes_its_colours_from_the_style(report):
    text = render(report)
    page = Page(text)
    assert page.open == [] and len(text.encode()) < 500_000 and "<b>rover" not in text
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert all(target.startswith("#") for target in [*page.all("href"), *page.all("xlink:href"), *page.all("src")])
    assert "@import" not in text and set(re.findall(r"url\((.)", text)) <= {"#"}
    figures = "".join(re.findall(r"<figure>.*?</figure>", text, re.DOTALL))
    assert not re.findall(r"#[0-9a-fA-F]{6}\b(?=[;\"])", figures)
    used, defined = set(re.findall(r"var\((--\w+)\)", text)), set(re.findall(r"(--\w+):", text))
    assert used <= defined and len(page.all("id")) == len(set(page.all("id")))
    hatched = set(re.findall(r"url\(#(\w+)\)", figures))
    assert hatched <= set(page.all("id")), "what a picture refers to is in the page"


def test_page_says_what_was_found(measured):
    text = Page(render(report_of(measured))).text
    for expected in (
        "in spite of their number",
        "Compiled loses",
        "than float (95 %:",
        "when the camera's values are too large (severity 1): fails",
        "of its values lie outside the range of the clean samples",
        "only camera",
        "of another sample",
        "ToolchainError: illegal value",
        "the stream's check_finite drops such data before the model sees them: camera NaN burst, imu NaN burst",
        "ms old",
        "limit 4%",
        "figures in 1 pt of top1",
        "the bundle has no parts",
    ):
        assert expected in text, expected
    assert f"{len(measured['cases'])} cases" in text and "120 of 120 golden samples" in text


def test_page_without_a_metric_shows_distances_and_no_verdict(distances):
    text = Page(render(report_of(distances))).text
    assert "No verdict: the metric is SQNR" in text and "SQNR, dB" in text and "loses more beyond" not in text
    assert "float loses" not in text


def test_worst_cases_come_first_and_what_is_sure_before_what_is_much(measured):
    cases = worst_cases(measured)
    certain = [case["interaction"]["certain"] for case in cases]
    assert certain == sorted(certain, reverse=True) and certain[0]
    assert all(case["interaction"]["value"] > 0 for case in cases)
    assert case_text(cases[0], measured).count("compiled loses") == 1
    assert verdict_text(measured).startswith(f"{measured['certain']} of ")


def test_heat_rows_hold_every_case_at_its_severity(measured):
    rows = heat_rows(measured)
    assert sum(cell is not None for row in rows for cell in row.cells) == len(measured["cases"])
    large = next(row for row in rows if row.stream == "camera" and row.name == "values too large")
    assert large.cells[0].mark == "certain" and large.cells[1].mark == "error" and large.cells[1].extra is None
    missing = next(row for row in rows if row.name == "missing")
    assert missing.cells[:2] == (None, None) and missing.cells[2].drop == pytest.approx(
        100 * cases_of(measured, stream="camera", name="missing")[0]["float"]["drop"]
    )


def texts(svg):
    assert svg is not None
    return [item.text or "" for item in ElementTree.fromstring(svg).iter() if item.tag.endswith("text")]


def test_pictures_hold_the_figures(measured, distances):
    rows = [row for row in heat_rows(measured) if row.stream == "camera"]
    shown = texts(heat_picture("camera", 0, rows, measured))
    assert {"float loses, pt", "compiled loses more", "values too large", "blur"} <= set(shown)
    assert cell_figure(rows[0].cells[2].drop) in shown
    only = texts(heat_picture("camera", 0, heat_rows(distances), distances))
    assert "SQNR, dB" in only and "float loses, pt" not in only
    assert {"all sensors", "only imu", "only camera", "float", "compiled"} <= set(texts(subsets_picture(measured)))
    assert "camera, absent" in texts(contribution_picture(measured))
    assert subsets_picture(distances) is None and contribution_picture(distances) is None


def test_subsets_are_named_by_what_is_short():
    assert subset_words({"absent": ["a"], "present": ["b", "c"]}) == "without a"
    assert subset_words({"absent": ["a", "b"], "present": ["c"]}) == "only c"
    assert subset_words({"absent": ["a", "b"], "present": ["c", "d"]}) == "without a and b"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0"), (-0.0, "0.0"), (3.14, "3.1"), (-52.8, "−52.8"), (-100.0, "−100"), (0.004, "0.004"), (-0.02, "−0.02"),
     (3.2e-5, "3e−5"), (-0.00021, "−2e−4")],
)  # fmt: skip
def test_figures_are_short(value, text):
    assert figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0"), (-0.001, "0.0"), (-0.08, "−0.08"), (0.42, "0.4"), (-3.6, "−3.6"), (-52.8, "−52.8"), (123.4, "123"),
     (4321.0, "4321"), (1.2e7, "1e7")],
)  # fmt: skip
def test_figures_of_the_heat_map_fit_a_cell(value, text):
    assert cell_figure(value) == text and len(text) <= 5


@pytest.mark.parametrize(
    ("metric", "limit", "unit"),
    [("top1", 0.01, (100.0, "pt")), ("top1", 0.0005, (1000.0, "pt ×0.1")), ("mae", 0.00081, (1000.0, "×0.001")),
     ("mae", 0.3, (1.0, "")), ("mae", 0.0, (1.0, "")), ("mae", 25.0, (1.0, ""))],
)  # fmt: skip
def test_the_heat_map_is_in_the_power_of_ten_of_the_limit(metric, limit, unit):
    assert cell_unit({"metric": metric, "limit": limit}) == (pytest.approx(unit[0]), unit[1])


def test_same_result_gives_the_same_page_and_it_is_written_whole(measured, tmp_path, monkeypatch):
    write_html(tmp_path / "a.html", report_of(measured))
    assert (tmp_path / "a.html").read_text() == render(report_of(measured))
    monkeypatch.setattr("edgefuse.report.robustness.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_html(tmp_path / "b.html", report_of(measured))
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_rows_of_the_terminal_name_each_reason_once(measured):
    rows = summary_rows(measured)
    left_out = [text for name, text in rows if name == "left out"]
    assert left_out == ["camera values too large 2 and camera values too large 3: ToolchainError: illegal value"]
    assert rows[0][1].startswith("FAIL: ") and [name for name, _ in rows].count("worst") == 1
