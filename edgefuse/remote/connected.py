"""A connected device: files go there once, jobs run there, results come back."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from edgefuse.bundle import open_bundle, sha256
from edgefuse.bundle_writer import new_bundle
from edgefuse.errors import EdgeFuseError, InputError, MissingToolError, ToolchainError
from edgefuse.manifest import MANIFEST
from edgefuse.progress import Step, Steps
from edgefuse.remote.address import Address
from edgefuse.remote.link import Link
from edgefuse.spec import Array
from edgefuse.whole_file import whole_file
from edgefuse.worker.wire import CHUNK, Answer

TIMEOUT_S = 1800.0
TRANSFER_S = 120.0
"""For the next piece of a file."""
LISTING_S = 900.0
READ_BYTES_S = 20e6
"""What the slowest memory card reads: the device reads all it has of a bundle once a connection."""


class RemoteDevice:
    """Made by :func:`edgefuse.remote.connect`. One request at a time; not for several threads."""

    def __init__(self, address: Address, link: Link) -> None:
        self.address, self._link = address, link
        self._bundles: dict[str, Path] = {}

    @cached_property
    def about(self) -> dict[str, Any]:
        """``edgefuse`` (its version there), ``protocol``, ``environment`` (as in a report), ``device_class`` (which
        machines give the same results to the bit, as far as the processor goes)."""
        return {**self._link.hello, **self.ask("about", {}, timeout_s=120.0).value}

    def ask(
        self,
        job: str,
        arguments: Mapping[str, Any],
        *,
        arrays: Mapping[str, Array] | None = None,
        timeout_s: float = TIMEOUT_S,
        steps: Steps | None = None,
        what: str = "",
    ) -> Answer:
        """Run *job* there and wait for its answer, at most *timeout_s* seconds: then it is killed there with all that
        it has started, and :class:`TimeLimitError` raised. *what* says for people what it does. The steps of the job
        become lines of *steps*.

        Raises what the job raised, with its own type; :class:`CrashError` where it died, :class:`OutOfMemoryError`
        where the device's memory did not suffice, :class:`UnreachableError` where the connection broke.
        """
        tell = step_teller(steps)
        try:
            return self._link.ask(job, arguments, arrays=arrays, timeout_s=timeout_s, what=what, step=tell)
        except EdgeFuseError as error:
            for key, path in self._bundles.items():
                _name_users_bundle(error, key, path, self.address.text)
            if isinstance(error, MissingToolError) and not error.where:  # it is here, perhaps
                error.where = self.address.text
                error.hint = f"{error.hint}\nThere, not here: edgefuse doctor --device {shlex.quote(self.address.text)}"
            raise

    def put_bundle(self, path: Path, shown: Path | None = None) -> str:
        """Send the bundle at *path* (a folder or a zip; verified first): what is missing there. Returns its id. What
        goes wrong with it there is told of *shown*, the path that the user knows [*path*]."""
        with open_bundle(path) as bundle:
            manifest = bundle.path / MANIFEST
            digest = sha256(manifest)
            files = {name: str(item["sha256"]) for name, item in bundle.manifest["files"].items()} | {MANIFEST: digest}
            self._put({files[name]: bundle.path / name for name in files})
            self._place(digest, files)
        self._bundles[digest] = shown or path
        return digest

    def put_folder(self, path: Path) -> str:
        """Send a folder, or one file that keeps its name in a folder of its own (a recording); returns its id."""
        if not path.exists():
            raise InputError("there is no such file or folder", where=str(path))
        paths = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
        names = [path.name] if path.is_file() else [item.relative_to(path).as_posix() for item in paths]
        files = {name: sha256(item) for name, item in zip(names, paths)}
        self._put(dict(zip(files.values(), paths)))
        key = hashlib.sha256(json.dumps(files).encode()).hexdigest()
        self._place(key, files)
        return key

    def _place(self, key: str, files: Mapping[str, str]) -> None:
        self._link.ask("place", {"key": key, "files": files}, timeout_s=TRANSFER_S)

    def put_file(self, path: Path) -> str:
        """Send one file unless it is there; returns its SHA-256, by which jobs find it."""
        digest = sha256(path)
        self._put({digest: path})
        return digest

    def _put(self, files: Mapping[str, Path]) -> None:
        sizes = {digest: path.stat().st_size for digest, path in files.items()}
        timeout_s = TRANSFER_S + sum(sizes.values()) / READ_BYTES_S
        missing = self._link.ask("missing", {"files": sizes}, timeout_s=timeout_s).value
        for digest in missing:
            self._send(digest, sizes[digest], files[digest])

    def _send(self, digest: str, size: int, path: Path) -> None:
        link = self._link
        with path.open("rb", buffering=0) as stream, link.request():
            link.begin("put", {"sha256": digest, "size_bytes": size})
            link.next(time.monotonic() + TRANSFER_S)
            left = size
            while left > 0 and (piece := stream.read(min(CHUNK, left))):
                link.send_piece(piece)
                left -= len(piece)
            if left > 0:
                link.send_piece(b"")  # it was cut short meanwhile
            link.next(time.monotonic() + TRANSFER_S)

    def fetch(self, key: str, to: Path, known: Mapping[str, Path] | None = None) -> None:
        """Copy what a job has made under *key* to *to*, a file or an existing folder. Files whose SHA-256 is in *known*
        are copied from here. Each file is whole or not there."""
        listing = self._link.ask("listing", {"key": key}, timeout_s=LISTING_S).value
        for name, item in listing.items():
            target = to / name if name else to
            if not target.resolve().is_relative_to(to.resolve()):
                raise ToolchainError(f"the device names the file {name!r}, which lies outside", where=self.address.text)
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(target) as part:
                self._receive(key, name, part, (known or {}).get(str(item["sha256"])))
                if sha256(part) != item["sha256"]:
                    raise ToolchainError("what arrived is not what was sent (SHA-256 differs)", where=str(target))

    def _receive(self, key: str, name: str, target: Path, at_hand: Path | None) -> None:
        if at_hand is not None:
            shutil.copyfile(at_hand, target)
            return
        with target.open("wb") as stream, self._link.request():
            self._link.begin("get", {"key": key, "name": name})
            for piece in self._pieces():
                stream.write(piece)

    def _pieces(self) -> Iterator[bytes]:
        while (frame := self._link.next(time.monotonic() + TRANSFER_S)).header.get("piece"):
            yield frame.body

    def fetch_bundle(self, key: str, out: Path, known: Mapping[str, Path] | None = None) -> None:
        """A bundle that a job has made, to *out*: whole or not at all."""
        with new_bundle(out) as folder:
            self.fetch(key, folder, known)


def _name_users_bundle(error: EdgeFuseError, key: str, path: Path, address: str) -> None:
    """An error of a job speaks of the device's copy, and as it would on the device."""
    copy = re.compile(rf"\S*/folders/{key}/tree\b")
    if not copy.search(f"{error.where} {error.what}"):
        return
    error.where = re.sub(rf".*/folders/{key}/tree\b", lambda _: str(path), error.where)
    error.what = copy.sub(lambda _: str(path), error.what).replace("this machine", "the device")
    again = f"edgefuse compile {shlex.quote(str(path))} --device {shlex.quote(address)}"
    error.hint = error.hint.replace("edgefuse compile tree", again).replace("this machine", "the device")


def step_teller(steps: Steps | None) -> Callable[[dict[str, Any]], None]:
    """Makes the steps of a job lines of *steps*."""

    def tell(told: dict[str, Any]) -> None:
        if steps is not None:
            step = Step(str(told["name"]), float(told["seconds"]), [str(note) for note in told["notes"]])
            steps.done.append(step)
            steps.tell(step)

    return tell
