"""prsync as the client of a push, with the real rsync at the other end of a remote shell."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
from collections.abc import Callable

import pytest
import ways
from client_harness import prsync, rsync, stable
from servers import RSYNC

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

Runner = Callable[..., subprocess.CompletedProcess[bytes]]
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


@pytest.mark.parametrize("arguments", [["DIR/source/sub", "DIR/source/./a"], ["/.DIR/source/b"]])
@pytest.mark.parametrize(
    "words",
    [["-Rrv"], ["-Rrv", "--no-inc-recursive"], ["-Rri"], ["-Rrn", "--out-format=%n|%f"], ["-Rv", "--no-implied-dirs"]],
    ids=" ".join,
)
def test_names_of_an_absolute_argument_are_shown_as_rsync_shows_them(
    tmp_path: pathlib.Path, shell: list[str], words: list[str], arguments: list[str]
) -> None:
    sources = [argument.replace("DIR", str(tmp_path)) for argument in arguments]
    outputs = []
    for run, name in ((prsync, "ours"), (rsync, "theirs")):
        result = run(*shell, *words, *sources, f"here:{tmp_path}/target")
        if (tmp_path / "target").exists():
            (tmp_path / "target").rename(tmp_path / name)
        outputs.append((result.returncode, sorted(stable(result.stdout)), result.stderr))
    assert outputs[0] == outputs[1]


def test_verbose_push_counts_what_the_block_search_found(tmp_path: pathlib.Path, shell: list[str]) -> None:
    old = os.urandom(300_000)
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(old)
    (tmp_path / "source" / "a").write_bytes(old[:100_000] + b"new" + old[100_000:])
    outputs = []
    for run, name in ((prsync, "ours"), (rsync, "theirs")):
        lines = run(*shell, "-vv", f"{tmp_path}/source/a", f"here:{tmp_path}/{name}/").stdout.splitlines()
        outputs.append([re.sub(rb"hash_hits=\d+", b"", line) for line in lines if b"total: " in line or b"delta-" in line])
    assert outputs[0] == outputs[1] and len(outputs[0]) == 2


@pytest.mark.parametrize("whole", [True, False])
def test_progress_begins_where_rsyncs_does(tmp_path: pathlib.Path, shell: list[str], whole: bool) -> None:
    old = os.urandom(300_000)
    (tmp_path / "source" / "a").write_bytes(os.urandom(100_000) + old)
    outputs = []
    for run, name in ((prsync, "ours"), (rsync, "theirs")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(old)
        words = ["--progress", "--whole-file"] if whole else ["--progress"]
        shown = run(*shell, *words, f"{tmp_path}/source/a", f"here:{tmp_path}/{name}/").stdout
        outputs.append(re.findall(rb"\r *([\d,]+)", shown)[0])
    assert outputs[0] == outputs[1] == b"32,768"


@pytest.mark.parametrize("sender", [prsync, rsync], ids=["ours", "stock"])
@pytest.mark.parametrize("pull", [False, True])
def test_secluded_arguments_reach_our_server(tmp_path: pathlib.Path, shell: list[str], sender: Runner, pull: bool) -> None:
    (tmp_path / "target").mkdir()
    program = ways.launcher(tmp_path / "prsync")
    at_source, at_target = ("here:", "") if pull else ("", "here:")
    places = [f"{at_source}{tmp_path}/source/a", f"{at_target}{tmp_path}/target/b c"]
    result = sender(shell[0], shell[1], f"--rsync-path={program}", "-s", *places)
    assert (result.returncode, result.stderr) == (0, b"")
    assert (tmp_path / "target" / "b c").read_text() == "a"


@pytest.mark.parametrize("words", [["-rc"], ["-rc", "--no-inc-recursive"], ["-rc", "--cc=md5", "--protocol=30"]], ids=" ".join)
def test_checksums_of_the_list_are_shown(tmp_path: pathlib.Path, shell: list[str], words: list[str]) -> None:
    """Of enough files for lists that are kept packed."""
    for number in range(600):
        (tmp_path / "source" / f"{number:03}").write_text(str(number))
    outputs = []
    for run, name in ((prsync, "ours"), (rsync, "theirs")):
        result = run(*shell, *words, "--out-format=%C %n", f"{tmp_path}/source/", f"here:{tmp_path}/{name}/")
        outputs.append((result.returncode, sorted(stable(result.stdout)), result.stderr))
    assert outputs[0] == outputs[1] and len(set(outputs[0][1])) > 600
