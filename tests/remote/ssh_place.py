"""A server of the tests as its client sees it: keys, known hosts and a client configuration, all in one folder.

Nothing of the user's is read or written: ``ssh -F FOLDER/config``, which ``EDGEFUSE_SSH`` makes EdgeFuse's own.
"""

from __future__ import annotations

import getpass
import shlex
from pathlib import Path
from urllib.parse import quote, urlencode

import asyncssh

HOST = "127.0.0.1"

CLIENT_CONFIG = """Host *
    HostName {host}
    Port {port}
    User {user}
    IdentityFile "{folder}/client_key"
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile "{folder}/known_hosts"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    PasswordAuthentication no
    KbdInteractiveAuthentication no
"""


class SshPlace:
    """A server looks into ``authorized_keys`` at each connection."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.user, self.port = folder, getpass.getuser(), 0
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "client_key"):
            write_key(folder / name)
        self.accept_keys()

    def listens_at(self, port: int) -> None:
        self.port = port
        text = CLIENT_CONFIG.format(host=HOST, port=port, user=self.user, folder=self.folder)
        (self.folder / "config").write_text(text, encoding="ascii")
        self._write_known_host(self.folder / "host_key.pub")

    @property
    def environment(self) -> dict[str, str]:
        """The device's own cache folder and lock, for what is run there."""
        return {"XDG_CACHE_HOME": str(self.folder / "cache"), "EDGEFUSE_LOCK": str(self.folder / "edgefuse.lock")}

    @property
    def ssh(self) -> str:
        """The value for ``EDGEFUSE_SSH``."""
        return f"ssh -F {shlex.quote(str(self.folder / 'config'))}"

    def address(self, **options: str) -> str:
        """What ``--device`` takes, such as ``address(python="/opt/edgefuse/bin/python")``."""
        question = f"?{urlencode(options, safe='/', quote_via=quote)}" if options else ""
        return f"ssh://{self.user}@{HOST}:{self.port}{question}"

    def accept_keys(self) -> None:
        (self.folder / "authorized_keys").write_bytes((self.folder / "client_key.pub").read_bytes())

    def refuse_keys(self) -> None:
        (self.folder / "authorized_keys").write_bytes(b"")

    def take_for_another(self) -> None:
        """From now on the client knows another key for this host, as after it was set up anew."""
        write_key(self.folder / "other_key")
        self._write_known_host(self.folder / "other_key.pub")

    def _write_known_host(self, public: Path) -> None:
        kind, key, *_ = public.read_text(encoding="ascii").split()
        (self.folder / "known_hosts").write_text(f"[{HOST}]:{self.port} {kind} {key}\n", encoding="ascii")


def write_key(path: Path) -> None:
    """A new private key, and its public one in ``path.pub``."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment="edgefuse-tests")
    path.touch(mode=0o600)
    key.write_private_key(path)
    key.write_public_key(f"{path}.pub")
