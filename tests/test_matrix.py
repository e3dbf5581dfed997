"""Every way and every pairing of programs leaves the tree, the itemized lines and the exit code that stock rsync leaves alone."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest
from kinds_of_tree import Snapshot, change, fill, snapshot, tree_differences
from not_yet import marks
from pairs import PAIRS, REFERENCE, RSYNC, Result, pull
from sshd import Sshd
from ways import DIRECT_WAYS, Pair, Stage, copy_tree, needs, relative_names, remove_tree

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

NAMELESS = b"*deleting  "
BASIC = ("-aH", "--delete", "-i")
LOCAL = ("prsync", "prsync")
"""The pair of a local copy, which has one program."""

# Options beside -aH --delete -i; "two" is the second state, copied over the first.
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
    ("-I", "--no-H", "--temp-dir=TEMPORARY"),
    ("-ii", "--size-only"),
    ("-m", "--max-size=1000", "--chmod=Dg+s,Fo-r"),
    ("--existing",),
    ("--ignore-existing", "--stats"),
    ("-v", "--no-D", "--no-l"),
    ("-n",),
    ("-s", "--cc=md5"),
)
PULL_PROTOCOLS = (30, 31, 32)


def states(folder: pathlib.Path) -> None:
    fill(folder / "one")
    copy_tree(folder / "one", folder / "two")
    change(folder / "two")
    (folder / "names").write_bytes(b"".join(os.fsencode(name) + b"\n" for name in relative_names(folder / "two")[::2]))


class Matrix:
    """The stage of all cases; results of stock with stock are kept."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.stage = Stage(folder, states)
        self.kept: dict[tuple[object, ...], list[Result]] = {}
        self.count = 0

    def steps(self, way: str, pair: Pair, words: tuple[str, ...], sources: tuple[str, ...], prepared: bool) -> list[Result]:
        """Copies the sources one after another into one destination; `prepared`: it is a copy of the first state."""
        key = (way, self.stage.shell, words, sources, prepared)
        if pair == REFERENCE and key in self.kept:
            return self.kept[key]
        self.count += 1
        place = self.stage.place(f"run{self.count}")
        if prepared:
            for name in ("copy", "prior"):
                copy_tree(self.stage.folder / "one", place / name)
        temporary = f"/{place.name}/tmp" if way.endswith("daemon-push") else f"{place}/tmp"  # of the module, with a daemon
        given = [word.replace("FOLDER", str(self.stage.folder)).replace("TEMPORARY", temporary) for word in words]
        if "-R" in words and way != "daemon-pull":  # names from there on only, as a module has them
            sources = tuple(source + "./" for source in sources)
        nameless = way.endswith("push") and bool({"--protocol=27", "--protocol=28"} & set(words))
        clean = without_names_of_what_is_deleted if nameless else without_bytes_on_the_wire
        results = [self.stage.run(way, pair, given, source, place, clean) for source in sources]
        if pair == REFERENCE:
            self.kept[key] = results
        remove_tree(place)
        return results

    def check_three_runs(self, way: str, pair: Pair, words: tuple[str, ...]) -> None:
        """First run, no change, second state."""
        reference = self.steps(way, REFERENCE, words, ("one/", "one/", "two/"), prepared=False)
        assert [result.code for result in reference] == [0, 0, 0] and reference[0].lines and not reference[1].lines
        assert any(line.startswith(b"*deleting") for line in reference[2].lines)
        assert contents(reference[1].tree) == contents(snapshot(self.stage.folder / "one"))
        assert contents(reference[2].tree).keys() == contents(snapshot(self.stage.folder / "two")).keys()
        check(self.steps(way, pair, words, ("one/", "one/", "two/"), prepared=False), reference)


def contents(tree: Snapshot) -> dict[bytes, object]:
    """Of the regular files."""
    return {name: content for name, (_, _, _, size, _, content, *_) in tree.items() if size is not None}


def without_bytes_on_the_wire(line: bytes) -> bytes | None:
    return None if line.startswith((b"sent ", b"total size", b"Total bytes", b"File list ")) else line


def without_names_of_what_is_deleted(line: bytes) -> bytes | None:
    """A stock server gives none to a client of such an old protocol."""
    return b"*deleting" if line.startswith(b"*deleting") else without_bytes_on_the_wire(line)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    made = Matrix(tmp_path_factory.mktemp("matrix"))
    yield made
    made.stage.stop()


def check(ours: list[Result], reference: list[Result]) -> None:
    for step, (one, two) in enumerate(zip(ours, reference, strict=True)):
        assert tree_differences(one.tree, two.tree) == [], step
        assert (one.code, as_said_by_stock(one.lines, two.lines), one.errors) == (two.code, two.lines, two.errors), step


def as_said_by_stock(ours: tuple[bytes, ...], reference: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """To a client of before protocol 29 a stock server says of each deletion only that there was one; ours names it."""
    if NAMELESS not in reference:
        return ours
    return tuple(sorted(NAMELESS if line.startswith(NAMELESS) else line for line in ours))


def case(way: str, pair: Pair, protocol: int, *words: tuple[str, ...], slow: bool = False) -> object:
    """A parameter set, marked with what prsync cannot do yet."""
    name = "-".join((way, *(pair if way != "local" else ()), str(protocol), *(" ".join(each) for each in words)))
    features = [*needs(way, pair, protocol)]
    if way.startswith("shell") and pair[1] != "stock" and any("-s" in each for each in words):
        features.append("secluded arguments of a server")
    return pytest.param(way, pair, protocol, *words, id=name, marks=[*marks(*features), *([pytest.mark.slow] * slow)])


THREE_RUNS = [
    *(case(way, pair, protocol) for way in DIRECT_WAYS for pair in PAIRS for protocol in PULL_PROTOCOLS),
    case("local", LOCAL, 32),
    *(case(way, pair, 32) for way in ("shell-daemon-pull", "shell-daemon-push") for pair in PAIRS),
]
OLD_PROTOCOLS = [
    case(way, pair, 27 + number, slow=number != (column + row) % 3)
    for row, way in enumerate(DIRECT_WAYS)
    for column, pair in enumerate(PAIRS)
    for number in range(3)
]


@pytest.mark.parametrize(("way", "pair", "protocol"), [*THREE_RUNS, *OLD_PROTOCOLS])
def test_three_runs_leave_what_stock_leaves(matrix: Matrix, way: str, pair: Pair, protocol: int) -> None:
    matrix.check_three_runs(way, pair, (*BASIC, f"--protocol={protocol}"))


def spread() -> Iterator[object]:
    """Each variant as a pull from a daemon with prsync at both ends and with one of the pairings with stock, and once in one
    of the other ways; protocols in turn. All others take long."""
    others = [(way, pair) for pair in PAIRS for way in DIRECT_WAYS[1:]]
    others = [*others, ("local", LOCAL)]
    for index, words in enumerate(VARIANTS):
        pulls = {PAIRS[0]: 30 + index % 3, PAIRS[1 + index % 2]: 30 + (index + 1) % 3}
        for pair in PAIRS:
            yield case("daemon-pull", pair, pulls.get(pair, 32), words, slow=pair not in pulls)
        for number, (way, pair) in enumerate(others):
            yield case(way, pair, 30 + (index + number) % 3, words, slow=number != index % len(others))


@pytest.mark.parametrize(("way", "pair", "protocol", "words"), list(spread()))
def test_variant_leaves_what_stock_leaves(matrix: Matrix, way: str, pair: Pair, protocol: int, words: tuple[str, ...]) -> None:
    given = (*BASIC, f"--protocol={protocol}", *words)
    reference = matrix.steps(way, REFERENCE, given, ("two/",), prepared=True)
    check(matrix.steps(way, pair, given, ("two/",), prepared=True), reference)


@pytest.fixture
def through_ssh(matrix: Matrix, tmp_path: pathlib.Path) -> Iterator[Matrix]:
    """The same, with OpenSSH in place of the stand-in."""
    stage = matrix.stage
    before = stage.shell, stage.host
    daemon = Sshd(tmp_path)
    stage.shell, stage.host = daemon.command, "127.0.0.1"
    yield matrix
    stage.shell, stage.host = before
    daemon.stop()


@pytest.mark.skipif(not Sshd.possible(), reason="needs root and OpenSSH's server")
@pytest.mark.parametrize(
    ("way", "pair", "protocol"), [case(way, pair, 32) for way in ("shell-pull", "shell-push") for pair in PAIRS]
)
def test_three_runs_through_ssh_leave_what_stock_leaves(through_ssh: Matrix, way: str, pair: Pair, protocol: int) -> None:
    through_ssh.check_three_runs(way, pair, (*BASIC, "-z"))


@pytest.mark.parametrize("words", [(), ("--no-i-r",)], ids=" ".join)
@pytest.mark.parametrize("daemon", ["prsyncd", "stock"])
def test_compare_dest_and_hard_links_leave_every_name_in_one_of_both(matrix: Matrix, daemon: str, words: tuple[str, ...]) -> None:
    place = matrix.stage.place(f"compare-{daemon}{len(words)}")
    copy_tree(matrix.stage.folder / "one", place / "prior")
    result = pull("prsync", matrix.stage.servers[daemon], (*BASIC, "--compare-dest=../prior", *words), ["two/"], place)
    assert (result.code, result.errors) == (0, ())
    prior, wanted = snapshot(place / "prior"), snapshot(matrix.stage.folder / "two")
    linked = [name for name, entry in wanted.items() if entry[6] is not None]
    assert b"hard-4" in linked
    assert [name for name in linked if wanted[name][5] != (result.tree if name in result.tree else prior)[name][5]] == []
