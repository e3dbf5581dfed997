from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prsync.engine.context import Status
from prsync.engine.native import lib
from prsync.engine.sums import Sum, hash_bytes
from prsync.errors import EngineError, ExitCode
from tests.engine.flist_tools import ARCHIVE, END, Received, Sent, StockSender, shape, wire_entry

DIR, LINK, FIFO = 0o40755, 0o120777, 0o10644


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    top = tmp_path_factory.mktemp("tree")
    for name in ("a/b/c", "a.b", "a-b", "empty", "z"):
        (top / name).mkdir(parents=True)
    for name in ("f", "a/x", "a/b/y", "a/b/c/deep", "a.b/q", "z/" + "n" * 250, "a/b/new\nline", "z/\udce9t\udce9"):
        (top / name).write_bytes(os.fsencode(name))
    os.utime(top / "f", ns=(5, 1_700_000_000_123_456_789))
    os.utime(top / "a/x", ns=(5, -86_400_000_000_000))
    os.chmod(top / "a/x", 0o4711)
    os.link(top / "f", top / "hard")
    os.link(top / "a/x", top / "a/b/hx")
    os.link(top / "a/x", top / "z/hz")
    os.symlink("a/x", top / "link")
    os.symlink("../f", top / "a/up")
    os.mkfifo(top / "a/fifo")
    if os.geteuid() == 0:
        os.mknod(top / "null", 0o20666, os.makedev(1, 3))
        os.mknod(top / "disk", 0o60660, os.makedev(8, 300))
        os.chown(top / "a.b/q", 1, 2)
        os.chown(top / "z", 12345, 54321)
    return top


# ---- order ---------------------------------------------------------------------------------------------------


def order_key(entry: tuple[bytes, int]) -> list[tuple[int, bytes]]:
    """flist.c:f_name_cmp as a key: in each directory "." first, then what is no directory, then directories, which compare
    as if a slash ended their names, with all that is in them."""
    path, mode = entry
    if path == b".":
        return [(-1, b"")]
    parts = path.split(b"/")
    key = [(1, part + b"/") for part in parts]
    if not stat.S_ISDIR(mode):
        key[-1] = (0, parts[-1])
    return key


parts = st.sampled_from([b"a", b"a.b", b"a-b", b"ab", b"b", b"a!", b"\xff", b"aaaaaaaab", b"aaaaaaaac"])
names = st.lists(parts, min_size=1, max_size=4)
listings = st.dictionaries(names.map(b"/".join), st.sampled_from([0o100644, DIR]), max_size=30)


@given(listings, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_sort_any_names_gives_rsyncs_order(listing: dict[bytes, int], random: object) -> None:
    entries = [(b".", DIR), *listing.items()]
    random.shuffle(entries)  # type: ignore[attr-defined]
    received = Received(**ARCHIVE, numeric_ids=1)
    received.take(b"".join(wire_entry(*e) for e in entries) + END)
    assert [(e.path, e.mode) for e in received.entries()] == sorted(entries, key=order_key)


def test_order_key_table_matches_the_source() -> None:
    # What the comment at flist.c:f_name_cmp says, spelled out.
    wanted = [(b".", DIR), (b"b", 0o100644), (b"z.txt", 0o100644), (b"a.b", DIR), (b"a.b/x", 0o100644), (b"a", DIR)]
    wanted.append((b"a/y", 0o100644))
    shuffled = wanted[3:] + wanted[:3]
    assert sorted(shuffled, key=order_key) == wanted


def test_clean_double_names_keeps_directory_else_first() -> None:
    received = Received(**ARCHIVE, numeric_ids=1)
    received.take(
        wire_entry(b"same", size=1)
        + wire_entry(b"same", size=2)
        + wire_entry(b"mixed")
        + wire_entry(b"mixed", DIR)
        + wire_entry(b"d", DIR, flags=0x100)
        + wire_entry(b"d", DIR, flags=0x01)
        + END
    )
    kept = [(e.path, e.size) for e in received.entries() if e.mode]
    assert kept == [(b"same", 1), (b"d", 1), (b"mixed", 1)]
    flags = {e.path: e.flags for e in received.entries() if e.mode}
    assert flags[b"d"] & lib.PS_F_CONTENT_DIR and flags[b"d"] & lib.PS_F_TOP_DIR


def test_prune_empty_dirs_clears_chains_without_files() -> None:
    received = Received(**ARCHIVE, numeric_ids=1, prune_empty_dirs=1)
    directories = [b".", b"a", b"a/b", b"a/b/c", b"k", b"k/l", b"k/m"]
    received.take(b"".join(wire_entry(n, DIR) for n in directories) + wire_entry(b"k/l/f") + END)
    assert [e.path for e in received.entries() if e.mode] == [b".", b"k", b"k/l", b"k/l/f"]


# ---- both directions -----------------------------------------------------------------------------------------

VARIANTS = [
    {},
    {"hard_links": 1},
    {"checksum": 1},
    {"hard_links": 1, "checksum": 1, "numeric_ids": 1},
    {"relative": 1},
    {"devices": 0, "specials": 0, "links": 0, "owner": 0},
]


@pytest.mark.parametrize("protocol", [30, 31, 32])
@pytest.mark.parametrize("incremental", [0, 1])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_roundtrip_tree_gives_equal_lists(tree: pathlib.Path, protocol: int, incremental: int, variant: dict[str, int]) -> None:
    options = {**ARCHIVE, **variant, "inc_recurse": incremental}
    arguments = [b"a/b", b"f", b"a/./x", b"z/"] if variant.get("relative") else [b""]
    sent = Sent(tree, arguments, protocol, **options)
    received = Received(protocol, **options)
    received.take_all(sent.first, sent.more)
    assert len(sent.entries()) > 5
    wanted = [shape(e) for e in sent.entries()]
    if not options["links"]:
        wanted = [(*w[:8], b"" if stat.S_ISLNK(w[5]) else w[8], (0, 0)) for w in wanted]
    got = [shape(e) for e in received.entries()]
    if not options["devices"]:
        got = [(*g[:9], (0, 0)) for g in got]
    assert got == wanted
    assert sent.context.stats.total_size == received.context.stats.total_size
    assert sent.context.stats.num_files == received.context.stats.num_files == len(wanted)


@pytest.mark.parametrize("incremental", [0, 1])
def test_roundtrip_hard_links_form_chains(tree: pathlib.Path, incremental: int) -> None:
    options = {**ARCHIVE, "hard_links": 1, "inc_recurse": incremental}
    sent = Sent(tree, [b""], **options)
    received = Received(**options)
    received.take_all(sent.first, sent.more)
    by_ndx = {e.ndx: e for e in received.entries()}
    groups: dict[int, list[int]] = {}
    for entry in by_ndx.values():
        if entry.flags & lib.PS_F_HLINKED:
            groups.setdefault(entry.link_group, []).append(entry.ndx)
    assert sorted(sorted(by_ndx[n].path for n in g) for g in groups.values()) == [
        [b"a/b/hx", b"a/x", b"z/hz"],
        [b"f", b"hard"],
    ]
    for members in groups.values():
        assert [by_ndx[n].link_previous for n in sorted(members)] == [-1, *sorted(members)[:-1]]
        assert by_ndx[min(members)].flags & lib.PS_F_HLINK_FIRST
        assert [n for n in members if by_ndx[n].flags & lib.PS_F_HLINK_LAST] == [max(members)]


def test_roundtrip_checksums_are_those_of_the_files(tree: pathlib.Path) -> None:
    sent = Sent(tree, [b""], checksum=1, file_sum=lib.PS_SUM_MD5, **ARCHIVE)
    received = Received(checksum=1, file_sum=lib.PS_SUM_MD5, **ARCHIVE)
    received.take_all(sent.first, b"")
    for entry in received.entries():
        if entry.path == b"f":
            assert entry.checksum == hashlib.md5((tree / "f").read_bytes()).digest()
        if not stat.S_ISREG(entry.mode):
            assert entry.checksum == bytes(16)


@pytest.mark.parametrize("incremental", [0, 1])
def test_list_with_checksums_comes_out_while_files_are_read(tmp_path: pathlib.Path, incremental: int) -> None:
    (tmp_path / "d").mkdir()
    for name in "abcd":
        with open(tmp_path / "d" / name, "wb") as file:
            file.truncate(20 << 20)
    options = {**ARCHIVE, "checksum": 1, "inc_recurse": incremental}
    sent = Sent(tmp_path, [b""], **options)
    assert len([part for part in sent.parts if b"c" in part or b"d" in part]) >= 3, sent.parts
    received = Received(**options)
    received.take_all(sent.first, sent.more)
    assert [shape(e) for e in received.entries()] == [shape(e) for e in sent.entries()]
    zeros = xxhash_of_zeros(20 << 20)
    assert [e.checksum for e in received.entries() if stat.S_ISREG(e.mode)] == [zeros] * 4


def xxhash_of_zeros(count: int) -> bytes:
    return hash_bytes(Sum.XXH128, bytes(count))


def test_roundtrip_size_beyond_four_gibibytes(tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "sparse", "wb") as f:
        f.truncate((5 << 32) + 1)
    received = Received(**ARCHIVE)
    received.take_all(Sent(tmp_path, [b"sparse"], **ARCHIVE).first, b"")
    assert [e.size for e in received.entries()] == [(5 << 32) + 1]


@pytest.mark.parametrize("incremental", [0, 1])
def test_roundtrip_many_names_of_a_directory_gives_equal_lists(tmp_path: pathlib.Path, incremental: int) -> None:
    """More than are packed at once, of all lengths, in directories before, between and behind files; times before 1970 too."""
    for number in range(700):
        path = tmp_path / ("n" * (number % 200) + f"{number:04}")
        if number % 50 == 0:
            path.mkdir()
            (path / "link").symlink_to("t" * (number + 1))
        else:
            path.write_bytes(b"x" * (number % 7))
        os.utime(path, ns=(0, (number - 350) * 123_456_789_012_345))
    sent = Sent(tmp_path, [b""], inc_recurse=incremental, **ARCHIVE)  # type: ignore[arg-type]
    received = Received(inc_recurse=incremental, **ARCHIVE)
    received.take_all(sent.first, sent.more)
    assert [shape(e) for e in received.entries()] == [shape(e) for e in sent.entries()]
    for entry in sent.entries():
        status = os.lstat(os.path.join(os.fsencode(tmp_path), entry.path))
        assert (entry.mode, entry.mtime) == (status.st_mode, status.st_mtime_ns // 1_000_000_000)
    assert len(sent.entries()) == 1 + 700 + 14


file_names = st.binary(min_size=1, max_size=40).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b".."))


@given(st.sets(file_names, max_size=12), st.sampled_from([0, 1]))
@settings(deadline=None, max_examples=50)
def test_roundtrip_any_file_names(names: set[bytes], incremental: int) -> None:
    top = tempfile.mkdtemp().encode()
    try:
        for name in names:
            os.mkdir(os.path.join(top, name))
            os.close(os.open(os.path.join(top, name, name), os.O_CREAT | os.O_WRONLY))
        sent = Sent(top, [b""], inc_recurse=incremental, **ARCHIVE)  # type: ignore[arg-type]
        received = Received(inc_recurse=incremental, **ARCHIVE)
        received.take_all(sent.first, sent.more)
        assert {e.path for e in received.entries()} == {b".", *names, *(n + b"/" + n for n in names)}
        assert [shape(e) for e in received.entries()] == [shape(e) for e in sent.entries()]
    finally:
        shutil.rmtree(top)


# ---- feeding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [30, 32])
@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_decode_in_pieces_gives_the_same_list(tree: pathlib.Path, protocol: int, step: int) -> None:
    options = {**ARCHIVE, "hard_links": 1, "checksum": 1}
    sent = Sent(tree, [b""], protocol, **options)
    received = Received(protocol, **options)
    assert received.take(sent.first, step=step) == len(sent.first)
    assert [shape(e) for e in received.entries()] == [shape(e) for e in sent.entries()]


def test_decode_trailing_bytes_are_left(tree: pathlib.Path) -> None:
    sent = Sent(tree, [b""], **ARCHIVE)
    assert Received(**ARCHIVE).take(sent.first + b"what follows") == len(sent.first)


def test_decode_truncated_list_wants_more(tree: pathlib.Path) -> None:
    data = Sent(tree, [b""], hard_links=1, **ARCHIVE).first
    for length in range(len(data)):
        received = Received(hard_links=1, **ARCHIVE)
        received.decoder.begin()
        assert received.feeder.feed(data[:length])[0] is Status.AGAIN


@given(st.data())
@settings(deadline=None, max_examples=400)
def test_decode_mutated_list_ends_or_fails_cleanly(data: st.DataObject) -> None:
    incremental = data.draw(st.sampled_from([0, 1]))
    options = {**ARCHIVE, "hard_links": 1, "checksum": 1, "inc_recurse": incremental}
    options["relative"] = data.draw(st.sampled_from([0, 1]))
    raw = bytearray(MUTATED[incremental])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        how = data.draw(st.integers(0, 2))
        if how == 0:
            raw[at] = data.draw(st.integers(0, 255))
        elif how == 1:
            del raw[at : at + data.draw(st.integers(1, 4))]
        else:
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        if not raw:
            return
    received = Received(**options)
    received.decoder.imply(b"")
    received.decoder.begin()
    try:
        received.feeder.feed(bytes(raw))
    except EngineError as error:
        assert error.code in (ExitCode.PROTOCOL, ExitCode.UNSUPPORTED, ExitCode.STREAM_IO, ExitCode.MEMORY)
        assert error.text
    received.entries()


def mutation_seed(incremental: int) -> bytes:
    top = pathlib.Path(tempfile.mkdtemp())
    try:
        (top / "d/e").mkdir(parents=True)
        for name in ("one", "two", "d/three"):
            (top / name).write_text(name)
        os.link(top / "one", top / "also")
        os.symlink("d/three", top / "link")
        return Sent(top, [b""], inc_recurse=incremental, **{**ARCHIVE, "hard_links": 1, "checksum": 1}).first
    finally:
        shutil.rmtree(top)


MUTATED = [mutation_seed(0), mutation_seed(1)]


# ---- refusals ------------------------------------------------------------------------------------------------

REFUSED = [
    (wire_entry(b"../etc/passwd"), {}, ExitCode.UNSUPPORTED, "unsafe pathname"),
    (wire_entry(b".."), {}, ExitCode.UNSUPPORTED, "unsafe pathname"),
    (wire_entry(b"a/../b"), {}, ExitCode.UNSUPPORTED, "unsafe pathname"),
    (wire_entry(b"/etc/passwd"), {}, ExitCode.UNSUPPORTED, "unsafe pathname"),
    (wire_entry(b"a\0b"), {}, ExitCode.UNSUPPORTED, "unsafe pathname"),
    (wire_entry(b""), {}, ExitCode.UNSUPPORTED, "unsafe pathname"),
    (wire_entry(b"a/b/."), {}, ExitCode.UNSUPPORTED, "unsafe pathname"),
    (wire_entry(b"."), {}, ExitCode.PROTOCOL, "non-directory transfer-root entry"),
    (wire_entry(b"//."), {"relative": 1}, ExitCode.PROTOCOL, "non-directory transfer-root entry"),
    (wire_entry(b"x" * 4096), {}, ExitCode.MEMORY, "overflow"),
    (wire_entry(b"x", mode=0o777), {}, ExitCode.PROTOCOL, "invalid file mode"),
    (wire_entry(b"x", mode=0o1100644), {}, ExitCode.PROTOCOL, "invalid file mode"),
    (wire_entry(b"x", LINK, extra=b"\xdf\xff\xff\x0f"), {}, ExitCode.MEMORY, "overflow: linkname_len"),
    (wire_entry(b"x", flags=0x200, extra=b""), {"hard_links": 1}, ExitCode.PROTOCOL, "hard-link reference out of range"),
    (wire_entry(b"a/b"), {"inc_recurse": 1}, ExitCode.UNSUPPORTED, "invalid path from sender"),
]


@pytest.mark.parametrize(("wire", "options", "code", "text"), REFUSED, ids=[r[3] + "-" + str(i) for i, r in enumerate(REFUSED)])
def test_decode_malformed_entry_is_refused(wire: bytes, options: dict[str, int], code: ExitCode, text: str) -> None:
    received = Received(numeric_ids=1, **{**ARCHIVE, **options})
    with pytest.raises(EngineError, match=text) as caught:
        received.take(wire + END)
    assert caught.value.code is code


def test_decode_unclean_names_are_cleaned() -> None:
    received = Received(numeric_ids=1, relative=1, **ARCHIVE)
    received.take(wire_entry(b"./a//b/./c") + wire_entry(b"/top/x") + END)
    assert sorted(e.path for e in received.entries()) == [b"a/b/c", b"top/x"]


IMPLIED = [
    # arguments, options, allowed, refused
    ([b"mod/dir/"], {}, [b".", b"x", b"x/y"], []),
    ([b"mod/dir"], {}, [b"dir", b"dir/x", b"dir/x/y"], [b"x", b"dirx", b"di"]),
    ([b"mod/file"], {"recurse": 0}, [b"file"], [b"file/x", b"other"]),
    ([b"mod/d"], {"recurse": 0, "dirs": 1}, [b"d", b"d/x"], [b"d/x/y"]),
    ([b"mod/*.txt"], {}, [b"a.txt", b"a.txt/in"], [b"a.c", b"sub/a.txt"]),
    ([b"mod/[ab]x"], {}, [b"ax", b"[ab]x"], [b"cx"]),
    ([b"mod/a/b/c"], {"relative": 1}, [b"a", b"a/b", b"a/b/c", b"a/b/c/d"], [b"a/x", b"b", b"c"]),
    ([b"mod/a/./b/c"], {"relative": 1}, [b"b", b"b/c"], [b"a"]),
    ([b"mod/one", b"mod/two"], {}, [b"one", b"two/x"], [b"three"]),
]


@pytest.mark.parametrize(("arguments", "options", "allowed", "refused"), IMPLIED, ids=[b" ".join(i[0]).decode() for i in IMPLIED])
def test_decode_names_not_asked_for_are_refused(
    arguments: list[bytes], options: dict[str, int], allowed: list[bytes], refused: list[bytes]
) -> None:
    def decode(name: bytes) -> None:
        received = Received(numeric_ids=1, **{**ARCHIVE, **options})
        for argument in arguments:
            received.decoder.imply(argument, skip_module=True)
        received.take(wire_entry(name, DIR) + END)

    for name in allowed:
        decode(name)
    for name in refused:
        with pytest.raises(EngineError, match="rejecting unrequested file-list name"):
            decode(name)


def test_decode_parent_of_argument_never_counts_as_content() -> None:
    received = Received(numeric_ids=1, relative=1, **ARCHIVE)
    received.decoder.imply(b"a/b")
    received.take(wire_entry(b"a", DIR, flags=0x01) + wire_entry(b"a/b", DIR, flags=0x01) + END)
    flags = {e.path: e.flags for e in received.entries()}
    assert flags[b"a"] & lib.PS_F_IMPLIED_DIR and not flags[b"a"] & lib.PS_F_CONTENT_DIR
    assert flags[b"a/b"] & lib.PS_F_CONTENT_DIR


def test_decode_second_list_for_a_directory_is_refused() -> None:
    received = Received(numeric_ids=1, inc_recurse=1, **ARCHIVE)
    received.take(wire_entry(b".", DIR) + wire_entry(b"d", DIR) + END)
    received.take(wire_entry(b"d/f") + END, 1)
    for parent, text in ((1, "duplicate"), (7, "invalid dir_ndx"), (0, "cleared dir_ndx")):
        with pytest.raises(EngineError, match=text):
            Received.take(clone(received), END, parent)


def clone(_: Received) -> Received:
    """A fresh session in the state of the test above: a failed one may only be freed."""
    received = Received(numeric_ids=1, inc_recurse=1, **ARCHIVE)
    received.take(wire_entry(b".", DIR) + wire_entry(b"d", DIR) + END)
    received.take(wire_entry(b"d/f") + END, 1)
    return received


def test_decode_io_error_of_the_sender_is_kept() -> None:
    received = Received(numeric_ids=1, **ARCHIVE)
    received.take(wire_entry(b"x") + b"\0\x01")
    assert received.context.io_error == lib.PS_IOERR_GENERAL
    ignoring = Received(numeric_ids=1, ignore_errors=1, **ARCHIVE)
    ignoring.take(wire_entry(b"x") + b"\0\x01")
    assert ignoring.context.io_error == 0


# ---- the lister's messages -----------------------------------------------------------------------------------


def test_list_missing_argument_is_reported(tree: pathlib.Path) -> None:
    sent = Sent(tree, [b"nope", b"nodir/x", b"f"], **ARCHIVE)
    assert sent.log() == [
        b'rsync: [sender] link_stat "nope" failed: No such file or directory (2)',
        b'rsync: [sender] change_dir "nodir" failed: No such file or directory (2)',
    ]
    assert sent.context.io_error == lib.PS_IOERR_GENERAL
    assert sent.context.got_transfer_error
    assert [e.path for e in sent.entries()] == [b"f"]


def test_list_directory_without_recursion_is_skipped(tree: pathlib.Path) -> None:
    sent = Sent(tree, [b"a", b"f"], **{**ARCHIVE, "recurse": 0})
    assert sent.log() == [b"skipping directory a"]
    assert [e.path for e in sent.entries()] == [b"f"]


def test_list_dirs_option_shows_one_level(tree: pathlib.Path) -> None:
    sent = Sent(tree, [b"a/", b"z"], **{**ARCHIVE, "recurse": 0, "dirs": 1})
    assert [e.path for e in sent.entries()] == [b".", b"fifo", b"up", b"x", b"b", b"z"]


def test_list_argument_never_leaves_the_root(tree: pathlib.Path) -> None:
    os.symlink("/etc", tree / "a/escape")
    try:
        sent = Sent(tree, [b"../../etc/passwd", b"/etc/passwd", b"a/escape/passwd", b"a/escape/"], **ARCHIVE)
    finally:
        os.unlink(tree / "a/escape")
    assert sent.entries() == []
    assert len(sent.log()) == 4


@pytest.mark.parametrize("incremental", [0, 1])
def test_list_files_from_names_bring_their_directories(tree: pathlib.Path, incremental: int) -> None:
    options = {**ARCHIVE, "relative": 1, "dirs": 1, "inc_recurse": incremental}
    sent = Sent(tree, [b"a"], names=[b"b/c/deep", b"x", b"gone", b"/b/y"], **options)
    received = Received(**options)
    received.take_all(sent.first, sent.more)
    assert sorted(e.path for e in received.entries()) == [b"b", b"b/c", b"b/c/deep", b"b/y", b"x"]
    flags = {e.path: e.flags for e in received.entries()}
    assert flags[b"b/c"] & lib.PS_F_IMPLIED_DIR
    assert sent.log() == [b'rsync: [sender] link_stat "/a/gone" failed: No such file or directory (2)']


def test_list_links_followed_stay_beneath_the_root(tree: pathlib.Path) -> None:
    os.symlink("/etc/passwd", tree / "out")
    try:
        sent = Sent(tree, [b""], copy_links=1, **ARCHIVE)
    finally:
        os.unlink(tree / "out")
    modes = {e.path: e.mode for e in sent.entries()}
    assert stat.S_ISREG(modes[b"link"]) and stat.S_ISREG(modes[b"a/up"])
    assert b"out" not in modes


# ---- --list-only ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["--no-h", "", "-h", "-hh"])
def test_listing_equals_stock_rsyncs(tree: pathlib.Path, level: str) -> None:
    command = ["rsync", "-rl", "--list-only", *([level] if level else []), "--no-inc-recursive", f"{tree}/"]
    wanted = subprocess.run(command, capture_output=True, check=True).stdout
    options = {**ARCHIVE, "human_readable": {"--no-h": 0, "": 1, "-h": 2, "-hh": 3}[level]}
    sent = Sent(tree, [b""], **options)
    received = Received(**options)
    received.take_all(sent.first, b"")
    list(received.context.drain_log())
    received.lists.render_listing(0)
    lines = b"".join(text for _, text in received.context.drain_log())
    lines = lines.replace(b"\0n", b"\\#012")  # the log's way to keep a newline within a message
    assert lines.split(b"\n") == wanted.replace(b"\\#351", b"\xe9").split(b"\n")


# ---- stock rsync ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [30, 31, 32])
@pytest.mark.parametrize(
    ("letters", "arguments", "options"),
    [
        ("logDtpr", [""], {}),
        ("logDtprHc", ["./"], {"hard_links": 1, "checksum": 1}),
        ("logDtprR", ["a/b", "./z", "a/./x"], {"relative": 1}),
        ("tr", ["a", "f"], {"links": 0, "owner": 0, "group": 0, "devices": 0, "specials": 0}),
    ],
)
def test_decode_stock_rsyncs_list(
    tree: pathlib.Path, protocol: int, letters: str, arguments: list[str], options: dict[str, int]
) -> None:
    stock = StockSender(letters, [a or "./" for a in arguments], tree, protocol)
    try:
        settings_of_both = {
            **ARCHIVE,
            **options,
            "varint_flist_flags": int(stock.flags & 0x80 != 0),
            "id0_names": int(stock.flags & 0x100 != 0),
            "file_sum": lib.PS_SUM_XXH128 if stock.flags & 0x80 else lib.PS_SUM_MD5,
        }
        received = Received(protocol, **settings_of_both)
        received.decoder.begin()
        while received.feeder.feed(stock.next_data())[0] is not Status.DONE:
            pass
    finally:
        stock.close()
    sent = Sent(tree, [a.encode() for a in arguments], protocol, **settings_of_both)
    again = Received(protocol, **settings_of_both)
    again.take_all(sent.first, b"")
    wanted = [(*shape(e), e.checksum) for e in again.entries()]
    got = [(*shape(e), e.checksum) for e in received.entries()]
    assert len(got) > 4
    if options.get("links") == 0:
        assert [g[:8] for g in got] == [w[:8] for w in wanted]
    else:
        assert got == wanted
