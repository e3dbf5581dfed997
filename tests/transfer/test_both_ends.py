"""Both ends of a transfer are ours, in one thread over memory: the same outcome whichever end is the server."""

from __future__ import annotations

import os
import pathlib

import kinds_of_tree
import pytest
from both_ends import BothEnds, Setup

from prsync.engine import formats
from prsync.engine.context import Context
from prsync.engine.native import lib

WAYS = pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])


def options(strings: dict[int, bytes] | None = None, **values: int) -> Setup:
    def setup(context: Context) -> None:
        for name, value in values.items():
            setattr(context.options, name, value)
        for which, text in (strings or {}).items():
            context.set_string(which, text)
        formats.set_format(context, formats.STDOUT, b"%i %n%L")
        context.options.stdout_format_has_i = 1

    return setup


CASES = {
    "plain": options(hard_links=1),
    "checksum": options(hard_links=1, checksum=1),
    "zlib": options(hard_links=1, compress=lib.PS_Z_ZLIB),
    "zstd": options(hard_links=1, compress=lib.PS_Z_ZSTD),
    "inplace": options(hard_links=1, inplace=1),
    "delayed": options({lib.PS_STR_PARTIAL_DIR: b".~tmp~"}, hard_links=1, delay_updates=1, partial=1),
    "backup": options({lib.PS_STR_BACKUP_DIR: b"../kept"}, hard_links=1, backup=1, delete_mode=lib.PS_DELETE_DURING),
    "append": options(append=1, inplace=1),
    "sums": options(hard_links=1, whole_file=0, block_size=700),
    "delete": options(hard_links=1, delete_mode=lib.PS_DELETE_AFTER),
}


@WAYS
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("incremental", [True, False])
def test_changed_tree_arrives(tmp_path: pathlib.Path, push: bool, case: str, incremental: bool) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    kinds_of_tree.fill(source)
    incremental = incremental and case not in ("delayed", "delete")
    first = BothEnds(source, target, CASES[case], push=push, incremental=incremental)
    first.run()
    assert (first.sender.exit_code(), first.receiver.exit_code()) == (0, 0), first.text("receiver")
    kinds_of_tree.change(source)
    second = BothEnds(source, target, CASES[case], push=push, incremental=incremental, most=3000)
    second.run()
    assert (second.sender.exit_code(), second.receiver.exit_code()) == (0, 0), second.text("receiver")
    client = "sender" if push else "receiver"
    assert second.sending.stats.xferred_files == second.receiving.stats.xferred_files > 0
    assert second.text(client).count("<f" if push else ">f") == second.sending.stats.xferred_files
    if case not in ("append", "inplace"):  # what has become shorter stays; what was linked gets the same data
        third = BothEnds(source, target, CASES[case], push=push, incremental=incremental)
        third.run()
        assert (third.sending.stats.xferred_files, third.text("sender"), third.text("receiver")) == (0, "", "")


@WAYS
@pytest.mark.parametrize("protocol", [30, 31, 32])
def test_data_that_changed_on_the_way_are_asked_for_again(tmp_path: pathlib.Path, push: bool, protocol: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "file").write_bytes(kinds_of_tree.blob(1, 200_000))
    ends = BothEnds(source, target, options(), push=push, protocol=protocol)
    part = kinds_of_tree.blob(1, 200_000)[150_000:150_100]
    spoiled = 0

    def spoil(data: bytes) -> bytes:
        nonlocal spoiled
        if part in data and not spoiled:
            spoiled += 1
            return data.replace(part, bytes(100))
        return data

    ends.change = spoil
    ends.run()
    assert (spoiled, ends.sender.exit_code(), ends.receiver.exit_code()) == (1, 0, 0)
    assert (target / "file").read_bytes() == (source / "file").read_bytes()
    assert ends.sending.stats.xferred_files == 2
    client = "sender" if push else "receiver"
    if not push:
        assert "WARNING: file failed verification" in ends.text(client)


@WAYS
def test_sources_are_removed_once_their_files_have_arrived(tmp_path: pathlib.Path, push: bool) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "dir").mkdir(parents=True)
    for number in range(120):
        (source / "dir" / f"{number}").write_text(f"{number}")
    (target / "dir" / "7").mkdir(parents=True)
    (target / "dir" / "7" / "in the way").touch()
    ends = BothEnds(source, target, options(remove_source_files=1, info_remove=1), push=push)
    ends.run()
    assert sorted(os.listdir(source / "dir")) == ["7"]
    assert len(os.listdir(target / "dir")) == 120
    assert ends.receiver.exit_code() == 23
    assert sum("sender removed dir/" in text.decode() for _, text in ends.logs["sender"]) > 0 or not push


def test_push_of_nothing_comes_to_its_end(tmp_path: pathlib.Path) -> None:
    """A server that is sent no entry at all goes through all phases; a client leaves."""
    ends = BothEnds(tmp_path / "missing", tmp_path / "target", options(), push=True)
    ends.run()
    assert (ends.sender.exit_code(), ends.receiver.exit_code()) == (23, 23)
    assert "change_dir" in ends.text("sender") or "link_stat" in ends.text("sender")
