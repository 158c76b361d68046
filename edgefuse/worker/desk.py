"""What a job works with: the files it was sent, a folder for what it makes, and what is kept between requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgefuse.progress import Step, Steps
from edgefuse.worker.store import Store


@dataclass
class RelayedSteps(Steps):
    """Steps whose lines appear at the user's, not here."""

    quiet: bool = True
    relay: Callable[[Step], None] = lambda step: None

    def tell(self, step: Step) -> None:
        self.relay(step)


@dataclass
class Desk:
    """``held`` is kept as long as the executor lives: runners that were opened. ``work`` is this connection's folder:
    what a job leaves there can be fetched by its path in it."""

    store: Store
    steps: Steps = field(default_factory=RelayedSteps)
    held: dict[str, Any] = field(default_factory=dict)
    number: int = 0

    @property
    def work(self) -> Path:
        return self.store.work

    def bundle(self, key: str) -> Path:
        """A bundle, or another folder, that was sent."""
        return self.store.folder(key)

    def file(self, digest: str) -> Path:
        return self.store.file(digest)

    def new_folder(self) -> Path:
        """An empty folder in ``work``."""
        while True:
            self.number += 1
            folder = self.work / f"made-{self.number}"
            if not folder.exists():  # of an executor that has crashed
                folder.mkdir()
                return folder

    def key(self, path: Path) -> str:
        """What *path*, which lies in ``work``, is fetched by."""
        return path.relative_to(self.work).as_posix()
