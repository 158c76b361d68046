"""One transform, made from its value as a recipe gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgefuse.errors import RecipeError
from edgefuse.recordings.misfit import Misfit
from edgefuse.transforms import TRANSFORMS
from edgefuse.transforms.given import Given


def made(name, value, folder=Path()):
    return TRANSFORMS[name](Given(value, f"recording.x.transforms: {name}", folder))


def refused(name, value, folder=Path()):
    """What is said of a wrong value; it names the transform."""
    with pytest.raises(RecipeError) as caught:
        made(name, value, folder)
    assert caught.value.where.startswith(f"recording.x.transforms: {name}")
    return str(caught.value)


def misfit(name, value, array):
    with pytest.raises(Misfit) as caught:
        made(name, value)(array)
    return caught.value.reason
