"""A recipe's own Python files, which are no package."""

from __future__ import annotations

import importlib.util
import sys


def load(folder, name):
    """The module *name* in *folder*, under a name that nothing else has."""
    spec = importlib.util.spec_from_file_location(f"{folder.parent.name}_{folder.name}_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
