"""Called `rsync`, through a link, prsync answers what scripts look for in rsync's answers, and does what rsync does."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
from kinds_of_tree import change, fill, snapshot, tree_differences
from not_yet import marks
from pairs import RSYNC, SOURCES, environment
from ways import Stage, copy_tree, needs

pytestmark = pytest.mark.skipif(not RSYNC, reason="needs the real rsync")

CALLED_RSYNC = marks("called rsync")
SCRIPT = "#!{python}\nimport sys\nfrom prsync.commands.main import main\nsys.exit(main())\n"
README = (SOURCES / "README.md").read_text()
OPTION = re.compile(r"--[a-z0-9][a-z0-9-]+")

# What scripts read from `rsync --version`; each finds something in stock rsync's answer. Some of it does not depend on the name.
CALLED = (
    r"\A(rsync  version \d+\.\d+\.\d+  protocol version \d+)$",
    r"\Arsync +version (\S+)",
    r"version ([\d.]+)\s+protocol version \d+",
    r"^(Capabilities):",
    r"^    .*\b(64-bit files)\b",
    r"\b(batchfiles)\b",
    r"\b(hardlinks)\b",
    r"\b(symlinks)\b",
    r"\b(symtimes)\b",
    r"\b(inplace)\b",
    r"\b(append)\b",
    r"\b(IPv6)\b",
)
SOUGHT = (
    r"protocol version (\d+)",
    r"^(Checksum list):",
    r"^(Compress list):",
    r"^(Daemon auth list):",
    r"^    (?:.* )?(xxh128)\b",
    r"^    (?:.* )?(zstd)\b",
)
REFUSALS = [
    *((), ("--no-such",), ("-a",)),
    ("-a", "rsync://127.0.0.1:1/module/", "FOLDER/copy/"),
    ("-a", "--delete", "-e", "false", "there:/one", "FOLDER/copy/"),
    ("--timeout=x", "FOLDER/one", "FOLDER/copy/"),
    pytest.param(("-a", "FOLDER/missing", "FOLDER/copy/"), marks=marks("local")),
    pytest.param(("-a", "FOLDER/one", "FOLDER/missing/deeper/"), marks=marks("local")),
    pytest.param(("--files-from=FOLDER/missing", "FOLDER/one", "FOLDER/copy/"), marks=marks("local")),
]


@pytest.fixture(scope="module")
def rsync(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A link of that name to the command as it is installed."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "bin").mkdir()
    (folder / "bin/prsync").write_text(SCRIPT.format(python=sys.executable))
    (folder / "bin/prsync").chmod(0o755)
    (folder / "bin/rsync").symlink_to("prsync")
    return folder / "bin/rsync"


def answer(program: pathlib.Path | str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([program, *words], env=environment(), cwd="/", capture_output=True, check=False, timeout=30)
    assert b"Traceback" not in done.stderr
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("pattern", [*SOUGHT, *(pytest.param(each, marks=CALLED_RSYNC) for each in CALLED)])
def test_version_has_what_scripts_seek(rsync: pathlib.Path, pattern: str) -> None:
    ours, stock = (answer(program, ["--version"]) for program in (rsync, RSYNC))
    wanted = re.search(pattern, stock.stdout, re.MULTILINE)
    found = re.search(pattern, ours.stdout, re.MULTILINE)
    assert wanted and found and (ours.returncode, found[1]) == (0, wanted[1])
    assert ours.stderr == ""


def capabilities(text: str) -> set[str]:
    """Names, without the "no " of those that are not there."""
    block = re.search(r"^Capabilities:\n((?: .*\n)+)", text, re.MULTILINE)
    assert block
    return {name.strip().removeprefix("no ").removeprefix("optional ") for name in block[1].replace("\n", " ").split(",")}


def test_version_lists_each_capability_as_there_or_not(rsync: pathlib.Path) -> None:
    ours, stock = (capabilities(answer(program, ["--version"]).stdout) for program in (rsync, RSYNC))
    assert stock <= ours


def test_version_as_json_has_the_keys_of_rsync(rsync: pathlib.Path) -> None:
    ours, stock = (json.loads(answer(program, ["-VV"]).stdout) for program in (rsync, RSYNC))
    assert stock.keys() <= ours.keys()
    assert [ours[key] for key in ("program", "version", "protocol")] == [stock[key] for key in ("program", "version", "protocol")]
    assert stock["capabilities"].keys() <= ours["capabilities"].keys()


def test_help_names_all_options_but_those_that_are_listed_as_not_yet_there(rsync: pathlib.Path) -> None:
    ours, stock = (answer(program, ["--help"]) for program in (rsync, RSYNC))
    later = README.partition("\nNot yet (one line, exit 4")[2].partition("\n<!-- end -->")[0]
    assert ours.returncode == 0 and ours.stderr == ""
    assert "Usage: rsync [OPTION]... SRC [SRC]... DEST" in ours.stdout
    spellings = {"--old-d", "--zt"}  # of --old-dirs and --compress-threads, which are not there yet either
    assert set(OPTION.findall(stock.stdout)) - set(OPTION.findall(ours.stdout)) - set(OPTION.findall(later)) == spellings


@pytest.mark.parametrize("words", REFUSALS, ids=" ".join)
def test_refusal_has_the_exit_code_of_rsync(rsync: pathlib.Path, tmp_path: pathlib.Path, words: tuple[str, ...]) -> None:
    (tmp_path / "one").mkdir()
    given = [word.replace("FOLDER", str(tmp_path)) for word in words]
    stock, ours = (answer(program, given) for program in (RSYNC, rsync))
    assert ours.returncode == stock.returncode != 0, ours.stderr
    assert ours.stdout == stock.stdout == "" and ours.stderr
    assert stock.stderr.startswith("rsync") == ours.stderr.startswith("rsync")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, rsync: pathlib.Path) -> Iterator[Stage]:
    def states(folder: pathlib.Path) -> None:
        fill(folder / "one")
        copy_tree(folder / "one", folder / "two")
        change(folder / "two")

    made = Stage(tmp_path_factory.mktemp("called"), states)
    made.programs["prsync"] = f"PYTHONPATH={SOURCES} {rsync}"
    yield made
    made.stop()


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=marks(*needs(way, ("prsync", "prsync"))))
        for way in ("local", "daemon-pull", "daemon-push", "shell-pull", "shell-push")
    ],
)
def test_transfer_leaves_what_rsync_leaves(stage: Stage, rsync: pathlib.Path, way: str) -> None:
    trees, codes, lines = [], [], []
    for name, program, remote in (("stock", RSYNC, "stock"), ("ours", str(rsync), "prsync")):
        place = stage.place(f"{way}-{name}")
        copy_tree(stage.folder / "one", place / "copy")
        words = ["-aHi", "--delete", *stage.ends(way, remote, "two/", place)]
        done = subprocess.run([program, *words], env=environment(), cwd=place, capture_output=True, check=False, timeout=60)
        trees.append(snapshot(place / "copy"))
        codes.append(done.returncode)
        lines.append(sorted(done.stdout.splitlines()))
    assert codes == [0, 0] and lines[0] == lines[1] != []
    assert tree_differences(*trees) == []
