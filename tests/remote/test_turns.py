"""One user at a time: who waits, who stays as long as it lives, who has gone without a word."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from edgefuse.errors import (
    DeviceBusyError,
    UnreachableError,
)
from edgefuse.remote import connect
from edgefuse.remote import link as link_module
from tests.remote.rig import Rig, Told, eventually, fault


def test_the_second_user_is_told_and_waits_for_its_turn_where_it_wants_to(rig: Rig) -> None:
    steps, order = Told(), list[str]()
    waiting = f"{rig.address}&wait=30"

    def second() -> None:
        with connect(waiting, owner="second@here", steps=steps) as device:
            order.append("second")
            fault(device, "pid")

    with rig.connect("first@here") as device:
        with pytest.raises(DeviceBusyError, match="in use by first@here") as caught, rig.connect("third@here"):
            pass
        assert caught.value.where == rig.address and "wait=600" in caught.value.hint
        with (
            pytest.raises(DeviceBusyError, match="first@here"),
            connect(f"{rig.address}&wait=0.5", owner="third@here"),
        ):
            pass
        thread = threading.Thread(target=second)
        thread.start()
        assert eventually(lambda: len(steps.done) == 1)
        fault(device, "sleep", seconds=0.2)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    assert steps.done[0].name == "Waiting for the device" and "first@here" in steps.done[0].notes[0]
    rig.assert_clean()


def test_who_goes_while_it_waits_is_gone(rig: Rig) -> None:
    with rig.connect("first@here"):
        code = f"from edgefuse.remote import connect\nwith connect({rig.address + '&wait=60'!r}): pass"
        waiting = subprocess.Popen([sys.executable, "-c", code])
        assert eventually(lambda: len(rig.processes()) == 2)
        waiting.kill()
        waiting.wait()
        assert eventually(lambda: len(rig.processes()) == 1)
    rig.assert_clean()


def test_a_request_longer_than_the_lock_keeps_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's beats extend it, not the request's limit."""
    monkeypatch.setattr(link_module, "BEAT_S", 0.2)
    address = f"local?python={rig.short_silence(1.5, margin_s=0.2)}"
    with connect(address) as device:
        assert fault(device, "sleep", seconds=2.2).value
        with pytest.raises(DeviceBusyError), connect(address):
            pass  # one past its expiry would have been killed
        time.sleep(2.0)
        with pytest.raises(DeviceBusyError), connect(address):
            pass
        assert fault(device, "pid").value
    rig.assert_clean()


@pytest.mark.parametrize("busy", [False, True])
def test_who_is_silent_is_gone_with_what_ran_for_it(rig: Rig, monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    """A cut cable: nothing says that nobody is there any more."""
    monkeypatch.setattr(link_module, "BEAT_S", 600.0)
    short = rig.short_silence(1.0)
    with connect(f"local?python={short}") as device:
        start = time.monotonic()
        if busy:
            with pytest.raises(UnreachableError, match="silent"):
                fault(device, "sleep", seconds=60.0)
        else:
            fault(device, "pid")
            assert eventually(rig.is_clean, 10.0)
            with pytest.raises(UnreachableError, match="silent"):
                fault(device, "pid")
        assert time.monotonic() - start < 10
    rig.assert_clean()
