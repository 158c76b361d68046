"""What a connection to a device costs: to connect, one small job, a large file there and back.

    python benchmarks/device_link.py [--runs N]

This machine is the device, over every transport: ``local``, an asyncssh server in this process, OpenSSH on loopback. In
the last column the file goes through ``ssh … 'cat > file'``, without anything of ours.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgefuse.remote import RemoteDevice, connect
from tests.remote.asyncssh_server import AsyncsshServer
from tests.remote.rig import Rig, fault
from tests.remote.sshd import running_sshd

MEGABYTES = 100
CALLS = 300


@contextmanager
def transports(rig: Rig) -> Iterator[dict[str, tuple[str, str]]]:
    """Name to address and ssh command."""
    with AsyncsshServer(rig.folder / "asyncssh") as library, running_sshd(rig.folder / "sshd") as openssh:
        options = {"python": str(rig.python)}
        yield {
            "local": (rig.address, ""),
            "asyncssh": (library.address(**options), library.ssh),
            "OpenSSH": (openssh.address(**options), openssh.ssh),
        }


def seconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def connecting(address: str) -> float:
    def once() -> None:
        with connect(address):
            pass

    return seconds(once)


def round_trip(device: RemoteDevice) -> float:
    """One job with 4 kB of arrays there and back, median over CALLS."""
    arrays = {"x": np.zeros(1024, np.float32)}
    fault(device, "echo", arrays=arrays)
    return median(seconds(lambda: fault(device, "echo", arrays=arrays)) for _ in range(CALLS))


def upload(device: RemoteDevice, folder: Path) -> float:
    """Never the same file: it would not be sent again."""
    path = folder / "file"
    path.write_bytes(os.urandom(MEGABYTES * 10**6))
    return seconds(lambda: device.put_file(path))


def download(device: RemoteDevice, folder: Path) -> float:
    key = fault(device, "make", files={"file": MEGABYTES * 10**6}).value
    return seconds(lambda: device.fetch(key, folder))


def plain_ssh(ssh: str, folder: Path) -> float:
    with (folder / "file").open("rb") as stream:
        command = [*shlex.split(ssh), "any", f"cat > {shlex.quote(str(folder / 'copy'))}"]
        return seconds(lambda: subprocess.run(command, stdin=stream, check=True))


def measure(address: str, ssh: str, folder: Path, runs: int) -> list[str]:
    os.environ["EDGEFUSE_SSH"] = ssh or "ssh"
    start = median(connecting(address) for _ in range(runs))
    with connect(address) as device:
        small = round_trip(device)
        there = median(upload(device, folder) for _ in range(runs))
        back = median(download(device, folder) for _ in range(runs))
    plain = f"{MEGABYTES / median(plain_ssh(ssh, folder) for _ in range(runs)):.0f}" if ssh else ""
    return [f"{start:.2f}", f"{small * 1e3:.2f}", f"{MEGABYTES / there:.0f}", f"{MEGABYTES / back:.0f}", plain]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="of each but the round trips, the median counts [5]")
    runs = parser.parse_args().runs
    print("| transport | connect, s | job with 4 kB, ms | 100 MB there, MB/s | back, MB/s | `ssh cat`, MB/s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        with transports(rig) as places:
            for name, (address, ssh) in places.items():
                print(f"| {name} | {' | '.join(measure(address, ssh, rig.folder, runs))} |", flush=True)


if __name__ == "__main__":
    main()
