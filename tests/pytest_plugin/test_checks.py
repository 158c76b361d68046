"""Checks on devices that cannot be had: one whose answers change, one that says nothing of its memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgefuse.bundle import open_bundle
from edgefuse.errors import RecipeError, UsageError
from edgefuse.pytest_plugin.case import Case
from edgefuse.pytest_plugin.checks import CHECKS, determinism, load_check, memory
from edgefuse.pytest_plugin.connection import Connection
from edgefuse.pytest_plugin.history import history_text
from edgefuse.pytest_plugin.limits import Limits
from edgefuse.pytest_plugin.options import Settings
from edgefuse.pytest_plugin.outcome import Failed, Finding, Inconclusive, raise_worst
from edgefuse.recipe import parse_limit
from edgefuse.worker.wire import Answer
from tests.pytest_plugin.bundles import sign

SETTINGS = Settings((), "local", None, False, None, None, None, 60.0, False, None)
NONE = Limits()


class Device:
    """Answers each request with what *answer* makes of its arguments."""

    def __init__(self, answer):
        self.answer = answer

    def put_bundle(self, path, shown=None):
        return "sent"

    def ask(self, job, arguments, *, timeout_s=None, what=""):
        return Answer(None, self.answer(arguments))


@pytest.fixture
def case(tiny_bundle, tmp_path):
    with open_bundle(tiny_bundle) as bundle:
        yield lambda answer=None, limits=NONE, settings=SETTINGS: Case(
            tiny_bundle, bundle, Device(answer), limits, settings, tmp_path
        )


def test_answers_that_change_from_one_time_to_the_next_are_shown(case):
    def answer(arguments):
        first = np.zeros((arguments["count"], 1, 4), np.float32)
        second = first.copy()
        second[3, 0, 1] = 0.5
        return {"first.logits": first, "second.logits": second}

    found = determinism.run(case(answer))
    assert found.verdict == "fail" and found.summary == "60 samples twice: 1 answered differently"
    assert found.details[1] == "  sample 3 [0, 1]: 0 → 0.5" and found.figures["differing"] == 1


def test_a_device_that_grows_fails_and_shows_the_curve(case):
    def answer(arguments):
        calls = np.arange(0, arguments["calls"] + 1, max(arguments["calls"] // arguments["points"], 1))
        return {"calls": calls, "memory": (64 << 20) + calls * 4096}

    found = memory.run(case(answer))
    assert found.verdict == "fail" and found.summary.startswith("4096 bytes a call (95 %: 4096 … 4096) over 2048 calls")
    assert found.details[1].startswith("MiB after 0 256 ") and found.result["curve"]["calls"][-1] == 2048
    assert memory.run(case(answer, Limits(max_growth_bytes=5000))).verdict == "pass"


def test_doubt_about_memory_is_watched_for_longer(case):
    """One step of 1 MiB in the middle of the first round is none in the next, which has twice as many calls."""
    asked = []

    def answer(arguments):
        asked.append(arguments["calls"])
        calls = np.arange(0, arguments["calls"] + 1, max(arguments["calls"] // arguments["points"], 1))
        step = (calls > arguments["calls"] // 2) * (1 << 20) if len(asked) == 2 else 0 * calls
        return {"calls": calls, "memory": (64 << 20) + step}

    assert memory.run(case(answer)).verdict == "pass"
    assert asked == [memory.WARM_UP, memory.CALLS, 2 * memory.CALLS]


def test_a_system_that_says_nothing_of_memory_is_no_verdict(case):
    assert memory.run(case(lambda arguments: {})).verdict == "inconclusive"


def test_a_limit_that_nothing_is_held_against_is_refused(case):
    with pytest.raises(UsageError, match="the marker limits min_sqnr_db, and the bundle's metric is top1"):
        _ = case(limits=Limits(min_sqnr_db=30.0)).judge
    assert str(case(limits=Limits(max_drop=parse_limit("3%"))).judge.accuracy.max_drop) == "3%"


def test_a_custom_metric_needs_the_recipe(copy_of_bundle, tmp_path):
    (tmp_path / "recipe.toml").write_text('name = "tiny"\n')
    (tmp_path / "metrics.py").write_text(
        "def hit(output, label): return float(output.argmax() == label)\nhit.higher_is_better = True\n"
    )
    with open_bundle(copy_of_bundle) as opened:
        accuracy = opened.manifest["limits"]["accuracy"]
    sign(copy_of_bundle, accuracy={**accuracy, "metric": "metrics.py:hit"})
    with open_bundle(copy_of_bundle) as bundle:
        with pytest.raises(RecipeError, match="code of yours, which a bundle does not carry") as raised:
            _ = Case(copy_of_bundle, bundle, Device(None), Limits(), SETTINGS, tmp_path).judge
        assert "--edgefuse-recipe" in raised.value.hint
        settings = Settings((), "local", None, False, None, str(tmp_path / "recipe.toml"), None, 60.0, False, None)
        judge = Case(copy_of_bundle, bundle, Device(None), Limits(), settings, tmp_path).judge
    assert judge.metric is not None and judge.metric.name == "metrics.py:hit"


def test_every_name_is_a_module_that_runs():
    assert all(callable(load_check(name).run) for name in CHECKS)
    assert {path.stem for path in Path(determinism.__file__).parent.glob("*.py")} == {"__init__", *CHECKS}


def found(verdict, check="accuracy", hint=""):
    return Finding(check, verdict, f"the figure of {check}", hint=hint)


def test_the_worst_finding_decides_and_all_failures_are_told():
    raise_worst([found("pass"), found("skipped", "golden")])
    with pytest.raises(Failed, match=r"(?s)latency: the figure.*memory: the figure"):
        raise_worst([found("pass"), found("fail", "latency"), found("error", "memory"), found("inconclusive")])
    with pytest.raises(Inconclusive, match="accuracy: the figure of accuracy"):
        raise_worst([found("pass", "memory"), found("inconclusive"), found("skipped", "golden")])
    with pytest.raises(pytest.skip.Exception, match=r"the figure of golden\. Record it"):
        raise_worst([found("skipped", "golden", "Record it")])


def test_strict_changes_doubts_alone():
    assert found("inconclusive").strict().verdict == "fail"
    assert all(found(verdict).strict() == found(verdict) for verdict in ("pass", "fail", "skipped", "error"))


def test_a_comparison_with_the_history_in_words():
    compared = {
        "p90_ratio": 1.234, "widened_ci95": [1.1, 1.4], "runs": 12, "limit": 1.05, "verdict": "fail",
        "changed": ["the bundle was compiled again"],
    }  # fmt: skip
    assert history_text(compared) == (
        "p90 1.234 times that of 12 recorded runs (95 %: 1.100 … 1.400), limit 1.05: fail; "
        "since the last: the bundle was compiled again"
    )


def test_a_request_that_is_interrupted_gives_the_connection_up():
    """Its answer would come as that of the next request."""
    device = Connection("local", 60.0)
    first = device.remote()

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    first.ask = interrupt
    with pytest.raises(KeyboardInterrupt):
        device.ask("about", {})
    assert device.remote() is not first and device.ask("about", {}).value["device_class"]
    device.release()
    assert [record["device_state"].keys() for record in device.records] == [{"before"}, {"before", "after", "remarks"}]
