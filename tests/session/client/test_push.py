"""prsync as the client of a push, with the real rsync at the other end of a remote shell."""

from __future__ import annotations

import pathlib

import pytest
import ways
from client_harness import prsync
from servers import RSYNC

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

LIST = b"a\n\nsub/x\r\n#c\n;d"


@pytest.fixture
def shell(tmp_path: pathlib.Path) -> list[str]:
    """Options for a remote shell that leads back here."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for name in ("a", "b", "#c", ";d", "sub/x", "sub/y"):
        (source / name).write_text(name)
    (tmp_path / "list").write_bytes(LIST)
    return ["-e", str(ways.script(tmp_path / "shell", 'shift\nexec /bin/sh -c "$*"\n')), f"--rsync-path={RSYNC}"]


@pytest.mark.parametrize("protocol", range(27, 33))
def test_names_from_a_file_at_the_server_are_pushed(tmp_path: pathlib.Path, shell: list[str], protocol: int) -> None:
    names = f"--files-from=:{tmp_path}/list"
    target = tmp_path / "target"
    target.mkdir()
    result = prsync(*shell, "-t", names, f"--protocol={protocol}", f"{tmp_path}/source/", f"here:{target}/")
    assert (result.returncode, result.stderr) == (0, b"")
    assert sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()) == ["#c", ";d", "a", "sub/x"]


@pytest.mark.parametrize("count", [0, 40_000])
def test_names_of_any_number_come_whole(tmp_path: pathlib.Path, shell: list[str], count: int) -> None:
    """More than a frame, a buffer or a pipe holds; names that do not exist only make the exit code."""
    (tmp_path / "list").write_bytes(b"".join(b"none-%d\n" % number for number in range(count)) + (b"a" if count else b""))
    result = prsync(*shell, "-q", f"--files-from=:{tmp_path}/list", f"{tmp_path}/source/", f"here:{tmp_path}/target/")
    assert (result.returncode, result.stderr.count(b"link_stat")) == (23 if count else 0, count)
    assert (tmp_path / "target" / "a").exists() == bool(count)


def test_names_that_the_server_cannot_read_end_the_push_with_its_words(tmp_path: pathlib.Path, shell: list[str]) -> None:
    result = prsync(*shell, f"--files-from=:{tmp_path}/none", f"{tmp_path}/source/", f"here:{tmp_path}/target/")
    assert result.returncode and b"failed to open files-from file" in result.stderr
    assert not (tmp_path / "target").exists()
