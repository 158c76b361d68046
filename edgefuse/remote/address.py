"""What ``--device`` names: ``local``, ``ssh://[user@]host[:port]``, ``labgrid:PLACE``. Standard library only.

Options stand behind a question mark, as in ``ssh://robot@10.0.0.5?python=/opt/edgefuse/bin/python&wait=600``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from edgefuse.errors import UsageError, nearest

FLAG = "--device"
FORMS = "local, ssh://[user@]host[:port] or labgrid:PLACE"
OPTIONS = ("python", "wait", "coordinator")


@dataclass(frozen=True)
class Address:
    """``name`` is the host or the place. ``python``: the interpreter there, "" for the transport's own choice.
    ``wait_s``: how long to wait for a device that is in use."""

    text: str
    kind: str
    name: str = ""
    user: str = ""
    port: int | None = None
    python: str = ""
    wait_s: float = 0.0
    coordinator: str = ""


def parse_address(text: str) -> Address:
    """Raises :class:`UsageError`."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{text!r} is no address: {error}", where=FLAG, hint=f"Expected {FORMS}.") from None
    if parts.username is not None and parts.password is not None:
        raise UsageError("an address must not hold a password", where=FLAG, hint="Use a key: ssh-copy-id, or an agent.")
    options = _options(parts.query)
    kind = parts.scheme or parts.path
    if kind == "ssh" and parts.hostname and parts.path in ("", "/"):
        host = parts.netloc.rpartition("@")[2].removesuffix(f":{port}").strip("[]")  # as typed: an alias has case
        _refuse_option(text, host, unquote(parts.username or ""))
        return Address(text, "ssh", host, unquote(parts.username or ""), port, **options)
    if kind == "labgrid" and parts.path:
        return Address(text, "labgrid", unquote(parts.path), **options)
    if kind == "local" and not parts.netloc and parts.path in ("", "local"):
        return Address(text, "local", **options)
    raise UsageError(f"{text!r} is no address of a device", where=FLAG, hint=_suggest(text, kind))


def _suggest(text: str, kind: str) -> str:
    guess = f"Did you mean ssh://{text}?" if "@" in text and "://" not in text else nearest(kind, ("local", "ssh"))
    return f"Expected {FORMS}. {guess}".strip()


def _refuse_option(text: str, *words: str) -> None:
    if any(word.startswith("-") for word in words):  # ssh would take it for one of its options
        raise UsageError(f"{text!r} is no address of a device", where=FLAG, hint=f"Expected {FORMS}.")


def _options(query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            raise UsageError(f"an address has no option {name!r}", where=FLAG, hint=nearest(name, OPTIONS))
        if name == "wait":
            found["wait_s"] = _seconds(value)
        else:
            found[name] = value
    return found


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise UsageError(f"wait={text} is no number of seconds", where=FLAG)
    return value
