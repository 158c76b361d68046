"""The servers and the device of these tests."""

from __future__ import annotations

from tests.remote.asyncssh_server import asyncssh_server
from tests.remote.device_venv import torch_free_python
from tests.remote.rig import rig
from tests.remote.sshd import openssh, openssh_server

__all__ = ["asyncssh_server", "openssh", "openssh_server", "rig", "torch_free_python"]
