"""The generator: hard links, alternate destinations, deletion."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from generator import DEL_STATS, DONE, DOT, LOCAL, TRANSFER, WHEN, XNAME, Entry, Item, Trial, directory, only, put

from prsync.engine.native import lib


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "dest"
    path.mkdir()
    return path


# ---- hard links ----------------------------------------------------------------------------------

PAIR = [DOT, Entry("a", group=1, first=True), Entry("b", group=1), Entry("c", group=1)]


def test_followers_are_linked_when_the_leaders_data_has_come(root: Path) -> None:
    trial = Trial(root, (-1, PAIR), hard_links=1)
    trial.step()
    asked = [i for i in trial.items() if i.ndx >= 0 and i.iflags & TRANSFER]
    assert len(asked) == 1
    leader = "abc"[asked[0].ndx - 1]
    put(root / leader)
    trial.settle(asked[0].ndx)
    items = trial.finish()
    assert {i.ndx for i in items if i.ndx >= 1} == {1, 2, 3} - {asked[0].ndx}
    assert all(i.iflags & (LOCAL | XNAME) == LOCAL | XNAME and i.name == leader.encode() for i in items if i.ndx >= 0)
    assert len({(root / n).stat().st_ino for n in "abc"}) == 1


def test_names_are_linked_to_one_that_is_up_to_date(root: Path) -> None:
    put(root / "b")
    items = Trial(root, (-1, PAIR), hard_links=1).finish()
    assert sorted(i.ndx for i in items if i.ndx >= 1) == [1, 3]
    assert len({(root / n).stat().st_ino for n in "abc"}) == 1


@pytest.mark.parametrize("incremental", [0, 1])
@pytest.mark.parametrize("equal", ["a", "b", "c", "ab", "ac", "bc", "abc"])
def test_names_that_compare_dest_lacks_are_made_and_the_run_ends(root: Path, equal: str, incremental: int) -> None:
    for name in equal:
        put(root.parent / "alt" / name)
    first = 1 + incremental  # ndx of "a"
    names = [DOT, *(Entry(name, group=first, first=name == "a") for name in "abc")]
    trial = Trial(root, (-1, names), hard_links=1, alt_kind=lib.PS_ALT_COMPARE, inc_recurse=incremental)
    trial.context.add_alternate_dir(b"../alt")
    trial.eof()
    items = []
    if equal != "abc":
        trial.step()
        items = trial.items()
        (leader,) = ["abc"[i.ndx - first] for i in items if i.iflags & TRANSFER]
        assert leader not in equal
        put(root / leader)
        trial.settle("abc".index(leader) + first)
    items += trial.finish()
    assert items.count(Item(DONE)) == 5  # the run has come to its end
    assert set("abc") - set(equal) <= set(os.listdir(root))
    assert len({(root / name).stat().st_ino for name in os.listdir(root)}) <= 1


def test_failed_leader_hands_over_to_nobody_and_the_run_ends(root: Path) -> None:
    trial = Trial(root, (-1, PAIR), hard_links=1)
    trial.step()
    asked = next(i.ndx for i in trial.items() if i.ndx >= 0 and i.iflags & TRANSFER)
    trial.settle(asked, lib.PS_TRIAL_FAILED)
    trial.finish()
    assert os.listdir(root) == []


# ---- alternate destinations ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [lib.PS_ALT_COMPARE, lib.PS_ALT_COPY, lib.PS_ALT_LINK], ids=["compare", "copy", "link"])
@pytest.mark.parametrize("same", [True, False])
def test_alternate_destination_spares_the_transfer_of_what_is_equal(root: Path, kind: int, same: bool) -> None:
    put(root.parent / "alt" / "f", mtime=WHEN if same else WHEN - 10)
    trial = Trial(root, (-1, [DOT, Entry("f")]), alt_kind=kind)
    trial.context.add_alternate_dir(b"../alt")
    item = only(trial.finish())
    if not same:
        assert item and item.basis == 0 and item.iflags & TRANSFER
        return
    assert not item or not item.iflags & TRANSFER
    assert (root / "f").exists() == (kind != lib.PS_ALT_COMPARE)
    if kind == lib.PS_ALT_LINK:
        assert (root / "f").samefile(root.parent / "alt" / "f")
    if kind == lib.PS_ALT_COPY:
        assert (root / "f").stat().st_mtime == WHEN and not (root / "f").samefile(root.parent / "alt" / "f")


# ---- deletion ------------------------------------------------------------------------------------

FORMS = {
    "before": lib.PS_DELETE_BEFORE, "during": lib.PS_DELETE_DURING, "delay": lib.PS_DELETE_DELAY, "after": lib.PS_DELETE_AFTER
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_deletion_removes_what_is_not_listed_and_counts_it(root: Path, form: str) -> None:
    for name in ("keep", "gone", "d/gone", "x/y/z"):
        put(root / name)
    (root / "x" / "l").symlink_to("a")
    trial = Trial(root, (-1, [DOT, Entry("keep"), directory("d")]), delete_mode=FORMS[form], info_del=1)
    items = trial.finish()
    assert sorted(os.listdir(root)) == ["d", "keep"] and not os.listdir(root / "d")
    assert next(i.name for i in items if i.ndx == DEL_STATS) == bytes([3, 2, 1, 0, 0])
    text = "".join(trial.log())
    assert text.index("deleting x/y/z") < text.index("deleting x/y/\n") < text.index("deleting x/\n")
    assert (root.stat().st_mtime, (root / "d").stat().st_mtime) == (WHEN, WHEN)


def test_nothing_is_deleted_where_a_file_has_the_place_of_a_directory_and_is_kept(root: Path) -> None:
    for name in ("d", "gone"):
        put(root / name)
    options = {"inc_recurse": 1, "one_file_system": 1, "ignore_existing": 1, "delete_mode": lib.PS_DELETE_DURING}
    trial = Trial(root, (-1, [DOT, directory("d")]), (1, [Entry("d/f")]), **options)
    trial.eof()
    trial.step()
    assert (os.listdir(root), [line for line in trial.log() if "opendir" in line]) == (["d"], [])


def test_max_delete_stops_and_says_so(root: Path) -> None:
    for name in "abc":
        put(root / name)
    trial = Trial(root, (-1, [DOT]), delete_mode=lib.PS_DELETE_DURING, max_delete=2)
    trial.finish()
    assert len(os.listdir(root)) == 1 and trial.context.io_error & lib.PS_IOERR_DEL_LIMIT
    assert "Deletions stopped due to --max-delete limit (1 skipped)\n" in trial.log()


@pytest.mark.parametrize("ignore", [0, 1])
def test_io_error_of_the_sender_stops_deletion(root: Path, ignore: int) -> None:
    put(root / "a")
    trial = Trial(root, (-1, [DOT]), delete_mode=lib.PS_DELETE_DURING, ignore_errors=ignore)
    trial.context.add_io_error(lib.PS_IOERR_GENERAL)
    trial.finish()
    assert os.listdir(root) == ([] if ignore else ["a"])
    assert ("IO error encountered -- skipping file deletion\n" in trial.log()) == (not ignore)


def test_directory_that_is_not_a_content_directory_keeps_what_is_in_it(root: Path) -> None:
    put(root / "d" / "x")
    Trial(root, (-1, [DOT, Entry("d", stat.S_IFDIR | 0o755, 0, content=False)]), delete_mode=lib.PS_DELETE_DURING).finish()
    assert os.listdir(root / "d") == ["x"]
