"""A bundle as pytest's argument: which tests it has, how they are chosen, what is refused."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import pytest

import edgefuse.pytest_plugin.options
from edgefuse.bundle_writer import pack
from edgefuse.pytest_plugin.checks import CHECKS
from edgefuse.pytest_plugin.limits import KEYWORDS
from edgefuse.pytest_plugin.options import INI

ALL = [f"tiny.edgefuse::{name}" for name in CHECKS]


@pytest.fixture
def here(pytester, tiny_bundle):
    """A folder with ``tiny.edgefuse`` in it."""
    shutil.copytree(tiny_bundle, pytester.path / "tiny.edgefuse")
    return pytester


def collected(pytester, *arguments):
    result = pytester.runpytest("--collect-only", "-q", *arguments)
    assert result.ret == 0, result.stdout.str()
    return [line for line in result.outlines if "::" in line]


@pytest.mark.parametrize("arguments", [["--edgefuse-bundle", "tiny.edgefuse"], ["tiny.edgefuse"], ["tiny.edgefuse/"]])
def test_a_bundle_alone_has_all_tests(here, arguments):
    assert collected(here, *arguments) == ALL


def test_nothing_is_collected_of_a_bundle_that_was_not_named(here):
    here.makepyfile("def test_mine(): pass")
    assert collected(here) == ["test_nothing_is_collected_of_a_bundle_that_was_not_named.py::test_mine"]


def test_together_with_the_users_own_tests_each_once(here):
    here.makepyfile("def test_mine(): pass")
    found = collected(here, "--edgefuse-bundle", "tiny.edgefuse", "tiny.edgefuse::latency", ".")
    assert found[0].endswith("::test_mine") and found[1:] == ALL


def test_tests_are_chosen_as_all_tests_are(here):
    assert collected(here, "tiny.edgefuse::latency") == ["tiny.edgefuse::latency"]
    assert collected(here, "tiny.edgefuse::memory", "tiny.edgefuse::golden") == [ALL[2], ALL[5]]
    assert collected(here, "tiny.edgefuse", "-k", "golden or memory") == [ALL[2], ALL[5]]
    assert collected(here, "tiny.edgefuse", "--deselect", "tiny.edgefuse::golden") == [*ALL[:2], *ALL[3:]]
    assert collected(here, "tiny.edgefuse", "-m", "edgefuse") == ALL


def test_a_bundle_in_a_folder_that_pytest_skips(here):
    (here.path / "build").mkdir()
    shutil.move(here.path / "tiny.edgefuse", here.path / "build" / "tiny.edgefuse")
    assert collected(here, "--edgefuse-bundle", "build/tiny.edgefuse") == [f"build/{name}" for name in ALL]


def test_two_bundles_of_which_one_lies_elsewhere(here, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "other.edgefuse"
    shutil.copytree(here.path / "tiny.edgefuse", other)
    found = collected(here, "--edgefuse-bundle=tiny.edgefuse", f"--edgefuse-bundle={other}")
    assert found[:6] == ALL and len(found) == 12 and found[6].endswith("elsewhere0/other.edgefuse::integrity")


@pytest.mark.parametrize("form", ["{}", "--edgefuse-bundle {}", "--edgefuse-bundle={}"])
def test_a_bundle_that_has_no_folder_in_common_with_the_tests(here, tmp_path_factory, form):
    """pytest alone would make it its root folder."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        other = shutil.copytree(here.path / "tiny.edgefuse", Path(folder) / "other.edgefuse")
        found = collected(here, *form.format(other).split())
        assert len(found) == 6 and found[0].endswith(f"{other.parent.name}/other.edgefuse::integrity")
        assert {path.name for path in other.iterdir()} == {
            path.name for path in (here.path / "tiny.edgefuse").iterdir()
        }


def test_a_configuration_that_pytest_would_not_read_is_not_ignored(here, tmp_path_factory):
    other = shutil.copytree(here.path / "tiny.edgefuse", tmp_path_factory.mktemp("elsewhere") / "other.edgefuse")
    here.makeini("[pytest]")
    result = here.runpytest("--edgefuse-bundle", other)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*pytest has not read *tox.ini: *Write --edgefuse-bundle={other}"])
    assert len(collected(here, f"--edgefuse-bundle={other}")) == 6
    assert len(collected(here, "--edgefuse-bundle", "tiny.edgefuse")) == 6


def test_a_zip(here):
    pack(here.path / "tiny.edgefuse", here.path / "packed.edgefuse.zip")
    assert collected(here, "packed.edgefuse.zip") == [f"packed.edgefuse.zip::{name}" for name in CHECKS]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny.edgefuse::latancy"], "*no test 'latancy' of a bundle. Did you mean 'latency'?*"),
        (["nothing.edgefuse"], "*nothing.edgefuse: there is no such bundle. Make one with: edgefuse compile*"),
        (["--edgefuse-bundle", "nothing"], "*--edgefuse-bundle nothing: there is no such bundle*"),
        (["--edgefuse-update-golden"], "*--edgefuse-update-golden: no bundle was named*"),
        (["--edgefuse-report", "x.txt"], "*--edgefuse-report: x.txt must end in .json*"),
        (["--edgefuse-report", "no/x.json"], "*there is no such folder*"),
        (["--edgefuse-timeout", "0"], "*--edgefuse-timeout: 0 is no number of seconds*"),
        (["--edgefuse-recording", "no.mcap"], "*--edgefuse-recording: there is no *no.mcap*"),
    ],
)
def test_a_wrong_command_line_is_refused_before_any_test(here, arguments, said):
    result = here.runpytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_nothing_in_a_bundle_is_run(here):
    """It may come from anybody."""
    for name in ("test_evil.py", "conftest.py"):
        (here.path / "tiny.edgefuse" / name).write_text("raise SystemExit('run')\n")
    assert here.runpytest("--collect-only").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result = here.runpytest("tiny.edgefuse")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*conftest.py: is no file of a bundle, and pytest would run it*"])


def test_pytest_does_not_write_into_a_bundle(here):
    result = here.runpytest("tiny.edgefuse", "--rootdir=tiny.edgefuse")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pytest would take the bundle * for its root folder*--rootdir=.*"])
    assert not (here.path / "tiny.edgefuse" / ".pytest_cache").exists()


def test_recording_is_refused_in_ci(here, monkeypatch):
    monkeypatch.setenv("CI", "true")
    result = here.runpytest("tiny.edgefuse::golden", "--edgefuse-update-golden")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--edgefuse-update-golden: CI is set*"])
    assert not (here.path / "tiny.edgefuse.golden").exists()


def test_the_options_have_a_group_in_help(pytester):
    text = pytester.runpytest("--help").stdout.str()
    group = text[text.index("EdgeFuse: a bundle on a device") :]
    options = (
        "bundle",
        "device",
        "report",
        "update-golden",
        "golden-dir",
        "recipe",
        "recording",
        "timeout",
        "strict",
        "history",
    )
    assert all(f"--edgefuse-{name}" in group for name in options)
    assert "edgefuse_device" in text and "edgefuse_golden_dir" in text


def test_the_plugin_costs_nothing_where_it_is_not_used(pytester):
    """Neither numpy nor anything of EdgeFuse but the options."""
    pytester.makepyfile(
        """
        import sys

        def test_mine():
            found = {name for name in sys.modules if name.split(".")[0] in ("edgefuse", "numpy")}
            plugin = {"edgefuse.pytest_plugin", "edgefuse.pytest_plugin.options"}
            assert found == {"edgefuse", "edgefuse.version"} | plugin
        """
    )
    result = pytester.runpytest_subprocess("--strict-markers")
    result.assert_outcomes(passed=1)


def test_the_guide_names_every_option_limit_fixture_and_test():
    guide = (Path(__file__).parents[2] / "docs" / "pytest.md").read_text(encoding="utf-8")
    options = set(re.findall(r'"(--edgefuse-[a-z-]+)"', Path(edgefuse.pytest_plugin.options.__file__).read_text()))
    fixtures = [name for name in vars(edgefuse.pytest_plugin) if name.startswith("edgefuse_")]
    assert len(options) == 10 and len(fixtures) == 6
    missing = [name for name in [*options, *fixtures, *KEYWORDS, *CHECKS, *INI] if f"`{name}" not in guide]
    assert missing == []
