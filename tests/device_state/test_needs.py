"""What the robot's side may import."""

from __future__ import annotations

import sys

from tests.test_imports import modules_after


def test_reading_the_state_needs_the_standard_library_alone() -> None:
    names = ("device_state", "device_state.power_mode", "device_state.restore")
    found = modules_after("; ".join(f"import edgefuse.{name}" for name in names))
    assert "edgefuse" in found and found - set(sys.stdlib_module_names) - {"edgefuse", "tomli"} == set()
