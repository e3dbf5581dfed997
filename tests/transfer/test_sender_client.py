"""Our sender as the client of a push, with the real rsync as the server."""

from __future__ import annotations

import pathlib

import kinds_of_tree
import push
import pytest
import stock

from prsync.engine import formats
from prsync.engine.context import Context
from prsync.engine.native import lib

pytestmark = pytest.mark.skipif(not stock.RSYNC, reason="needs the real rsync")


def itemizing(context: Context) -> None:
    context.options.hard_links = context.options.stdout_format_has_i = context.options.info_del = 1
    formats.set_format(context, formats.STDOUT, b"%i %n%L")


@pytest.mark.parametrize("protocol", range(27, 33))
@pytest.mark.parametrize("recursion", [(), ("--no-inc-recursive",)])
def test_push_of_every_kind_arrives_and_again_changes_nothing(
    tmp_path: pathlib.Path, protocol: int, recursion: tuple[str, ...]
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    kinds_of_tree.fill(source)
    arguments = ("--log-format=%i", *recursion)
    outcome = push.push([f"{source}/"], target, letters="logDtprH", arguments=arguments, setup=itemizing, protocol=protocol)
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    assert stock.lost_links(stock.same_trees(source, target), protocol) == ""
    assert outcome.context.stats.xferred_files == outcome.text().count("<f+++++++++" if protocol >= 29 else "<f?????????")
    again = push.push([f"{source}/"], target, letters="logDtprH", arguments=arguments, setup=itemizing, protocol=protocol)
    assert (again.code, again.context.stats.xferred_files, "+++" in again.text()) == (0, 0, False)


@pytest.mark.parametrize("mode", ["during", "before", "after", "delay"])
def test_push_that_deletes_shows_and_counts_what_is_deleted(tmp_path: pathlib.Path, mode: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "dir").mkdir(parents=True)
    (source / "dir" / "kept").touch()
    (target / "dir" / "gone" / "deep").mkdir(parents=True)
    (target / "dir" / "spared.o").touch()
    (target / "more").touch()
    outcome = push.push(
        ["source/"],
        target,
        arguments=("--log-format=%i", f"--delete-{mode}"),
        setup=itemizing,
        filters=("protect *.o",),
        delete=True,
        directory=tmp_path,
    )
    assert (outcome.code, outcome.error) == (0, ""), outcome.text()
    lines = [line for line in outcome.text().splitlines() if line.startswith("*deleting")]
    assert sorted(lines) == ["*deleting   dir/gone/", "*deleting   dir/gone/deep/", "*deleting   more"]
    assert sorted(str(p.relative_to(target)) for p in target.rglob("*")) == ["dir", "dir/kept", "dir/spared.o"]
    stats = outcome.context.stats
    assert (stats.deleted_files, stats.deleted_dirs) == (3, 2)


def test_server_that_gives_up_ends_the_push_with_its_code_and_words(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").touch()
    (source / "b").touch()
    (tmp_path / "file").touch()
    outcome = push.push([f"{source}/"], tmp_path / "file", arguments=("--no-msgs2stderr",))
    assert outcome.code == 3
    assert "ERROR: destination must be a directory when copying more than 1 file\n" in outcome.text()
    assert any(code == lib.PS_LOG_ERROR for code, _ in outcome.log)
