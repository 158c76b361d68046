"""What cannot be tested or written, each told once in its own words: addresses, portable bundles, full disks."""

from __future__ import annotations

import json
import shutil

import pytest

from edgefuse.bundle_writer import write_manifest
from edgefuse.compile import Request, compile_model
from edgefuse.device import load_device
from edgefuse.progress import Steps
from edgefuse.recipe import read_recipe


@pytest.fixture
def here(pytester, tiny_bundle):
    """A folder with ``tiny.edgefuse`` in it, to change."""
    shutil.copytree(tiny_bundle, pytester.path / "tiny.edgefuse")
    return pytester


def rewrite(bundle, change):
    """The manifest after *change*, and signed."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    write_manifest(bundle, manifest)


ADDRESSES = {
    "foo": "'foo' is no address",
    "local?pyton=x": "no option 'pyton'. Did you mean 'python'",
    "robot@10.0.0.5": "Did you mean ssh://robot@10.0.0.5",
}


@pytest.mark.parametrize(("address", "said"), ADDRESSES.items())
def test_a_wrong_address_is_refused_before_any_test(here, address, said):
    result = here.runpytest("tiny.edgefuse", f"--edgefuse-device={address}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --edgefuse-device: *{said}*"])


def test_a_portable_bundle_is_told_by_the_name_that_the_user_gave(pytester, tiny_recipe):
    path = pytester.path / "for arm.edgefuse"
    recipe = read_recipe(tiny_recipe / "recipe.toml")
    compile_model(
        Request(tiny_recipe / "model.onnx", recipe, load_device("arm-cpu"), path, precision="int8"), Steps(quiet=True)
    )
    result = pytester.runpytest(str(path))
    result.assert_outcomes(failed=6)
    assert "a defect of" not in result.stdout.str() and "/folders/" not in result.stdout.str()
    for check in ("integrity", "accuracy"):
        said = f"{check}: DeviceMismatchError: {path}: is portable: it has not been compiled on its device yet *"
        result.stdout.fnmatch_lines([said, f"edgefuse compile '{path}' --device local"])
    result.stdout.fnmatch_lines([f"golden: DeviceMismatchError: {path}: is portable: *"])


def test_a_bundle_for_another_release_is_told_by_its_name_and_the_device_s_command(here):
    rewrite(here.path / "tiny.edgefuse", lambda manifest: manifest["artifact"].update(version="1.2.3"))
    path = here.path / "tiny.edgefuse"
    result = here.runpytest("tiny.edgefuse::determinism")
    result.stdout.fnmatch_lines(
        [
            f"determinism: DeviceMismatchError: {path}: was made for * 1.2.3; the device has *",
            f"Install * or compile it again on the device: edgefuse compile {path} --device local",
        ]
    )


def test_a_report_that_cannot_be_written_is_no_success(here):
    (here.path / "out").mkdir()
    here.makepyfile(test_own="import shutil\n\ndef test_takes_it_away():\n    shutil.rmtree('out')\n")
    result = here.runpytest("tiny.edgefuse::integrity", "test_own.py", "--edgefuse-report=out/report.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["--edgefuse-report: could not write *report.json: No such file or directory"])
    result.stdout.no_fnmatch_line("report: *")


def test_a_full_disk_here_is_no_defect(here):
    """A limit on the size of files is as good: the system refuses to write."""
    here.makeconftest(
        """
        import resource

        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            if item.name == "golden":  # the device is connected already, and has no limit
                resource.setrlimit(resource.RLIMIT_FSIZE, (256, resource.RLIM_INFINITY))
            try:
                return (yield)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        """
    )
    result = here.runpytest_subprocess("tiny.edgefuse::integrity", "tiny.edgefuse::golden", "--edgefuse-update-golden")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["golden: ToolchainError: */edgefuse-*: File too large"])
    assert "a defect of" not in result.stdout.str() and "Traceback" not in result.stdout.str()


def test_what_is_recorded_is_found_by_its_own_folder_too(here):
    here.runpytest("tiny.edgefuse::golden", "--edgefuse-update-golden").assert_outcomes(skipped=1)
    for folder in (".", "tiny.edgefuse.golden"):
        here.runpytest("tiny.edgefuse::golden", f"--edgefuse-golden-dir={folder}").assert_outcomes(passed=1)
    result = here.runpytest("tiny.edgefuse::golden", "--edgefuse-golden-dir=elsewhere")
    result.stdout.fnmatch_lines(["tiny.edgefuse::golden *skipped *nothing is recorded*", "* Record: pytest *"])
