"""Every pairing of client and daemon leaves the tree, the itemized lines and the exit code that stock rsync leaves alone."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest
from kinds_of_tree import change, fill, snapshot, tree_differences
from pairs import PAIRS, REFERENCE, RSYNC, Result, Server, pull

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

MODULES = "[one]\npath = DIR/one\n[two]\npath = DIR/two\n"
BASIC = ("-aH", "--delete", "-i")
Pair = tuple[str, str]

# Options beside -aH --delete -i; "two" is the second state, pulled over a copy of the first.
VARIANTS: tuple[tuple[str, ...], ...] = (
    ("-z",),
    ("-zz", "--zl=1"),
    ("--zc=lz4",),
    ("--zc=zlib", "--no-W"),
    ("-c",),
    ("-W",),
    ("--no-W", "-B1000"),
    ("-S",),
    ("-S", "--no-W", "-c"),
    ("--delay-updates",),
    ("--link-dest=../prior",),
    ("--copy-dest=../prior", "-c"),
    ("--compare-dest=../prior", "--no-H"),  # with -H stock rsync's own run does not end
    ("--files-from=FOLDER/names", "-r"),
    ("-R",),
    ("--partial-dir=.part",),
    ("--delete-after", "--numeric-ids"),
    ("--delete-before",),
    ("--delete-delay", "--no-i-r"),
    ("--delete-excluded", "--exclude=*[0-9]", "--include=/dir/**", "--filter=P gone"),
    ("--max-delete=2",),
    ("-u", "-O", "-J"),
    ("-I", "--no-H", "--temp-dir=FOLDER"),
    ("-ii", "--size-only"),
    ("-m", "--max-size=1000", "--chmod=Dg+s,Fo-r"),
    ("--existing",),
    ("--ignore-existing", "--stats"),
    ("-v", "--no-D", "--no-l"),
    ("-n",),
    ("-s", "--cc=md5"),
)


def copy_tree(source: pathlib.Path, copy: pathlib.Path) -> None:
    subprocess.run(["cp", "-a", source, copy], check=True)


class Pairings:
    """Two daemons over the two states of a tree; results of stock ← stock are kept."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        fill(folder / "one")
        copy_tree(folder / "one", folder / "two")
        change(folder / "two")
        names = [p.relative_to(folder / "two") for p in sorted((folder / "two").iterdir())]
        (folder / "names").write_bytes(b"".join(os.fsencode(p) + b"\n" for p in names[::2] if b"\n" not in os.fsencode(p)))
        self.servers = {kind: Server(kind, folder, MODULES) for kind in ("stock", "prsyncd")}
        self.kept: dict[tuple[object, ...], list[Result]] = {}
        self.count = 0

    def steps(self, pair: Pair, words: tuple[str, ...], sources: tuple[str, ...], prepared: bool) -> list[Result]:
        """Pulls the sources one after another into one destination; `prepared`: it is a copy of the first state."""
        key = (pair, words, sources, prepared)
        if pair == REFERENCE and key in self.kept:
            return self.kept[key]
        self.count += 1
        place = self.folder / f"run{self.count}"
        (place / "tmp").mkdir(parents=True)
        if prepared:
            for name in ("copy", "prior"):
                copy_tree(self.folder / "one", place / name)
        given = [word.replace("FOLDER", str(self.folder)) for word in words]
        server = self.servers[pair[1]]
        results = [pull(pair[0], server, given, [source], place, clean=without_bytes_on_the_wire) for source in sources]
        if pair == REFERENCE:
            self.kept[key] = results
        subprocess.run(["rm", "-rf", place], check=True)
        return results


def without_bytes_on_the_wire(line: bytes) -> bytes | None:
    return None if line.startswith((b"sent ", b"total size", b"Total bytes", b"File list ")) else line


@pytest.fixture(scope="module")
def pairings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairings]:
    made = Pairings(tmp_path_factory.mktemp("matrix"))
    yield made
    for server in made.servers.values():
        server.stop()


def check(ours: list[Result], reference: list[Result]) -> None:
    for step, (one, two) in enumerate(zip(ours, reference, strict=True)):
        assert tree_differences(one.tree, two.tree) == [], step
        assert (one.code, one.lines, one.errors) == (two.code, two.lines, two.errors), step


@pytest.mark.parametrize("protocol", [30, 31, 32])
@pytest.mark.parametrize("pair", PAIRS, ids="-from-".join)
def test_three_runs_leave_what_stock_leaves(pairings: Pairings, pair: Pair, protocol: int) -> None:
    words, sources = (*BASIC, f"--protocol={protocol}"), ("one/", "one/", "two/")
    reference = pairings.steps(REFERENCE, words, sources, prepared=False)
    assert [result.code for result in reference] == [0, 0, 0] and reference[0].lines and not reference[1].lines
    assert any(line.startswith(b"*deleting") for line in reference[2].lines)
    check(pairings.steps(pair, words, sources, prepared=False), reference)


def spread() -> Iterator[tuple[tuple[str, ...], Pair, int]]:
    """Each variant with prsync at both ends, and with one of the pairings with stock; protocols in turn."""
    for index, words in enumerate(VARIANTS):
        yield words, PAIRS[0], 30 + index % 3
        yield words, PAIRS[1 + index % 2], 30 + (index + 1) % 3


def shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(("words", "pair", "protocol"), list(spread()), ids=shown)
def test_variant_leaves_what_stock_leaves(pairings: Pairings, words: tuple[str, ...], pair: Pair, protocol: int) -> None:
    given = (*BASIC, f"--protocol={protocol}", *words)
    reference = pairings.steps(REFERENCE, given, ("two/",), prepared=True)
    check(pairings.steps(pair, given, ("two/",), prepared=True), reference)


@pytest.mark.parametrize("words", [(), ("--no-i-r",)], ids=shown)
@pytest.mark.parametrize("daemon", ["prsyncd", "stock"])
def test_compare_dest_and_hard_links_leave_every_name_in_one_of_both(
    pairings: Pairings, daemon: str, words: tuple[str, ...]
) -> None:
    place = pairings.folder / f"compare-{daemon}{len(words)}"
    place.mkdir()
    copy_tree(pairings.folder / "one", place / "prior")
    result = pull("prsync", pairings.servers[daemon], (*BASIC, "--compare-dest=../prior", *words), ["two/"], place)
    assert (result.code, result.errors) == (0, ())
    prior, wanted = snapshot(place / "prior"), snapshot(pairings.folder / "two")
    linked = [name for name, entry in wanted.items() if entry[6] is not None]
    assert b"hard-4" in linked
    assert [name for name in linked if wanted[name][5] != (result.tree if name in result.tree else prior)[name][5]] == []
