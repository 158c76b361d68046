"""EdgeFuse: multi-sensor fusion models, compiled for edge devices, with proof that they are still accurate.

Importing this imports nothing else (the pytest plugin is imported by every pytest of its environment). The first use of
``edgefuse.load`` pulls in the standard library and numpy; the call itself imports the bundle's one vendor library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgefuse.version import __version__

if TYPE_CHECKING:
    from edgefuse.errors import EdgeFuseError
    from edgefuse.model import Model
    from edgefuse.runtime import load

__all__ = ["EdgeFuseError", "Model", "__version__", "load"]

_HOMES = {"EdgeFuseError": "edgefuse.errors", "Model": "edgefuse.model", "load": "edgefuse.runtime"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgefuse' has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
