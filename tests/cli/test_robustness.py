"""``edgefuse check --robustness`` on a really compiled model."""

from __future__ import annotations

import json
import zipfile

import pytest

from edgefuse.compile import Request, compile_model
from edgefuse.device import load_device
from edgefuse.progress import Steps
from edgefuse.recipe import read_recipe


@pytest.fixture(scope="module")
def made(tiny_bundle, tmp_path_factory):
    """One run: the page, the JSON and what was said, of 24 samples in the strongest severity."""
    return tiny_bundle, tmp_path_factory.mktemp("page") / "robustness.html"


def run(cli, bundle, *arguments):
    return cli("check", bundle, "--robustness", "--samples", "24", "--severity", "3", *arguments)


def test_both_models_are_compared_and_everything_is_said(cli, made):
    bundle, page = made
    done = run(cli, bundle, "-o", page)
    assert done.code in (0, 3), done.err
    assert "Corruptions" in done.err and "24 samples: both models take about" in done.err
    for expected in (
        "robustness",
        "camera",
        "upside down",
        "NaN burst",
        "float loses, pt",
        "severity",
        "left out",
        str(page),
    ):
        assert expected in done.out, expected
    assert max(map(len, done.out.splitlines())) <= 80
    text = page.read_text()
    assert "camera" in text and "<svg" in text


def test_json_is_the_report_with_all_cases(cli, made):
    done = run(cli, made[0], "--modality", "state", "--json")
    report = json.loads(done.out)
    found = report["robustness"]
    assert {case["stream"] for case in found["cases"]} == {"state"} and {
        case["severity"] for case in found["cases"]
    } == {3}
    assert found["samples"] == 24 and found["of_samples"] == 60 and found["metric"] == "top1"
    assert [row["absent"] for row in found["subsets"]] == [["camera"], ["state"]]
    assert all(case["interaction"] is not None and case["sqnr_db"] < 300 for case in found["cases"] if case["verdict"])
    assert found["float"] is not None and done.code == {"pass": 0, "fail": 1, "inconclusive": 3}[report["verdict"]]
    assert {"The float model", "Corruptions", "Absent sensors"} <= {stage["name"] for stage in report["stages"]}


def test_the_verdict_of_robustness_joins_that_of_the_whole(cli, made):
    """24 samples cannot show that a limit of a tenth of a point is kept."""
    done = run(cli, made[0], "--modality", "state", "--max-drop", "0.1pt", "--json")
    report = json.loads(done.out)
    assert (
        report["robustness"]["verdict"] in ("inconclusive", "fail") and report["verdict"] != "pass" and done.code != 0
    )


def test_a_bundle_without_float_graph_says_how_to_get_one(cli, tiny_recipe, tmp_path):
    out, recipe = tmp_path / "small.edgefuse", read_recipe(tiny_recipe / "recipe.toml")
    request = Request(tiny_recipe / "model.onnx", recipe, load_device("host"), out, precision="int8", float_graph=False)
    compile_model(request, Steps(quiet=True))
    done = run(cli, out)
    assert done.code == 4 and "holds no float graph" in done.err and "--no-float-graph" in done.err
    assert "Checking accuracy" not in done.err, "it is said before anything is run"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--modality", "radar"), "no stream or modality 'radar'"),
        (("-o", "there.txt"), "must end in .html"),
        (("-o", "/no/such/folder/page.html"), "there is no such folder"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_the_work(cli, made, arguments, expected):
    done = run(cli, made[0], *arguments)
    assert done.code == 2 and expected in done.err and "First inference" not in done.err


@pytest.mark.parametrize("flag", ["--samples", "--seed", "--severity", "--modality", "-o"])
def test_flags_of_robustness_without_it_are_refused(cli, made, flag):
    done = cli("check", made[0], flag, {"--modality": "camera", "-o": "page.html"}.get(flag, "1"))
    assert done.code == 2 and "is for --robustness" in done.err and flag in done.err


def test_a_zipped_bundle_is_checked_too(cli, made, tmp_path):
    packed = tmp_path / "tiny.edgefuse.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in made[0].rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(made[0]))
    done = run(cli, packed, "--modality", "state", "-q")
    assert done.code in (0, 3) and done.err == "" and "robustness" in done.out
