"""``edgefuse lint``: what TensorRT would refuse in a graph, or silently do otherwise, without a GPU at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from edgefuse.bundle import SUFFIX, open_bundle
from edgefuse.device import Device, load_device
from edgefuse.errors import InputError, UsageError
from edgefuse.manifest import MODEL

if TYPE_CHECKING:
    from edgefuse.lint import Finding

COLORS = {"error": "red", "warning": "yellow"}


@click.command("lint")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--target", default="jetson", show_default=True, help="TensorRT device (see: edgefuse devices).")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--rules", is_flag=True, help="List the rules, and lint nothing.")
def command(model: Path | None, target: str, as_json: bool, rules: bool) -> int:
    """Say what TensorRT would refuse in MODEL, or silently do otherwise.

    MODEL is an ONNX file, or a bundle for its model.onnx. Needs neither a GPU nor TensorRT. Exit code 4 when there are
    errors; warnings alone give 0.
    """
    if rules:
        return _print_rules(as_json)
    if model is None:
        raise UsageError("there is no MODEL to lint", hint="Give an ONNX file, or --rules for the list of rules.")
    device = _tensorrt_device(target)
    findings = _lint(model, device)
    if as_json:
        click.echo(json.dumps(_report(findings, device), indent=2))
    else:
        _print(findings, device)
    return InputError.exit_code if _has_errors(findings) else 0


def _tensorrt_device(target: str) -> Device:
    device = load_device(target)
    if device.backend != "tensorrt":
        raise UsageError(
            f"lint is for TensorRT targets; {device.name} is compiled with {device.backend}",
            where="--target",
            hint="Name a Jetson or an NVIDIA GPU (see: edgefuse devices).",
        )
    return device


def _lint(model: Path, device: Device) -> list[Finding]:
    from edgefuse.lint import lint_file

    if not model.is_dir() and model.suffix not in (".zip", SUFFIX):
        return lint_file(model, device.tensorrt, device.compute_capability)
    with open_bundle(model) as bundle:
        return lint_file(bundle.path / MODEL, device.tensorrt, device.compute_capability)


def _has_errors(findings: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _report(findings: list[Finding], device: Device) -> dict[str, Any]:
    return {
        "target": device.name,
        "tensorrt": device.tensorrt,
        "findings": [finding.to_json() for finding in findings],
        "verdict": "fail" if _has_errors(findings) else "pass",
    }


def _print(findings: list[Finding], device: Device) -> None:
    console = Console(highlight=False)
    for finding in findings:
        kind = f"[{COLORS[finding.severity]}]{finding.severity}[/]"
        op = f" [dim]{escape(finding.op)}[/]" if finding.op else ""
        console.print(f"{kind} [bold]{finding.rule}[/]  {escape(finding.node)}{op}")
        console.print(_indented(finding.message))
        console.print(_indented(f"→ {finding.cure}"), style="dim")
    console.print(f"{_count(findings)} for {_named(device)}.")


def _indented(text: str) -> Padding:
    return Padding(escape(text), (0, 0, 0, 4), expand=False)


def _count(findings: list[Finding]) -> str:
    from edgefuse.lint import RULES

    if not findings:
        return f"no findings: the graph keeps all {len(RULES)} rules"
    errors = sum(finding.severity == "error" for finding in findings)
    return f"{_plural(errors, 'error')}, {_plural(len(findings) - errors, 'warning')}"


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _named(device: Device) -> str:
    from edgefuse.lint import NEWEST

    version = f"TensorRT {device.tensorrt}" if device.tensorrt else f"TensorRT {NEWEST}, the newest known"
    alias = f"{device.alias} means " if device.alias else ""
    gpu = f", compute capability {device.compute_capability}" if device.compute_capability else ""
    return f"{version} ({alias}{device.name}{gpu})"


def _print_rules(as_json: bool) -> int:
    from edgefuse.lint import RULES

    if as_json:
        rules = [{"rule": rule, "severity": severity, "title": title} for rule, (severity, title) in RULES.items()]
        click.echo(json.dumps(rules, indent=2))
        return 0
    console = Console(highlight=False)
    for rule, (severity, title) in RULES.items():
        console.print(f"[bold]{rule:<4}[/] [{COLORS[severity]}]{severity}[/]")
        console.print(_indented(title))
    return 0
