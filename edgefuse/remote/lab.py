"""A place in a labgrid lab: labgrid says where it is, and whether it is ours; the connection is SSH as ever.

The place has to be acquired before, as for every labgrid tool (``labgrid-client -p PLACE acquire``), and to have a
``NetworkService``. The coordinator is ``?coordinator=HOST:PORT``, or labgrid's own ``$LG_COORDINATOR``.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from edgefuse import child
from edgefuse.errors import CrashError, DeviceBusyError, DeviceError, MissingToolError, UnreachableError
from edgefuse.remote import ssh
from edgefuse.remote.address import Address

LOOKUP_S = 60.0


def command(address: Address, run: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """As for SSH, to where the place is. Raises :class:`DeviceError`."""
    return ssh.command(_resolved(address), run)


def failure(address: Address, code: int | None, said: str) -> DeviceError:
    return ssh.failure(_resolved(address), code, said)


@functools.lru_cache(maxsize=8)
def _resolved(address: Address) -> Address:
    """labgrid is asked in a child process: it runs an event loop of its own, and prints."""
    try:
        found = child.call(
            "edgefuse.remote.lab:find_service",
            {"place": address.name, "coordinator": address.coordinator},
            what="Asking labgrid for the place",
            timeout_s=LOOKUP_S,
        )
    except CrashError as error:
        raise UnreachableError(error.what, where=address.text, hint="Does labgrid-client places answer?") from error
    service = {"name": found["address"], "user": found["username"], "port": found["port"], "jump": found["proxy"]}
    return replace(address, **service)


def find_service(place: str, coordinator: str) -> dict[str, Any]:
    """``address``, ``username`` and ``port`` of the place's NetworkService and its ``proxy`` ("" for none), in the
    process that calls this."""
    if coordinator:
        os.environ["LG_COORDINATOR"] = coordinator
    with _translated(place):
        from labgrid import Target
        from labgrid.resource import NetworkService
        from labgrid.resource.remote import RemotePlace

        target = Target("edgefuse")
        target.await_resources([RemotePlace(target, name=place)], timeout=10.0)
        service = target.get_resource(NetworkService)
        extra = getattr(service, "extra", {})
        proxy = extra.get("proxy", "") if extra.get("proxy_required") else os.environ.get("LG_PROXY", "")
        return {"address": service.address, "username": service.username, "port": service.port, "proxy": proxy}


@contextlib.contextmanager
def _translated(place: str) -> Iterator[None]:
    where = f"labgrid:{place}"
    try:
        yield
    except ImportError as error:
        cure = "Install it with: pip install 'edgefuse[labgrid]'"
        raise MissingToolError(f"labgrid is not installed ({error})", where=where, hint=cure) from error
    except Exception as error:  # labgrid's own errors, grpc's and attrs': all say in words what is wrong
        text = str(error).strip() or type(error).__name__
        if "not acquired" in text or "acquired by" in text:
            cure = f"Acquire it: labgrid-client -p {place} acquire"
            raise DeviceBusyError(f"the place is not yours: {text}", where=where, hint=cure) from error
        cure = "Try: labgrid-client places. The coordinator is $LG_COORDINATOR, or ?coordinator=HOST:PORT."
        raise UnreachableError(f"labgrid does not find it: {text}", where=where, hint=cure) from error
