"""What a person sees while EdgeFuse works: one line a step, with its time, on stderr.

with steps.step("Quantizing") as step:
    …
    step.note("20 of 20 operations in INT8")
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Step:
    name: str
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something worth a few words behind the step's line."""
        self.notes.append(text)


@dataclass
class Bar:
    """The progress of a step of *total* parts; ``advance`` redraws it where there is a terminal."""

    step: Step
    redraw: Callable[[], None]

    def advance(self) -> None:
        self.redraw()


@dataclass
class Steps:
    """The steps of one command and how long each took; ``quiet`` keeps the record and prints nothing."""

    quiet: bool = False
    done: list[Step] = field(default_factory=list)

    def to_json(self) -> list[dict[str, Any]]:
        return [{"name": step.name, "seconds": step.seconds} for step in self.done]

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        with self._timed(name) as step, self._spinner(name):
            yield step

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Bar]:
        """A step whose *total* parts are told as they are done, with an estimate of what is left."""
        with self._timed(name) as step, self._progress(name, total) as advance:
            yield Bar(step, advance)

    @contextmanager
    def _timed(self, name: str) -> Iterator[Step]:
        step, start = Step(name), time.perf_counter()
        yield step
        step.seconds = time.perf_counter() - start
        self.done.append(step)
        self.tell(step)

    @contextmanager
    def _progress(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        if self.quiet or not sys.stderr.isatty():
            yield lambda: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("  {task.description:<24}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(name, total=total)
            yield lambda: progress.advance(task)

    @contextmanager
    def _spinner(self, name: str) -> Iterator[None]:
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console  # 40 ms that a robot's import of this module need not pay

        with Console(stderr=True).status(f"{name} …"):
            yield

    def tell(self, step: Step) -> None:
        """The line of a step that is done."""
        if not self.quiet:
            notes = f"  {'; '.join(step.notes)}" if step.notes else ""
            print(f"  {step.name:<24}{step.seconds:7.1f} s{notes}", file=sys.stderr, flush=True)
