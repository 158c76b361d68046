"""What is tested of a bundle, in this order, one file for each: a module that satisfies :class:`CheckModule`.

Standard library only: pytest collects the names without numpy and without the bundle.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from edgefuse.pytest_plugin.case import Case
    from edgefuse.pytest_plugin.outcome import Finding

CHECKS = ("integrity", "determinism", "golden", "accuracy", "latency", "memory")


class CheckModule(Protocol):
    def run(self, case: Case) -> Finding:
        """What is found of the bundle on the device. Raises ``EdgeFuseError``."""


def load_check(name: str) -> CheckModule:
    return cast(CheckModule, importlib.import_module(f"edgefuse.pytest_plugin.checks.{name}"))
