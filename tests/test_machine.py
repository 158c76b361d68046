"""What others take of the machine."""

from __future__ import annotations

import platform
import re

import pytest

from edgefuse.machine import ProcessorTime, device_class, processor, processor_time


def test_others_are_all_but_this_process():
    earlier = ProcessorTime(clock=0.0, all=10.0, own=1.0)
    assert ProcessorTime(1e-9, 10.0, 1.0).others_since(earlier) == 0.0
    assert ProcessorTime(1000.0, 10.0, 1.0).others_since(earlier) == 0.0
    busy = ProcessorTime(1.0, 10.0 + 0.5, 1.0).others_since(earlier)
    assert 0 < busy <= 0.5


def test_this_machine_tells():
    found = processor_time()
    if found is None:
        pytest.skip("only Linux tells")
    assert found.all >= found.own > 0


def test_the_processor_has_a_name_and_instruction_sets():
    assert len(processor()) >= 2 and all(processor()[:1])


def test_the_class_of_a_device_names_architecture_and_processor():
    assert device_class() == device_class().lower() and device_class().startswith(platform.machine().lower())
    assert re.fullmatch(r"[a-z0-9_-]+-[0-9a-f]{8}", device_class())
