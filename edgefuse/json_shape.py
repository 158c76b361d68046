"""Whether JSON that was read has the form that the reader relies on. Standard library only.

    check_form(data, {"name": str, "limit_ms": (float, None), "items": [{"id": int}]})

A dict names the keys that must be there (others may be), a list holds the form of every item, a tuple the forms that
are allowed; ``float`` takes every finite number, and a bool is no number.
"""

from __future__ import annotations

import math
from typing import Any


def check_form(value: Any, form: Any, where: str = "") -> None:
    """Raise ``ValueError`` that names the first key where *value* has not the *form*."""
    if isinstance(form, dict):
        _expect(isinstance(value, dict), value, "a table", where)
        for key, inner in form.items():
            path = f"{where}.{key}" if where else key
            _expect(key in value, None, "a value", path)
            check_form(value[key], inner, path)
    elif isinstance(form, list):
        _expect(isinstance(value, list), value, "a list", where)
        for index, item in enumerate(value):
            check_form(item, form[0], f"{where}[{index}]")
    elif isinstance(form, tuple):
        if not any(_fits(value, inner) for inner in form):
            raise ValueError(f"{where} is {value!r}")
    else:
        _expect(_fits(value, form), value, form.__name__, where)


def _fits(value: Any, form: Any) -> bool:
    try:
        if form is None:
            return value is None
        if isinstance(form, (dict, list)):
            check_form(value, form)
            return True
        if form is float:
            return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return isinstance(value, form) and (form is bool or not isinstance(value, bool))
    except ValueError:
        return False


def _expect(yes: bool, value: Any, wanted: str, where: str) -> None:
    if not yes:
        raise ValueError(f"{where or 'it'} is {value!r:.80}; expected {wanted}")
