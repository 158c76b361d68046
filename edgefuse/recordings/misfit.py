"""What is said of a message that does not fit. Standard library only."""

from __future__ import annotations


class Misfit(ValueError):
    """A message that cannot be used. ``reason``, a word or two, is what such messages are counted by; the text says
    which value was found and which was expected."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
