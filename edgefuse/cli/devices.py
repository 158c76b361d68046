"""``edgefuse devices``: the targets, and the JetPack versions that those with a Jetson depend on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.device import Device, assumed, device_names, load_device, meaning
from edgefuse.errors import UsageError
from edgefuse.jetpack import JetPack, jetpacks

GROUPS = {"openvino": "CPUs, through OpenVINO", "tensorrt": "NVIDIA GPUs, through TensorRT"}


@click.command("devices")
@click.argument("name", required=False)
@click.option("--jetpack", is_flag=True, help="List the JetPack versions and the TensorRT that each brings.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(name: str | None, jetpack: bool, as_json: bool) -> None:
    """List the devices that --target knows, or show the one called NAME."""
    if jetpack:
        if name:
            raise UsageError("--jetpack lists all versions; it takes no NAME", hint=f"Try: edgefuse devices {name}")
        _print_jetpacks(jetpacks(), as_json)
        return
    devices = [load_device(item) for item in ([name] if name else device_names())]
    if as_json:
        click.echo(json.dumps([_as_json(device) for device in devices], indent=2))
    elif name:
        for line in _lines(devices[0]):
            click.echo(line)
    else:
        _print_list(devices)


def _as_json(device: Device) -> dict[str, Any]:
    rows = [row.jetpack for row in _rows(device)]
    return {**asdict(device), "assumed": assumed(device), "jetpacks": rows}


def _rows(device: Device) -> list[JetPack]:
    return [row for row in jetpacks() if row.fits(device.match)]


def _print_list(devices: list[Device]) -> None:
    console, width = Console(highlight=False), max(len(device.name) for device in devices)
    for backend in dict.fromkeys([*GROUPS, *(device.backend for device in devices)]):
        table = Table(box=None, show_header=False)
        table.add_column(min_width=width)
        for device in [device for device in devices if device.backend == backend]:
            also = f" (or {', '.join(device.aliases)})" if device.aliases else ""
            table.add_row(device.name, escape(device.description + also))
        console.print(f"[dim]{escape(GROUPS.get(backend, backend))}[/]")
        console.print(table)


def _lines(device: Device) -> Iterator[str]:
    """Everything that the profile says, for people; a source stands below what it is of."""
    if device.alias:
        yield meaning(device)
    yield f"{device.name}: {device.description}"
    yield f"backend    {device.backend}"
    yield f"machine    {' or '.join(device.arch) or 'any'}{', named like ' + device.match if device.match else ''}"
    yield f"precisions {', '.join(device.precisions) or 'those that the machine has'}"
    if device.backend == "tensorrt":
        yield f"GPU        compute capability {device.compute_capability or 'read from the GPU'}"
        yield f"check      without the GPU: TensorRT-RTX for {device.check_capability or 'none, it would say nothing'}"
        yield f"workspace  {device.workspace_mib} MiB"
    else:
        yield f"threads    {device.threads or 'all that the process may use'}"
    if device.jetpack:
        yield f"versions   {assumed(device)}"
    for row in _rows(device):
        yield f"JetPack    {row.jetpack}: TensorRT {row.tensorrt}, CUDA {row.cuda}, Python {row.python}; {row.rule}"
    for name, figure in device.figures.items():
        yield f"figure     {name} = {figure.value}{' ' + figure.unit if figure.unit else ''}"
        yield f"           from: {figure.source}"
    for text, source in zip(device.limits, device.limit_sources):
        yield f"limit      {text}"
        yield f"           from: {source}"
    for source in device.sources:
        yield f"source     {source}"


def _print_jetpacks(rows: tuple[JetPack, ...], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    for row in rows:
        l4t = row.l4t_first if row.l4t_first == row.l4t_last else f"{row.l4t_first} to {row.l4t_last}"
        opset = f", ONNX opset up to {row.opset_max}" if row.opset_max else ""
        click.echo(f"{row.jetpack:<8} TensorRT {row.tensorrt}, CUDA {row.cuda}, Python {row.python}{opset}")
        click.echo(f"         {', '.join(row.boards)}; L4T {l4t or 'unknown'}")
        click.echo(f"         {row.rule}")
        click.echo(f"         from: {row.source}")
