"""What ``--device`` names: ``local``, ``ssh://[user@]host[:port]``, ``labgrid:PLACE``. Standard library only.

Options stand behind a question mark, as in ``ssh://robot@10.0.0.5?python=/opt/edgefuse/bin/python&wait=600``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from edgefuse.errors import UsageError, nearest

FLAG = "--device"
FORMS = "local, ssh://[user@]host[:port] or labgrid:PLACE"
OPTIONS = ("python", "wait", "coordinator")
SSH = re.compile(
    r"ssh://((?P<user>[^@/?]*)@)?(\[(?P<literal>[^]/?]+)\]|(?P<host>[^]\[:@/?%\s]+))(:\d*)?/?(\?.*)?", re.IGNORECASE
)
"""The host as typed: an alias of the user's configuration has upper and lower case."""
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Address:
    """``name`` is the host or the place. ``python``: the interpreter there, "" for the transport's own choice.
    ``wait_s``: how long to wait for a device that is in use. ``jump``: the host that it is reached through, which a lab
    says and no address does."""

    text: str
    kind: str
    name: str = ""
    user: str = ""
    port: int | None = None
    python: str = ""
    wait_s: float = 0.0
    coordinator: str = ""
    jump: str = ""


def parse_address(text: str) -> Address:
    """Raises :class:`UsageError`."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{text!r} is no address: {error}", where=FLAG, hint=f"Expected {FORMS}.") from None
    if parts.username is not None and parts.password is not None:
        raise UsageError("an address must not hold a password", where=FLAG, hint="Use a key: ssh-copy-id, or an agent.")
    kind = parts.scheme or parts.path
    if not FORBIDDEN.search(text) and not parts.fragment:
        options = _options(parts.query, kind)
        if kind == "ssh" and (found := SSH.fullmatch(text)) and port != 0:
            host, user = found["literal"] or found["host"], unquote(found["user"] or "")
            if not host.startswith("-") and not user.startswith("-"):  # ssh would take it for one of its options
                return Address(text, "ssh", unquote(host), user, port, **options)
        if kind == "labgrid" and parts.path:
            return Address(text, "labgrid", unquote(parts.path), **options)
        if kind == "local" and not parts.netloc and parts.path in ("", "local"):
            return Address(text, "local", **options)
    raise UsageError(f"{text!r} is no address of a device", where=FLAG, hint=_suggest(text, kind))


def _suggest(text: str, kind: str) -> str:
    if "@" in text and "://" not in text:
        return f"Expected {FORMS}. Did you mean ssh://{text}?"
    guess = "" if kind in ("ssh", "labgrid") else nearest(kind, ("local", "ssh"))
    return f"Expected {FORMS}. {guess if guess.startswith('Did') else ''}".strip()


def _options(query: str, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):  # a path, not a form
        if name not in OPTIONS or (name == "coordinator" and kind != "labgrid"):
            known = nearest(name, OPTIONS if kind == "labgrid" else OPTIONS[:2])
            raise UsageError(f"an address has no option {name!r}", where=FLAG, hint=known)
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
