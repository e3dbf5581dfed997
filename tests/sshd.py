"""OpenSSH's server on this machine, with keys and configuration of its own."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

from servers import await_answer, free_port

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin") or ""
PRIVILEGE_SEPARATION = pathlib.Path("/run/sshd")  # compiled in; the system's own service makes it at its start
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
MaxStartups 100
"""


class Sshd:
    """`command`: the remote shell that gets there, as for -e. `forced`: a command that the key is for, and no other."""

    def __init__(self, folder: pathlib.Path, forced: str = "") -> None:
        self.port = free_port()
        for name in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        only = f'restrict,command="{forced}" ' if forced else ""
        (folder / "authorized_keys").write_text(only + (folder / "key.pub").read_text())
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        config = folder / "sshd_config"
        config.write_text(CONFIG.format(port=self.port, folder=folder))
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        with open(folder / "sshd.log", "wb") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stderr=log)
        await_answer(self.process, self.port)
        options = f"-o UserKnownHostsFile={folder}/known_hosts -o BatchMode=yes -o IdentitiesOnly=yes"
        self.command = f"ssh -F none -p {self.port} -i {folder}/key {options}"

    @staticmethod
    def possible() -> bool:
        return os.geteuid() == 0 and bool(SSHD)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
