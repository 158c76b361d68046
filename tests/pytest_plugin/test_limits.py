"""The marker ``edgefuse``: limits, and what is refused before any test runs."""

from __future__ import annotations

import pytest

from edgefuse.pytest_plugin.limits import limits_of

MARKED = """
import pytest

@pytest.mark.edgefuse({arguments})
def test_marked(edgefuse_check):
    pass
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("p90=20", "*test_marked: the marker edgefuse has no limit 'p90'. Did you mean 'p90_ms'?*"),
        ("max_dop='1%'", "*no limit 'max_dop'. Did you mean 'max_drop'?*"),
        ("max_drop='1'", """*the marker's max_drop is '1'. Write "1%" (relative) or "0.5pt"*"""),
        ("max_drop=0.01", "*the marker's max_drop is 0.01. Write*"),
        ("p90_ms=0", "*the marker's p90_ms is 0. It must be a positive number*"),
        ("p90_ms='20ms'", "*the marker's p90_ms is '20ms'. It must be a number*"),
        ("min_sqnr_db=True", "*It must be a number*"),
        ("20", "*takes keywords, not 20*"),
    ],
)
def test_what_the_marker_does_not_know_is_refused(pytester, arguments, said):
    pytester.makepyfile(MARKED.format(arguments=arguments))
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_a_marker_that_limits_nothing_is_refused(pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.edgefuse(p90_ms=20)\ndef test_mine(): pass")
    result = pytester.runpytest("--strict-markers")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*its marker edgefuse limits nothing: * does not use the fixture edgefuse_check*"])


def test_the_closest_marker_counts_limit_by_limit(pytester):
    items, _ = pytester.inline_genitems(
        pytester.makepyfile(
            """
            import pytest

            pytestmark = pytest.mark.edgefuse(max_drop="2%", p90_ms=5)

            @pytest.mark.edgefuse(p90_ms=20, min_sqnr_db=30)
            class TestRover:
                @pytest.mark.edgefuse(min_sqnr_db=25)
                def test_near(self, edgefuse_check): pass

            def test_far(): pass
            """
        )
    )
    near, far = (limits_of(item) for item in items)
    assert near.to_json() == {"max_drop": "2%", "p90_ms": 20, "min_sqnr_db": 25}
    assert far.to_json() == {"max_drop": "2%", "p90_ms": 5}
