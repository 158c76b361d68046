"""What others take of the machine."""

from __future__ import annotations

import pytest

from edgefuse.machine import ProcessorTime, processor_time


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
