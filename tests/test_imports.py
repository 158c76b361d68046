"""What runs on the robot imports numpy and one vendor library, and nothing of the workstation."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "edgefuse"
WORKSTATION = ("torch", "onnx", "onnx_ir", "onnxscript", "nncf", "click", "pytest", "matplotlib", "jinja2")
WORKSTATION_FILES = (
    "blame/",
    "partition/",
    "cli/",
    "export/",
    "lint/",
    "quantize/",
    "report/calibration.py",
    "report/history",
    "report/html",
    "report/pictures",
    "report/replay",
    "report/robustness.py",
    "report/text",
    "compile/",
    "pytest_plugin",
    "pytest/",
    "__main__.py",
)
"""Everything else in the package is the device's side. ``report/text`` prints with rich for the command line."""


def run(code: str, *arguments: str) -> Any:
    """The JSON that *code* prints in a fresh interpreter that finds EdgeFuse and knows nothing else of these tests."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def modules_after(statement: str) -> set[str]:
    """Top-level names of what *statement* imports, beyond what the interpreter starts with."""
    code = (
        f"import json, sys; before = set(sys.modules); {statement}\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    return set(run(code))


def test_importing_edgefuse_imports_nothing_else() -> None:
    assert modules_after("import edgefuse") <= {"edgefuse", "__future__", "typing", *sys.stdlib_module_names}
    assert "numpy" not in modules_after("import edgefuse.pytest_plugin")


def test_edgefuse_load_needs_the_standard_library_and_numpy_alone() -> None:
    found = modules_after("import edgefuse; edgefuse.load")
    assert {"edgefuse", "numpy"} <= found, "the test sees what is imported"
    assert found - set(sys.stdlib_module_names) - {"edgefuse", "numpy", "tomli"} == set()


@pytest.mark.parametrize("module", ["runtime", "recheck", "check", "probe", "backends.openvino"])
def test_the_devices_side_never_imports_the_workstations(module: str) -> None:
    found = modules_after(f"import edgefuse.{module}")
    assert "edgefuse" in found and found & set(WORKSTATION) == set()


def test_help_does_not_wait_for_a_heavy_library() -> None:
    found = modules_after("import edgefuse.cli")
    assert "click" in found and found & {"torch", "onnx", "onnxruntime", "openvino", "matplotlib"} == set()


BLOCKED_RUN = """
import json, sys
import numpy as np

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not on the robot")

sys.meta_path.insert(0, Refuse())
import edgefuse
with edgefuse.load(sys.argv[1]) as model:
    logits = model({{"image": np.ones((1, 1, 8, 8), np.float32), "state": np.ones((1, 6), np.float32)}})["logits"]
{then}
"""


def test_a_bundle_runs_where_the_workstations_packages_are_missing(tiny_bundle: Path) -> None:
    code = BLOCKED_RUN.format(blocked=(*WORKSTATION, "onnxruntime", "rich"), then="print(json.dumps(logits.tolist()))")
    logits = np.array(run(code, str(tiny_bundle)))
    assert logits.shape == (1, 4) and np.isfinite(logits).all()


def test_a_bundle_is_judged_where_the_workstations_packages_are_missing(tiny_bundle: Path) -> None:
    then = """
from pathlib import Path
from edgefuse.bundle import open_bundle
from edgefuse.progress import Steps
from edgefuse.recheck import check_bundle
with open_bundle(Path(sys.argv[1])) as bundle:
    print(json.dumps(check_bundle(bundle, Steps(quiet=True))["accuracy"][0]["verdict"]))
"""
    code = BLOCKED_RUN.format(blocked=(*WORKSTATION, "onnxruntime", "rich"), then=then)
    assert run(code, str(tiny_bundle)) == "pass"


def device_files() -> list[Path]:
    found = sorted(path for path in PACKAGE.rglob("*.py") if "share" not in path.parts)
    return [path for path in found if not path.relative_to(PACKAGE).as_posix().startswith(WORKSTATION_FILES)]


def imports(path: Path) -> Iterator[str]:
    """Every module that *path* names in an import, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be followed"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", device_files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_arrows_point_down(path: Path) -> None:
    """No file of the device's side names a package or a module of the workstation's, not even in a function."""
    upward = {f"edgefuse.{name.strip('/').removesuffix('.py').replace('/', '.')}" for name in WORKSTATION_FILES}
    for name in imports(path):
        assert name.partition(".")[0] not in WORKSTATION, f"{path.name} imports {name}"
        assert not any(name == module or name.startswith(f"{module}.") for module in upward - {"edgefuse.__main__"}), (
            f"{path.name} imports {name}, which lies above it"
        )
