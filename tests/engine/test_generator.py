"""The generator: what is asked for, what is made, linked and deleted here, and when each phase and list ends."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from generator import (
    CHANGE,
    DONE,
    DOT,
    LOCAL,
    NEW,
    PERMS,
    SIZE,
    TIME,
    TRANSFER,
    WHEN,
    Entry,
    Item,
    Trial,
    directory,
    only,
    put,
)

from prsync.engine.context import Status
from prsync.engine.native import lib
from prsync.errors import EngineError

NO_SUMS = (0, 0, 0, 0)
FILE, LINK, FIFO = stat.S_IFREG, stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "dest"
    path.mkdir()
    return path


# ---- one regular file ----------------------------------------------------------------------------

Make = Callable[[Path], None]


def older(path: Path) -> None:
    put(path, mtime=WHEN - 10)


def newer(path: Path) -> None:
    put(path, mtime=WHEN + 10)


def private(path: Path) -> None:
    put(path, mode=0o600)


def other(path: Path) -> None:
    put(path, b"world")


def longer(path: Path) -> None:
    put(path, b"hello world", mtime=WHEN - 10)


def absent(path: Path) -> None:
    pass


CASES: list[tuple[str, Make, dict[str, int], int | None]] = [
    ("nothing there", absent, {}, TRANSFER | NEW),
    ("the same", put, {}, None),
    ("the same, -ii", put, {"stdout_format_has_i": 2}, 0),
    ("another size", longer, {}, TRANSFER | SIZE | TIME),
    ("another time", older, {}, TRANSFER | TIME),
    ("another time, no -t", older, {"times": 0}, TRANSFER | TIME),
    ("another mode", private, {}, PERMS),
    ("another mode, no -p", private, {"perms": 0}, None),
    ("not executable, -E", put, {"perms": 0, "executability": 1}, None),
    ("other data, the same size and time", other, {}, None),
    ("-I", put, {"ignore_times": 1}, TRANSFER),
    ("--size-only", older, {"size_only": 1}, TIME),
    ("-u, newer here", newer, {"update": 1}, None),
    ("-u, older here", older, {"update": 1}, TRANSFER | TIME),
    ("--modify-window", older, {"modify_window": 10}, None),
    ("--existing, nothing there", absent, {"existing": 1}, None),
    ("--existing, something there", older, {"existing": 1}, TRANSFER | TIME),
    ("--ignore-existing, something there", older, {"ignore_existing": 1}, None),
    ("--ignore-existing, nothing there", absent, {"ignore_existing": 1}, TRANSFER | NEW),
    ("--max-size", absent, {"max_size": 4}, None),
    ("--max-size, not over", absent, {"max_size": 5}, TRANSFER | NEW),
    ("--min-size", absent, {"min_size": 6}, None),
    ("-n", older, {"dry_run": 1}, TRANSFER | TIME),
    ("-n, nothing there", absent, {"dry_run": 1}, TRANSFER | NEW),
]


@pytest.mark.parametrize(("make", "options", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_regular_file_is_asked_for_by_rsyncs_rules(root: Path, make: Make, options: dict[str, int], expected: int | None) -> None:
    make(root / "f")
    item = only(Trial(root, (-1, [DOT, Entry("f")]), **options).finish())
    assert (item.iflags if item else None) == expected


def test_request_for_a_file_with_a_basis_carries_its_sums(root: Path) -> None:
    put(root / "f", bytes(1500), mtime=WHEN - 1)
    item = only(Trial(root, (-1, [DOT, Entry("f", size=1500)])).finish())
    assert item and item.head == (3, 700, 2, 100)


@pytest.mark.parametrize("options", [{"whole_file": 1}, {}], ids=["-W", "empty basis"])
def test_request_without_use_for_a_basis_carries_no_sums(root: Path, options: dict[str, int]) -> None:
    put(root / "f", bytes(1500) if options else b"", mtime=WHEN - 1)
    item = only(Trial(root, (-1, [DOT, Entry("f", size=1500)]), **options).finish())
    assert item and item.head == NO_SUMS


def test_unchanged_file_with_another_mode_gets_it(root: Path) -> None:
    private(root / "f")
    Trial(root, (-1, [DOT, Entry("f")])).finish()
    assert (root / "f").stat().st_mode & 0o7777 == 0o644


def test_dry_run_changes_nothing(root: Path) -> None:
    private(root / "f")
    put(root / "gone")
    entries = [DOT, Entry("f"), directory("d"), Entry("d/g"), Entry("l", LINK, 1, link="x")]
    Trial(root, (-1, entries), dry_run=1, delete_mode=lib.PS_DELETE_DURING).finish()
    assert sorted(os.listdir(root)) == ["f", "gone"] and (root / "f").stat().st_mode & 0o777 == 0o600


def test_file_in_the_place_of_a_directory_needs_force(root: Path) -> None:
    put(root / "f" / "x")
    trial = Trial(root, (-1, [DOT, Entry("f")]))
    assert only(trial.finish()) is None
    assert "could not make way for new regular file: f\n" in trial.log()
    assert only(Trial(root, (-1, [DOT, Entry("f")]), force_delete=1).finish()) == Item(1, TRANSFER | NEW, head=NO_SUMS)


def test_destination_that_does_not_exist_is_asked_for_all(tmp_path: Path) -> None:
    items = Trial(None, (-1, [DOT, Entry("a"), directory("d"), Entry("d/b")]), dry_run=2).finish()
    assert [(i.ndx, i.iflags) for i in items if i.ndx >= 0] == [
        (0, LOCAL | NEW), (1, TRANSFER | NEW), (2, LOCAL | NEW), (3, TRANSFER | NEW)
    ]  # fmt: skip


# ---- other kinds ---------------------------------------------------------------------------------


def test_directories_get_mode_and_time_after_their_contents(root: Path) -> None:
    entries = [DOT, directory("d", 0o750, WHEN - 5), Entry("d/l", LINK, 1, link="x"), directory("d/e", 0o700)]
    items = Trial(root, (-1, entries)).finish()
    made = (root / "d").stat()
    assert (made.st_mode & 0o7777, made.st_mtime) == (0o750, WHEN - 5)
    assert root.stat().st_mtime == WHEN
    assert [i.iflags for i in items if i.ndx >= 1] == [LOCAL | NEW, LOCAL | CHANGE | NEW, LOCAL | NEW]


@pytest.mark.parametrize("before", ["symlink", "file", "nothing", "same"])
def test_symlink_is_made_whatever_stood_there(root: Path, before: str) -> None:
    if before in ("symlink", "same"):
        (root / "l").symlink_to("there" if before == "same" else "elsewhere")
        os.utime(root / "l", (WHEN, WHEN), follow_symlinks=False)
    elif before == "file":
        put(root / "l")
    item = only(Trial(root, (-1, [DOT, Entry("l", LINK, 5, link="there")])).finish())
    assert os.readlink(root / "l") == "there" and (root / "l").lstat().st_mtime == WHEN
    assert os.listdir(root) == ["l"]
    expected = {"symlink": LOCAL | CHANGE, "same": None, "file": LOCAL | CHANGE | NEW, "nothing": LOCAL | CHANGE | NEW}
    assert (item.iflags if item else None) == expected[before]


@pytest.mark.parametrize(
    ("target", "unsafe"), [("a", False), ("/a", True), ("../a", True), ("d/../../a", True), ("d/../a", True), ("d/a", False)]
)
def test_safe_links_leaves_out_what_leads_outside(root: Path, target: str, unsafe: bool) -> None:
    trial = Trial(root, (-1, [DOT, Entry("l", LINK, 1, link=target)]), safe_links=1, info_name=1)
    trial.finish()
    assert (os.path.lexists(root / "l"), any("unsafe" in line for line in trial.log())) == (not unsafe, unsafe)


def test_fifo_is_made_and_kept(root: Path) -> None:
    entries = [DOT, Entry("p", FIFO, 0)]
    assert only(Trial(root, (-1, entries)).finish()) == Item(1, LOCAL | CHANGE | NEW)
    assert stat.S_ISFIFO((root / "p").lstat().st_mode)
    assert only(Trial(root, (-1, entries)).finish()) is None


def test_without_links_symlinks_are_skipped(root: Path) -> None:
    trial = Trial(root, (-1, [DOT, Entry("p", FIFO, 0)]), specials=0)
    trial.finish()
    assert trial.log() == ['skipping non-regular file "p"\n'] and not os.listdir(root)


def test_name_whose_directory_is_not_listed_ends_the_run(root: Path) -> None:
    with pytest.raises(EngineError):
        Trial(root, (-1, [DOT, Entry("d/f")])).finish()


# ---- phases and lists ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "options", "marks"),
    [
        (32, {}, [1, 3, 0, 0, 1]),
        (30, {}, [1, 2, 0, 1]),
        (31, {"delete_mode": lib.PS_DELETE_AFTER}, [1, 2, 0, 1, 1]),
        (32, {"delay_updates": 1}, [1, 1, 2, 0, 1]),
        (30, {"delay_updates": 1}, [1, 1, 1, 1]),
    ],
)
def test_phases_end_with_as_many_marks_as_rsync_writes(
    root: Path, protocol: int, options: dict[str, int], marks: list[int]
) -> None:
    trial = Trial(root, (-1, [DOT]), protocol=protocol, **options)
    written = []
    for _ in marks:
        status = trial.step()
        written.append(sum(i.ndx == DONE for i in trial.items()))
        trial.phase_ended()
    assert written == marks and status is Status.DONE


def test_file_that_failed_verification_is_asked_for_again_with_long_sums(root: Path) -> None:
    put(root / "f", bytes(1500), mtime=WHEN - 1)
    trial = Trial(root, (-1, [DOT, Entry("f", size=1500)]), max_size=2000)
    trial.step()
    trial.items()
    trial.settle(1, lib.PS_TRIAL_REDO)
    trial.step()
    assert [(i.ndx, i.head) for i in trial.items()] == [(1, (3, 700, 16, 100))]


def incremental(root: Path, **options: int) -> Trial:
    return Trial(root, (-1, [DOT, Entry("a"), directory("d")]), (1, [Entry("d/b"), Entry("d/c")]), inc_recurse=1, **options)


def test_incremental_list_ends_when_all_its_files_are_settled(root: Path) -> None:
    trial = incremental(root)
    assert trial.step() is Status.AGAIN
    assert [i.ndx for i in trial.items() if i.iflags & TRANSFER] == [2, 5, 6]
    trial.eof()
    trial.settle(5)
    trial.step()
    assert trial.items() == []  # lists end in their order
    trial.settle(2)
    trial.step()
    assert [i.ndx for i in trial.items()] == [DONE]
    trial.settle(6, lib.PS_TRIAL_NO_SEND)
    trial.step()
    assert [i.ndx for i in trial.items()] == [DONE]
    trial.list_done()
    trial.list_done()
    with pytest.raises(EngineError):
        trial.list_done()


def test_list_ended_by_the_sender_before_its_time_is_refused(root: Path) -> None:
    trial = incremental(root)
    with pytest.raises(EngineError) as problem:
        trial.list_done()
    assert problem.value.code == 12


def test_success_is_told_where_source_files_are_removed(root: Path) -> None:
    trial = Trial(root, (-1, [DOT, Entry("f")]), remove_source_files=1)
    trial.step()
    trial.settle(1)
    trial.finish()
    assert trial.messages == [(100, (1).to_bytes(4, "little"))]


# ---- the swarm's seam ----------------------------------------------------------------------------


def test_swarm_files_are_queued_and_hold_the_first_phase_until_routed(root: Path) -> None:
    put(root / "b", b"old!!!", mtime=WHEN - 1)
    trial = Trial(root, (-1, [DOT, Entry("a"), Entry("b"), Entry("e", size=0)]), swarm=1, delete_mode=lib.PS_DELETE_DURING)
    assert trial.step() is Status.AGAIN
    assert [i.ndx for i in trial.items() if i.iflags & TRANSFER] == []
    # An empty file is a job as well: it is made without asking anybody.
    assert trial.jobs() == [(1, TRANSFER | NEW, 0), (2, TRANSFER | SIZE | TIME, 6), (3, TRANSFER | NEW, 0)]
    trial.route(3, swarm=True)
    trial.settle(3)
    trial.route(2, swarm=False)
    trial.step()
    assert [(i.ndx, i.head) for i in trial.items()] == [(2, (1, 700, 2, 6))]
    trial.route(1, swarm=True)
    trial.step()
    assert [i.ndx for i in trial.items()] == [DONE]
    for _ in range(4):
        trial.phase_ended()
        status = trial.step()
    assert status is Status.AGAIN  # the goodbye is said, the swarm goes on
    put(root / "a")
    trial.settle(1)
    assert trial.step() is Status.DONE and root.stat().st_mtime == WHEN


def test_incremental_lists_end_before_their_swarm_files(root: Path) -> None:
    trial = incremental(root, swarm=1)
    trial.eof()
    trial.step()
    jobs = [ndx for ndx, _, _ in trial.jobs()]
    for ndx in jobs:
        trial.route(ndx, swarm=True)
    trial.step()
    assert jobs == [2, 5, 6] and sum(i.ndx == DONE for i in trial.items()) == 2
    trial.list_done()
    trial.list_done()
    put(root / "d" / "b")
    trial.settle(5)
    put(root / "d" / "c")
    trial.settle(6, lib.PS_TRIAL_FAILED)
    assert (root / "d").stat().st_mtime == WHEN


@pytest.mark.parametrize("how", [lib.PS_TRIAL_OK, lib.PS_TRIAL_NO_SEND])
def test_sender_that_ends_a_file_of_the_swarm_breaks_the_protocol(root: Path, how: int) -> None:
    trial = Trial(root, (-1, [DOT, Entry("a"), Entry("b")]), swarm=1)
    trial.step()
    trial.jobs()
    trial.route(1, swarm=True)
    trial.route(2, swarm=False)
    trial.step()
    assert lib.ps_gen_trial_sender_settled(trial.gen, 2, how) == lib.PS_OK
    assert lib.ps_gen_trial_sender_settled(trial.gen, 1, how) == lib.PS_FAIL
    with pytest.raises(EngineError, match="was not asked for"):
        trial.context.check(lib.PS_FAIL)


PAIR = [DOT, Entry("a", group=1, first=True), Entry("b", group=1), Entry("c", group=1)]


def test_leader_of_hard_links_joins_the_swarm_and_the_others_follow_unsent(root: Path) -> None:
    trial = Trial(root, (-1, PAIR), hard_links=1, swarm=1)
    trial.step()
    assert trial.jobs() == [(3, TRANSFER | NEW, 0)]
    trial.route(3, swarm=True)
    trial.step()
    assert [i.ndx for i in trial.items()] == [0, DONE]  # the session does not wait for them
    put(root / "c")
    trial.settle(3)
    assert {(root / name).stat().st_ino for name in "abc"} == {(root / "c").stat().st_ino}
    assert [i.ndx for i in trial.finish() if i.ndx > 0] == []
    assert trial.context.stats.created_files == 2  # the leader's is counted where its data come


def test_leader_of_hard_links_that_goes_the_classic_way_is_asked_for_once(root: Path) -> None:
    trial = Trial(root, (-1, PAIR), hard_links=1, swarm=1)
    trial.step()
    trial.jobs()
    trial.route(3, swarm=False)
    trial.step()
    assert [i.ndx for i in trial.items()] == [0, 3, DONE]
    put(root / "c")
    trial.settle(3)
    items = trial.finish()
    assert {(root / name).stat().st_ino for name in "abc"} == {(root / "c").stat().st_ino}
    assert sorted(i.ndx for i in items if i.ndx >= 0) == [1, 2]


def test_leader_with_followers_that_goes_the_classic_way_does_not_follow_them(root: Path) -> None:
    put(root / "a", b"old!!!", mtime=WHEN - 1)  # it leads, the others come after it
    trial = Trial(root, (-1, PAIR), hard_links=1, swarm=1)
    trial.step()
    assert trial.jobs() == [(1, TRANSFER | SIZE | TIME, 6)]
    trial.route(1, swarm=False)
    trial.step()
    assert [i.ndx for i in trial.items()] == [0, 1, DONE]
    put(root / "a")
    trial.settle(1)
    trial.finish()
    assert {(root / name).stat().st_ino for name in "abc"} == {(root / "a").stat().st_ino}


@pytest.mark.parametrize("how", [lib.PS_TRIAL_FAILED, lib.PS_TRIAL_NO_SEND])
def test_leader_of_hard_links_that_the_swarm_gives_up_takes_the_others_along(root: Path, how: int) -> None:
    trial = Trial(root, (-1, PAIR), hard_links=1, swarm=1)
    trial.step()
    trial.jobs()
    trial.route(3, swarm=True)
    trial.settle(3, how)
    assert "".join(trial.log()).splitlines() == [
        f'rsync: [generator] link "{name}" => c failed: that one did not come' for name in "ba"
    ]
    assert trial.context.got_transfer_error
    trial.finish()
    assert list(root.iterdir()) == []

