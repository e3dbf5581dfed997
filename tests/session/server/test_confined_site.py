"""Forced commands: the real rrsync in front of prsync, for stock clients and ours."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from client_harness import SOURCES, prsync, rsync
from kinds_of_tree import fill, snapshot, tree_differences
from servers import RSYNC

RRSYNC = shutil.which("rrsync")
pytestmark = pytest.mark.skipif(not RSYNC or not RRSYNC, reason="needs the real rsync and its rrsync")
Client = Callable[..., "subprocess.CompletedProcess[bytes]"]
CLIENTS: dict[str, Client] = {"prsync": prsync, "stock": rsync}


@pytest.fixture(params=["prsync", "stock"])
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture
def shell(tmp_path: pathlib.Path) -> str:
    """A remote shell with a forced command: rrsync for the folder `kept`, starting prsync."""
    (tmp_path / "kept").mkdir()
    program = tmp_path / "rsync"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCES} exec {sys.executable} -m prsync "$@"\n')
    program.chmod(0o755)
    assert RRSYNC
    script = pathlib.Path(RRSYNC).read_text().replace("RSYNC = '/usr/bin/rsync'", f"RSYNC = '{program}'", 1)
    (tmp_path / "rrsync").write_text(script)
    forced = tmp_path / "shell"
    forced.write_text(
        "#!/bin/sh\n# the options and the host go; what is left is what the client asks for\n"
        'while [ "${1#-}" != "$1" ]; do [ "$1" = -l ] && shift; shift; done\nshift\n'
        f'SSH_ORIGINAL_COMMAND="$*" exec python3 {tmp_path}/rrsync ${{RRSYNC_OPTIONS-}} {tmp_path}/kept\n'
    )
    forced.chmod(0o755)
    return str(forced)



def test_forced_command_push_and_pull_stay_in_the_folder(client: Client, shell: str, tmp_path: pathlib.Path) -> None:
    fill(tmp_path / "src")
    done = client("-aH", "-e", shell, f"{tmp_path}/src/", "host:sub/")
    assert done.returncode == 0, done.stderr
    made = {path for path in (tmp_path / "kept" / "sub").rglob("*") if not (path.is_file() or path.is_dir() or path.is_symlink())}
    assert not made, "devices and specials are dropped at this end"
    assert (tmp_path / "kept" / "sub" / "big").read_bytes() == (tmp_path / "src" / "big").read_bytes()
    done = client("-aH", "-e", shell, "host:sub/", f"{tmp_path}/back/")
    assert done.returncode == 0, done.stderr
    assert tree_differences(snapshot(tmp_path / "back"), snapshot(tmp_path / "kept" / "sub")) == []


@pytest.mark.parametrize("name", ["/secret", "../secret", "{folder}/secret"])
def test_forced_command_merge_file_outside_is_not_read(client: Client, shell: str, tmp_path: pathlib.Path, name: str) -> None:
    """What it excludes would tell the client what is in it."""
    (tmp_path / "secret").write_text("word\n")
    (tmp_path / "kept" / "word").write_text("here")
    (tmp_path / "kept" / "d").mkdir()
    (tmp_path / "kept" / "d" / "word").write_text("here too")
    rule = f"--filter=:- {name.format(folder=tmp_path)}"
    client("-a", rule, "-e", shell, "host:", f"{tmp_path}/back/")
    assert (tmp_path / "back" / "word").exists() and (tmp_path / "back" / "d" / "word").exists()


@pytest.mark.parametrize("words", [
    ("--backup-dir={folder}/other", "-b"), ("--link-dest={folder}/src",), ("--temp-dir={folder}/other",),
    ("--partial-dir={folder}/other",),
], ids=" ".join)  # fmt: skip
def test_forced_command_options_place_nothing_outside(
    client: Client, shell: str, tmp_path: pathlib.Path, words: tuple[str, ...]
) -> None:
    for name in ("src", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "src" / "file").write_text("new")
    (tmp_path / "kept" / "file").write_text("old, longer")
    client("-a", *(word.format(folder=tmp_path) for word in words), "-e", shell, f"{tmp_path}/src/", "host:")
    assert list((tmp_path / "other").iterdir()) == []
    assert (tmp_path / "kept" / "file").read_text() in ("new", "old, longer")
    assert (tmp_path / "kept" / "file").stat().st_ino != (tmp_path / "src" / "file").stat().st_ino


def test_confine_root_other_than_where_the_server_works_is_refused(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prsync", "--server", "--sender", "-e.LsfxCIvu", f"--confine-root={tmp_path}", ".", "x"],
        input=(32).to_bytes(4, "little") + bytes(64), capture_output=True, check=False, timeout=60, cwd="/",
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )  # fmt: skip
    assert done.returncode == 4 and b"--confine-root" in done.stderr + done.stdout
