"""What this machine has, what it lacks, and the command that cures it. Standard library only."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edgefuse import child
from edgefuse.errors import EdgeFuseError
from edgefuse.jetpack import JetPack, Jetson, jetpack_of, this_jetson
from edgefuse.machine import cpu_name, installed_version, memory_gib, usable_cores

COMPILE_PACKAGES = ("torch", "onnx", "onnxruntime", "onnxscript", "jinja2", "matplotlib")
RECORDING_PACKAGES = {
    "ros": ("rosbags", "mcap", "mcap-protobuf-support", "pillow"),
    "lerobot": ("pyarrow", "av"),
    "hdf5": ("h5py",),
    "text": ("tokenizers",),
}
"""Extra to what it installs."""
RUN_PACKAGES = ("openvino", "nvidia")
"""The findings of which one must be good for a bundle to run."""
CHECK_PACKAGES = ("tensorrt-rtx-cu12-libs", "tensorrt-rtx-cu12-bindings")
DRIVER_FILES = (Path("/proc/driver/nvidia/version"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
PROBE_TIMEOUT_S = 120
MIN_TENSORRT = (10,)
FROM_JETPACK = (
    "TensorRT comes with JetPack, not from PyPI: sudo apt install tensorrt python3-libnvinfer. "
    "A virtual environment sees it when it was made with: python3 -m venv --system-site-packages"
)


@dataclass(frozen=True)
class Finding:
    """``ok`` None: worth knowing, neither good nor bad."""

    name: str
    ok: bool | None
    text: str
    cure: str = ""


def examine() -> list[Finding]:
    """Everything that a compile or a run depends on; vendor libraries are tried in a child process, since some die
    when they are imported on the wrong CPU."""
    checks: Iterable[Callable[[], Finding]] = (
        _python,
        _cpu,
        _memory,
        _openvino,
        _nvidia,
        _onnxruntime,
        _trt_check,
        _compile_extra,
        _recordings,
        _governor,
        _disk,
    )
    board = [_jetpack(jetson)] if (jetson := this_jetson()) else []
    return [*board, *(check() for check in checks)]


def can_run(findings: list[Finding]) -> bool:
    """Whether a bundle can run here: Python and at least one vendor library."""
    good = {item.name for item in findings if item.ok}
    return "python" in good and not good.isdisjoint(RUN_PACKAGES)


def _python() -> Finding:
    return Finding(
        "python",
        sys.version_info >= (3, 10),
        f"{platform.python_version()} on {platform.platform()}",
        "EdgeFuse needs Python 3.10 or newer.",
    )


def _cpu() -> Finding:
    return Finding("cpu", None, f"{cpu_name()}, {platform.machine()}, {usable_cores()} usable cores")


def _memory() -> Finding:
    found = memory_gib()
    return Finding("memory", None, f"{found:.1f} GiB" if found else "unknown on this system")


def _openvino() -> Finding:
    return _vendor("openvino", "pip install 'edgefuse[openvino]'", "not installed (CPUs need it)")


def _onnxruntime() -> Finding:
    return _vendor("onnxruntime", "pip install onnxruntime", "not installed")


def _vendor(name: str, install: str, absent: str) -> Finding:
    if installed_version(name) is None:
        return Finding(name, False, absent, install)
    try:
        return Finding(name, True, _probe(name))
    except EdgeFuseError as error:
        return Finding(name, False, error.what, f"{install} --force-reinstall")


def _probe(backend: str) -> str:
    """The backend's version and what it can do here; raises what kept it from answering."""
    found = child.call(
        "edgefuse.probe:capabilities", {"backend": backend}, what=f"Importing {backend}", timeout_s=PROBE_TIMEOUT_S
    )
    return f"{found['version']}: {found['name']}, {', '.join(found['precisions'])}"


def _nvidia() -> Finding:
    """The GPU as TensorRT sees it. A machine without one is no worse for it."""
    jetson = this_jetson()
    try:
        return Finding("nvidia", True, _probe("tensorrt"))
    except EdgeFuseError as error:
        if jetson:
            return Finding("nvidia", False, error.what, FROM_JETPACK)
        if _has_driver():
            cure = error.hint if installed_version("tensorrt") else "pip install 'edgefuse[tensorrt]'"
            return Finding("nvidia", False, error.what, cure)
    return Finding(
        "nvidia", None, "none", "With an NVIDIA GPU: install its driver, then pip install 'edgefuse[tensorrt]'."
    )


def _has_driver() -> bool:
    return shutil.which("nvidia-smi") is not None or any(path.exists() for path in DRIVER_FILES)


def _trt_check() -> Finding:
    """TensorRT-RTX, whose parser reads a graph for an NVIDIA target where there is no GPU."""
    missing = [name for name in CHECK_PACKAGES if installed_version(name) is None]
    if not missing:
        return Finding("trt-check", True, f"TensorRT-RTX {installed_version(CHECK_PACKAGES[0])}")
    if this_jetson():
        return Finding("trt-check", None, "not needed: this board has TensorRT itself")
    if platform.machine() != "x86_64":
        return Finding("trt-check", None, "not needed: TensorRT-RTX checks graphs at a workstation, on x86_64 alone")
    text = "not installed (it checks graphs for NVIDIA targets where there is no GPU)"
    return Finding("trt-check", None, text, "pip install 'edgefuse[trt-check]'")


def _jetpack(jetson: Jetson) -> Finding:
    """Whether this board's JetPack has a TensorRT and a Python that EdgeFuse can use."""
    if not jetson.l4t:
        text = f"{jetson.model}; which JetPack is not said here (a container hides /etc/nv_tegra_release)"
        return Finding("jetpack", None, text)
    row = jetpack_of(jetson.l4t)
    if row is None:
        return Finding("jetpack", None, f"{jetson.model}, L4T {jetson.l4t}: a JetPack that EdgeFuse does not know")
    text = f"{row.jetpack} (L4T {jetson.l4t}, TensorRT {row.tensorrt}) on {jetson.model}"
    return Finding("jetpack", not (cure := _jetpack_cure(row, sys.version_info[:2])), text, cure)


def _jetpack_cure(row: JetPack, python: tuple[int, int]) -> str:
    if tuple(map(int, row.tensorrt.split(".")))[:1] < MIN_TENSORRT:
        return f"{row.rule}. EdgeFuse needs JetPack 6.1 or later."
    if ".".join(map(str, python)) != row.python:
        return f"JetPack's TensorRT is for Python {row.python}; run EdgeFuse with /usr/bin/python{row.python}."
    return ""


def _compile_extra() -> Finding:
    missing = [name for name in COMPILE_PACKAGES if installed_version(name) is None]
    if missing:
        return Finding(
            "compile",
            False,
            f"missing {', '.join(missing)} (a robot does not need them)",
            "pip install 'edgefuse[compile]'",
        )
    return Finding("compile", True, ", ".join(f"{name} {installed_version(name)}" for name in COMPILE_PACKAGES))


def _recordings() -> Finding:
    """Needed by recordings alone, so that a missing one is no fault."""
    there = {extra: all(map(installed_version, names)) for extra, names in RECORDING_PACKAGES.items()}
    lacking = ",".join(extra for extra, found in there.items() if not found)
    text = ", ".join(f"{extra} {'yes' if found else 'no'}" for extra, found in there.items())
    return Finding("recordings", None, text, f"pip install 'edgefuse[{lacking}]'" if lacking else "")


def _governor() -> Finding:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    try:
        governor = path.read_text(encoding="ascii").strip()
    except OSError:
        return Finding("governor", None, "not readable here (a virtual machine, or no frequency scaling)")
    return Finding(
        "governor",
        governor == "performance" or None,
        governor,
        "" if governor == "performance" else "Latency is steadier with the performance governor.",
    )


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return Finding("disk", free > 1 or None, f"{free:.1f} GiB free here")
