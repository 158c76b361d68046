"""A board on the desk, a pytest in CI: a bundle that was compiled here, tested on a device without torch behind a real
OpenSSH server; and the same bundle with one branch wrong, which fails and names the branch."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.blame.damage import damage
from tests.blame.robots import make_robot
from tests.remote.ssh_place import SshPlace


def run_pytest(folder: Path, bundle: Path, openssh: SshPlace, python: Path) -> tuple[int, str, dict[str, str]]:
    """Exit code, output, and the figures in the JUnit file, of a run in an empty folder."""
    folder.mkdir()
    command = [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=out.xml"),
        f"--edgefuse-bundle={bundle}",
        f"--edgefuse-device={openssh.address(python=str(python))}",
    ]
    environment = {**os.environ, "EDGEFUSE_SSH": openssh.ssh}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    found = ElementTree.parse(folder / "out.xml").iter("property")
    return done.returncode, done.stdout + done.stderr, {item.get("name", ""): item.get("value", "") for item in found}


def test_the_device_has_none_of_the_workstations_packages(torch_free_python: Path) -> None:
    code = (
        "import importlib.util as u; print([n for n in ('torch', 'onnx', 'pytest', 'onnxruntime') if u.find_spec(n)])"
    )
    done = subprocess.run([torch_free_python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_bundle_passes_on_a_device_without_torch(
    tiny_bundle: Path, openssh: SshPlace, torch_free_python: Path, tmp_path: Path
) -> None:
    code, said, figures = run_pytest(tmp_path / "empty", tiny_bundle, openssh, torch_free_python)
    assert code == 0, said
    assert figures["edgefuse.integrity.verdict"] == figures["edgefuse.accuracy.verdict"] == "pass", said
    assert figures["edgefuse.determinism.verdict"] == "pass" and float(figures["edgefuse.latency.p50_ms"]) > 0


@pytest.mark.slow
def test_one_branch_with_doubled_scales_fails_and_is_named(
    openssh: SshPlace, torch_free_python: Path, tmp_path: Path
) -> None:
    """Of a robot with three sensors; before it is damaged nothing fails."""
    bundle = make_robot(tmp_path)
    code, said, _ = run_pytest(tmp_path / "before", bundle, openssh, torch_free_python)
    assert code == 0, said
    damage(bundle, ["lidar"])
    code, said, figures = run_pytest(tmp_path / "after", bundle, openssh, torch_free_python)
    assert code == 1, said
    assert figures["edgefuse.integrity.verdict"] == "pass" and figures["edgefuse.accuracy.verdict"] == "fail"
    assert "The error starts in lidar" in said, said
