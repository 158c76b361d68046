"""The verdict's reason names what decided, and nothing that was not measured."""

from __future__ import annotations

from typing import Any

from edgefuse.report.why import why


def test_why_names_what_decided(report: dict[str, Any], unlabelled: dict[str, Any]) -> None:
    assert why(unlabelled) == (
        "Accuracy holds: the worst output has 37.1 dB SQNR, above the floor of 30 dB; latency "
        "holds: p90 is 2.63 ms, within the limit of 20 ms."
    )
    report["verdict"] = report["latency"]["verdict"] = "fail"
    report["latency"]["limit_p90_ms"] = 1.0
    assert why(report) == "Latency fails: p90 is 2.63 ms, over the limit of 1 ms."


def test_why_of_a_failure_names_the_arrow(failed: dict[str, Any]) -> None:
    assert why(failed) == (
        "The arrow ONNX → INT8 ONNX (quantize) fails at 3.1 dB SQNR; accuracy fails: top1 drops by "
        "at least 28.0 pt (95 % sure), and 0.977 pt is allowed."
    )


def test_why_of_an_open_verdict_says_what_would_settle_it(undecided: dict[str, Any]) -> None:
    assert why(undecided) == (
        "Accuracy is open: 941 samples cannot tell whether top1 drops by more than the 0.0977 pt "
        "that is allowed; about 4,400 more would settle it."
    )


def test_why_of_an_open_latency_gives_the_interval_with_the_noise(report: dict[str, Any]) -> None:
    report["verdict"] = report["latency"]["verdict"] = "inconclusive"
    report["latency"] |= {"limit_p90_ms": 2.0, "p90_ci95_ms": [1.9, 2.1], "canary_p90_ratio": 0.8}
    assert "p90 lies between 1.52 and 2.62 ms, and so does the limit of 2 ms" in why(report)


def test_why_of_a_check_on_too_few_samples_does_not_say_that_it_fails(unlabelled: dict[str, Any]) -> None:
    unlabelled["verdict"] = "inconclusive"
    found = {"verdict": "inconclusive", "samples": 9, "more_samples": 7, "ci95": [29.0, 41.5]}
    unlabelled["accuracy"][0] |= found
    assert why(unlabelled) == (
        "Accuracy is open: the worst output has 37.1 dB SQNR (95 %: 29.0 dB … 41.5 dB), and 9 samples cannot tell "
        "whether it holds the floor of 30 dB; about 7 more would settle it."
    )


def test_why_of_a_pending_verdict_says_what_passed_and_what_waits_for_which_device(portable: dict[str, Any]) -> None:
    assert why(portable) == (
        "Emulated accuracy holds: top1 drops by at most 0.407 pt (95 % sure), and 0.977 pt is allowed; the arrows "
        "export and quantize pass; NVIDIA's parser and builder take all 4 graphs. Compilation, accuracy on the device "
        "and latency wait for jetson-orin-nano-8gb."
    )


def test_why_claims_no_parser_check_that_was_not_run(portable: dict[str, Any], elsewhere: dict[str, Any]) -> None:
    assert "NVIDIA" not in why(elsewhere)
    portable["graphs"] = portable["graphs"][:2]
    portable["graphs"][0]["toolchain"] = {"verdict": "not run", "text": "not run: …"}
    assert "take 1 of 2 graphs" in why(portable)


def test_why_of_a_doubtful_arrow_does_not_say_that_it_passes(portable: dict[str, Any]) -> None:
    portable["gates"][1]["verdict"] = "inconclusive"
    assert "the arrow export passes" in why(portable)


def test_why_of_a_portable_failure_judges_no_latency(portable: dict[str, Any]) -> None:
    portable["verdict"] = portable["accuracy"][0]["verdict"] = "fail"
    portable["accuracy"][0]["ci95"] = [0.28, 0.34]
    assert (
        why(portable) == "Emulated accuracy fails: top1 drops by at least 28.0 pt (95 % sure), and 0.977 pt is allowed."
    )
