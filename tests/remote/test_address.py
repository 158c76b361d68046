"""What ``--device`` takes, and what it refuses in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefuse.errors import UsageError
from edgefuse.remote import Address, parse_address
from edgefuse.remote.ssh import command

GOOD = {
    "local": Address("", "local"),
    "local?python=/opt/my env/bin/python": Address("", "local", python="/opt/my env/bin/python"),
    "local?python=/opt/g++/bin/python&wait=600": Address("", "local", python="/opt/g++/bin/python", wait_s=600.0),
    "local?wait=0.5": Address("", "local", wait_s=0.5),
    "ssh://orin": Address("", "ssh", "orin"),
    "ssh://Lab-Orin_2/": Address("", "ssh", "Lab-Orin_2"),
    "ssh://robot@10.0.0.5:2222": Address("", "ssh", "10.0.0.5", "robot", 2222),
    "ssh://robot@host:022": Address("", "ssh", "host", "robot", 22),
    "ssh://host:": Address("", "ssh", "host"),
    "ssh://us%40er@host": Address("", "ssh", "host", "us@er"),
    "ssh://[::1]": Address("", "ssh", "::1"),
    "ssh://me@[2001:db8::7]:2222": Address("", "ssh", "2001:db8::7", "me", 2222),
    "ssh://[fe80::1%25eth0]:22": Address("", "ssh", "fe80::1%eth0", "", 22),
    "ssh://[fe80::1%eth0]": Address("", "ssh", "fe80::1%eth0"),
    "ssh://a?python=~/venv/bin/python": Address("", "ssh", "a", python="~/venv/bin/python"),
    "labgrid:board-1": Address("", "labgrid", "board-1"),
    "labgrid:rack/board?coordinator=lab:20408": Address("", "labgrid", "rack/board", coordinator="lab:20408"),
}

BAD = {
    "": "Expected local",
    "lokal": "Did you mean 'local'",
    "LOCAL": "Expected local",
    "robot@10.0.0.5": "Did you mean ssh://robot@10.0.0.5?",
    "robot@orin:22": "Did you mean ssh://robot@orin:22?",
    "sssh://a": "Did you mean 'ssh'",
    "ssh://": "Expected local",
    "ssh:orin": "Expected local",
    "ssh://user@": "Expected local",
    "ssh://user:secret@host": "ssh-copy-id",
    "ssh://host/path": "Expected local",
    "ssh://host#1": "Expected local",
    "ssh://ho st": "Expected local",
    "ssh://ho\nst": "Expected local",
    "ssh://::1": "Expected local",
    "ssh://[::1": "Expected local",
    "ssh://host:0": "Expected local",
    "ssh://host:70000": "Expected local",
    "ssh://host:port": "Expected local",
    "ssh://-oProxyCommand=reboot": "Expected local",
    "ssh://%2DoProxyCommand=reboot": "Expected local",
    "ssh://-l@host": "Expected local",
    "labgrid:": "Expected local",
    "labgrid://board": "Expected local",
    "local/x": "Expected local",
    "ssh://host?pyhton=x": "Did you mean 'python'?",
    "ssh://host?coordinator=lab:1": "Known: python, wait.",
    "ssh://host?wait=soon": "no number of seconds",
    "ssh://host?wait=-1": "no number of seconds",
    "ssh://host?wait=nan": "no number of seconds",
    "ssh://host?wait=inf": "no number of seconds",
}


@pytest.mark.parametrize("text", GOOD)
def test_an_address_is_taken_apart(text: str) -> None:
    found = parse_address(text)
    assert found == Address(**{**vars(GOOD[text]), "text": text})


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_address_is_refused_with_what_was_meant(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert BAD[text] in str(caught.value) and caught.value.where == "--device"


@given(st.text() | st.text(alphabet="ssh://lokabgrid:@[]?=&%#-.0159 ").map(lambda text: f"ssh://{text}"))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    try:
        found = parse_address(text)
    except UsageError:
        return
    assert found.kind in ("local", "ssh", "labgrid") and not found.name.startswith("-")


@pytest.mark.parametrize(
    ("address", "host", "there"),
    [
        ("ssh://me@[::1]:2222", ["-p", "2222", "--", "me@::1"], "python3 -m edgefuse.worker"),
        ("ssh://a?python=/opt/my env/python", ["--", "a"], "'/opt/my env/python' -m edgefuse.worker"),
        ("ssh://a?python=~/my env/python", ["--", "a"], "~/'my env/python' -m edgefuse.worker"),
        ("ssh://a?python=python3;reboot", ["--", "a"], "'python3;reboot' -m edgefuse.worker"),
    ],
)
def test_ssh_is_given_the_host_and_one_quoted_command(address: str, host: list[str], there: str) -> None:
    words, environment = command(parse_address(address), ("python", "-m", "edgefuse.worker"))
    assert words[-len(host) - 1 :] == [*host, there] and environment == {}
