"""The sender against the real rsync as its client, over a pipe in place of a remote shell; and its messages."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import subprocess
import sys
import types

import pytest

from prsync.engine.context import Status
from prsync.transfer.messages import MESSAGE_LIMIT, message_code, pieces
from prsync.transfer.pump import Want
from prsync.transfer.sender import Sender

STOCK = shutil.which("rsync")
SERVER = pathlib.Path(__file__).parent / "rsh_sender.py"
needs_stock = pytest.mark.skipif(STOCK is None, reason="no rsync here")
PROTOCOLS = range(27, 33)


def pull(source: pathlib.Path, dest: pathlib.Path, *options: str, hook: str = "") -> subprocess.CompletedProcess[str]:
    """Stock rsync fetches source/ into dest/ from our sender."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if hook:
        script = dest.parent / "hook.py"
        script.write_text(hook)
        environment["RSH_SENDER_HOOK"] = str(script)
    command = [str(STOCK), *options, "-e", f"{sys.executable} {SERVER}", f"host:{source}/", f"{dest}/"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@needs_stock
def test_source_that_changed_after_it_was_listed_stays(tmp_path: pathlib.Path) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    make_tree(source)
    hook = f"""import os
os.utime({str(source / "text")!r})
os.utime({str(source / "one/two/packed.gz")!r}, ns=(10**18, os.stat({str(source / "one/two/packed.gz")!r}).st_mtime_ns + 1))
open({str(source / "one/large")!r}, "ab").write(b"more")
os.remove({str(source / "link")!r})"""
    result = pull(source, dest, "-a", "--remove-source-files", hook=hook)
    left = sorted(str(path.relative_to(source)) for path in source.rglob("*") if not path.is_dir())
    assert (result.returncode, left) == (23, ["one/large", "one/two/packed.gz", "text"]), result.stderr
    for name in left:
        assert f"ERROR: Skipping sender remove for changed file: {name}\n" in result.stderr
    assert "sender file already removed: link\n" in result.stdout


def snapshot(top: pathlib.Path, protocol: int = 32) -> dict[str, tuple[object, ...]]:
    """What -a preserves of a tree, by relative path; below protocol 31 times have no fractions."""
    unit = 1 if protocol >= 31 else 10**9
    found: dict[str, tuple[object, ...]] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        st = path.lstat()
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(top))] = (st.st_mode, st.st_mtime_ns // unit, content)
    return found


def make_tree(top: pathlib.Path, seed: int = 1) -> None:
    rng = random.Random(seed)
    for directory in ("", "one", "one/two", "empty", "many"):
        (top / directory).mkdir(parents=True, exist_ok=True)
    (top / "zero").write_bytes(b"")
    (top / "text").write_bytes(b"The quick brown fox.\n" * 5000)
    (top / "one/large").write_bytes(rng.randbytes(1_200_000))
    (top / "one/two/packed.gz").write_bytes(rng.randbytes(40_000) + bytes(40_000))
    for number in range(300):
        (top / "many" / f"file{number:03}").write_bytes(rng.randbytes(rng.randrange(5000)))
    (top / "link").symlink_to("one/two")
    for number, path in enumerate([*sorted(top.rglob("*"), reverse=True), top]):
        os.utime(path, ns=(10**18, 10**18 + number * 1_000_003), follow_symlinks=False)


def change_tree(top: pathlib.Path) -> None:
    large = top / "one/large"
    data = bytearray(large.read_bytes())
    for at in range(0, len(data), 200_000):
        data[at : at + 7] = b"changed"
    large.write_bytes(bytes(data[:600_000]) + b"something new in between" + bytes(data[600_000:]))
    (top / "text").write_bytes(b"grown " * 3000 + (top / "text").read_bytes())
    (top / "many/file007").unlink()
    (top / "many/new").write_bytes(b"new")
    # rsync leaves a directory's time alone where only the fraction of the second differs.
    for path in (top, top / "one", top / "many"):
        os.utime(path, ns=(10**18, 11 * 10**17))


@pytest.fixture
def trees(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    make_tree(tmp_path / "source")
    return tmp_path / "source", tmp_path / "dest"


@needs_stock
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("recursion", ["--inc-recursive", "--no-inc-recursive"])
def test_sender_stock_client_gets_the_tree_and_its_changes(
    trees: tuple[pathlib.Path, pathlib.Path], protocol: int, recursion: str
) -> None:
    source, dest = trees
    options = ["-a", f"--protocol={protocol}", recursion, "--delete"]
    first = pull(source, dest, *options)
    assert first.stderr == ""
    assert first.returncode == 0
    assert snapshot(dest, protocol) == snapshot(source, protocol)
    again = pull(source, dest, *options, "-i")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    change_tree(source)
    changed = pull(source, dest, *options, "--stats")
    assert changed.stderr == ""
    assert changed.returncode == 0
    assert snapshot(dest, protocol) == snapshot(source, protocol)
    matched = [line for line in changed.stdout.splitlines() if line.startswith("Matched data: ")]
    assert int(matched[0].split()[2].replace(",", "")) > 1_000_000


@needs_stock
@pytest.mark.parametrize("protocol", [30, 32])
@pytest.mark.parametrize("choice", ["zlib", "zlibx", "lz4", "zstd"])
def test_sender_stock_client_unpacks_what_is_compressed(
    trees: tuple[pathlib.Path, pathlib.Path], protocol: int, choice: str
) -> None:
    source, dest = trees
    options = ["-az", f"--protocol={protocol}", f"--compress-choice={choice}", "--skip-compress=gz"]
    first = pull(source, dest, *options, "-B131072")
    assert first.stderr == ""
    assert first.returncode == 0
    assert snapshot(dest, protocol) == snapshot(source, protocol)
    change_tree(source)
    changed = pull(source, dest, *options, "-B131000", "--delete")
    assert changed.stderr == ""
    assert changed.returncode == 0
    assert snapshot(dest, protocol) == snapshot(source, protocol)


@needs_stock
@pytest.mark.parametrize(
    "options",
    [("-W",), ("-S",), ("--inplace",), ("-c",), ("-B700",), ("--checksum-choice=xxh128",), ("--checksum-choice=sha1",),
     ("--checksum-choice=md4",), ("-H",), ("-R",), ("--partial",), ("-y",)],
    ids="".join,
)  # fmt: skip
def test_sender_serves_the_clients_options(trees: tuple[pathlib.Path, pathlib.Path], options: tuple[str, ...]) -> None:
    source, dest = trees
    os.link(source / "zero", source / "one/same")
    assert pull(source, dest, "-a", *options).returncode == 0
    change_tree(source)
    result = pull(source, dest, "-a", "--delete", *options)
    assert (result.returncode, result.stderr) == (0, "")
    shown = dest / str(source).lstrip("/") if "-R" in options else dest
    assert snapshot(shown) == snapshot(source)


@needs_stock
@pytest.mark.parametrize("option", ["--append", "--append-verify"])
@pytest.mark.parametrize("damaged", [False, True])
def test_sender_appends_to_what_the_client_has(trees: tuple[pathlib.Path, pathlib.Path], option: str, damaged: bool) -> None:
    source, dest = trees
    (dest / "one").mkdir(parents=True)
    whole = (source / "one/large").read_bytes()
    (dest / "one/large").write_bytes((b"X" if damaged else whole[:1]) + whole[1:700_000])
    result = pull(source, dest, "-a", option)
    assert result.returncode == 0
    if damaged and option == "--append":
        assert (dest / "one/large").read_bytes() == b"X" + whole[1:]
    else:
        assert snapshot(dest) == snapshot(source)


@needs_stock
def test_sender_dry_run_transfers_nothing(trees: tuple[pathlib.Path, pathlib.Path]) -> None:
    source, dest = trees
    result = pull(source, dest, "-ani")
    assert result.returncode == 0
    assert result.stdout.count("\n") == len(snapshot(source)) + 1  # "created directory"
    assert not dest.exists()


@needs_stock
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sender_vanished_file_is_reported_and_the_rest_comes(trees: tuple[pathlib.Path, pathlib.Path], protocol: int) -> None:
    source, dest = trees
    hook = f"import os\nos.unlink({str(source / 'text')!r})"
    result = pull(source, dest, "-a", f"--protocol={protocol}", hook=hook)
    assert result.returncode == 24
    assert f'file has vanished: "{source}/text"' in result.stderr + result.stdout  # before protocol 30 there are no warnings
    assert not (dest / "text").exists() and (dest / "one/large").exists()


@needs_stock
def test_sender_unreadable_file_is_a_partial_transfer(trees: tuple[pathlib.Path, pathlib.Path]) -> None:
    source, dest = trees
    path = source / "text"
    hook = f"import os\nos.unlink({str(path)!r})\nos.symlink('/etc/passwd', {str(path)!r})"
    result = pull(source, dest, "-a", hook=hook)
    assert result.returncode == 23
    assert f'send_files failed to open "{path}": Too many levels of symbolic links (40)' in result.stderr
    assert not (dest / "text").exists()


@needs_stock
def test_sender_many_directories_go_ahead_of_the_requests(tmp_path: pathlib.Path) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    for number in range(900):
        directory = source / f"d{number % 30:02}" / f"sub{number:03}"
        directory.mkdir(parents=True)
        for name in range(4):
            (directory / f"f{name}").write_bytes(b"%d" % number)
    for path in [source, *source.rglob("*")]:
        os.utime(path, ns=(10**18, 10**18))
    for protocol in PROTOCOLS:
        shutil.rmtree(dest, ignore_errors=True)
        result = pull(source, dest, "-a", f"--protocol={protocol}")
        assert (result.returncode, result.stderr) == (0, "")
        assert snapshot(dest, protocol) == snapshot(source, protocol)


def test_sender_messages_stay_below_what_a_peer_takes() -> None:
    long = b"x" * 12_000
    assert b"".join(pieces(long)) == long
    assert max(map(len, pieces(long))) == MESSAGE_LIMIT
    assert list(pieces(b"")) == []


class FullSend:
    """A core that wants little output to be taken before it goes on."""

    context = types.SimpleNamespace(drain_log=lambda: (), drain_events=lambda: ())
    steps = 0

    def step(self) -> Status:
        self.steps += 1
        return Status.FULL

    def out(self) -> memoryview:
        return memoryview(b"little")

    def message(self, code: int, data: bytes = b"") -> None:
        raise AssertionError("there is nothing to be told")

    def frames(self) -> tuple[bytes, ...]:
        return ()


def test_sender_hands_out_what_the_core_wants_written() -> None:
    core = FullSend()
    assert Sender(core, lambda code, text: None).run() is Want.OUTPUT  # type: ignore[arg-type]
    assert core.steps == 1


@pytest.mark.parametrize("code, new, old", [(1, 1, 1), (2, 2, 2), (3, 3, 1), (4, 4, 2), (5, 3, 1), (7, 2, 2), (8, 3, 1)])
def test_sender_log_codes_become_messages_as_rsyncs(code: int, new: int, old: int) -> None:
    assert [message_code(code, protocol) for protocol in (32, 30, 29, 27)] == [new, new, old, old]
