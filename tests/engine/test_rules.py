"""The rule matcher: tables, per-directory merge files, and random rules over random trees against the real rsync."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import subprocess

import pytest

from prsync.engine.context import Context
from prsync.engine.native import lib
from prsync.engine.rules import RECEIVER, SENDER, RuleSet
from prsync.errors import EngineError, PrsyncError
from prsync.protocol.filter_list import FilterTraits, client_filter_list
from prsync.protocol.filters import FilterParser, daemon_rules


def no_files(name: bytes) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", name)


def rule_set(*texts: str, base: str = "", context: Context | None = None) -> RuleSet:
    parser = FilterParser(no_files)
    for text in texts:
        parser.filter(text.encode())
    rules = RuleSet(context or Context(), parser.rules, cvs=parser.cvs_rules, parse=parser.merge_file)
    rules.set_base(base.encode())
    return rules


# (rules, names that are excluded, names that are not; a slash at the end marks a directory)
TABLE = [
    (["- foo"], ["foo", "a/foo", "foo/"], ["foobar", "foo/x", "xfoo"]),
    (["- foo/"], ["foo/", "a/foo/"], ["foo", "a/foo"]),
    (["- /foo"], ["foo", "foo/"], ["a/foo", "foo/x"]),
    (["- a/b"], ["a/b", "x/a/b"], ["xa/b", "b", "a/b/c"]),
    (["- /a/b"], ["a/b"], ["x/a/b"]),
    (["- *.o"], [".o", "a.o", "x/a.o"], ["a.oo", "o"]),
    (["- core*"], ["core", "a/core.1"], ["score"]),
    (["- a*z"], ["az", "x/abz"], ["a/z", "zaz", "a"]),
    (["- [ab]?"], ["ax", "q/b1"], ["cx", "a"]),
    (["- a/*"], ["a/b", "x/a/b"], ["a/b/c", "a"]),
    (["- /a/*"], ["a/b"], ["x/a/b", "a/b/c"]),
    (["- a/**"], ["a/b", "a/b/c", "x/a/b/c"], ["a", "a/", "xa/b"]),
    (["- **/c"], ["c", "a/c", "a/b/c"], ["xc", "c/d"]),
    (["- /**/c"], ["a/c", "a/b/c"], ["c"]),
    (["- a/***"], ["a/", "a/b", "a/b/c", "x/a/"], ["a"]),
    (["- /a/***"], ["a/", "a/b/c"], ["a", "x/a/b"]),
    (["- **a"], ["a", "ba", "x/ba", "x/y/a"], ["ab", "a/b"]),
    (["- a**b"], ["ab", "a/b", "a/x/b", "q/axb"], ["ba"]),
    (["-! *.c"], ["x", "a/x.h", "d/"], ["x.c"]),
    (["-! d/"], ["x", "e/"], ["d/"]),
    (["+ keep", "- *"], ["x", "a/x"], ["keep", "a/keep"]),
    (["+ */", "+ *.c", "- *"], ["x.h", "d/x"], ["d/", "x.c"]),
    (["-x foo"], [], ["foo"]),
    (["- \\*"], [], ["a"]),
    (["- a\\*b?"], ["a*bx"], ["aabx"]),
    (["- /"], [], ["a", "a/"]),
    (["-C"], ["x.o", "a/core", ".git/", "CVS"], [".git", "x.c"]),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "excluded", "others"), TABLE)
def test_check_table_of_patterns(texts: list[str], excluded: list[str], others: list[str]) -> None:
    rules = rule_set(*texts)
    names = [name.encode() for name in excluded + others]
    found = {name for name, answer in zip(names, rules.check_many(names, SENDER), strict=True) if answer < 0}
    assert found == {name.encode() for name in excluded}


ABSOLUTE = [
    ("-/ /srv/m/a", ["a"], ["b/a"]),
    ("-/ /srv/**", ["a", "b/c"], []),
    ("-/ m/a", ["a"], ["x/a"]),
    ("-/ **/m/a", ["a"], ["x/a"]),
    ("-/ a", ["a", "x/a"], ["b"]),
    ("-/ /srv/m/*", ["a"], ["a/b"]),
    ("-/ /srv/m/a/***", ["a/", "a/b"], ["a"]),
]


@pytest.mark.parametrize(("text", "excluded", "others"), ABSOLUTE)
def test_check_absolute_rules_see_the_whole_path(text: str, excluded: list[str], others: list[str]) -> None:
    rules = rule_set(text, base="/srv/m")
    names = [name.encode() for name in excluded + others]
    assert rules.check_many(names, SENDER) == [-1] * len(excluded) + [0] * len(others)


def test_check_sides_and_answers() -> None:
    parser = FilterParser(no_files)
    for text in (b"H hid", b"P prot", b"show seen", b"-rs both", b"- *"):
        parser.filter(text)
    client_filter_list(parser, FilterTraits())
    rules = RuleSet(Context(), parser.rules)
    names = [b"hid", b"prot", b"seen", b"both"]
    parser.rules.pop()
    without = RuleSet(Context(), parser.rules)
    assert without.check_many(names, SENDER) == [-1, 0, 1, -1]
    assert without.check_many(names, RECEIVER) == [0, -1, 0, -1]
    assert rules.check(b"x", False, RECEIVER) == -1
    assert rules.check(b"", False, RECEIVER) == 0


def test_daemon_rules_hold_for_directories_that_lead_to_a_path() -> None:
    parsed = daemon_rules(no_files, exclude=b"/secret/ *.key", include=b"/secret/public/")
    rules = RuleSet(Context(), daemon=parsed.rules)
    assert rules.daemon_excludes(b"secret", True)
    assert rules.daemon_excludes(b"secret/x", False)
    assert not rules.daemon_excludes(b"secret", False)
    assert rules.daemon_excludes_path(b"a/secret.key/b")
    assert not rules.daemon_excludes_path(b"a/secret.key", parents_only=True)
    assert not rules.daemon_excludes_path(b"a/b")


def test_put_table_beyond_its_text_is_refused() -> None:
    context = Context()
    with pytest.raises(EngineError, match="longer than"):
        RuleSet(context, [(0, b"x" * 5000)])


def test_put_rule_with_a_nul_byte_is_refused() -> None:
    """Found by libFuzzer: as the name of a merge file it was cleaned for ever."""
    with pytest.raises(EngineError, match="filter rule 2 of 2 has a NUL byte in it"):
        RuleSet(Context(), [(0, b"x"), (lib.PS_RULE_MERGE, b"/a/b\0c")])


# -- per-directory merge files -----------------------------------------------------------------------------------------


def walk(rules: RuleSet, root: pathlib.Path, side: int = SENDER) -> list[str]:
    """The names that a recursive transfer of root has, directories with a slash; as the sender walks."""
    found: list[str] = []
    descriptor = os.open(root, os.O_RDONLY)

    def visit(path: str) -> None:
        token = rules.enter(descriptor, path.encode() or b".")
        directories = []
        for entry in sorted(os.scandir(root / path), key=lambda e: e.name):
            name = f"{path}/{entry.name}" if path else entry.name
            is_dir = entry.is_dir()
            if rules.check(name.encode(), is_dir, side) < 0:
                continue
            found.append(name + "/" * is_dir)
            if is_dir:
                directories.append(name)
        for name in directories:
            visit(name)
        rules.leave(token)

    try:
        visit("")
    finally:
        os.close(descriptor)
    return sorted(found)


def make(root: pathlib.Path, *files: str, **texts: str) -> pathlib.Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return root


def test_merge_file_rules_are_inherited_and_end_with_their_directory(tmp_path: pathlib.Path) -> None:
    make(tmp_path, "a/x", "a/b/x", "a/b/y", "c/x", "c/y")
    (tmp_path / "a/.r").write_text("- x\n")
    (tmp_path / "a/b/.r").write_text("- y\n")
    assert walk(rule_set(": .r", "- .r"), tmp_path) == ["a/", "a/b/", "c/", "c/x", "c/y"]
    assert walk(rule_set(":n .r", "- .r"), tmp_path) == ["a/", "a/b/", "a/b/x", "c/", "c/x", "c/y"]
    assert walk(rule_set(":ne .r"), tmp_path) == ["a/", "a/b/", "a/b/x", "c/", "c/x", "c/y"]
    assert walk(rule_set(":en- .r"), tmp_path) == ["a/", "a/b/", "a/b/x", "a/b/y", "a/x", "c/", "c/x", "c/y"]


def test_merge_file_anchored_rules_mean_their_directory(tmp_path: pathlib.Path) -> None:
    make(tmp_path, "x", "a/x", "a/b/x")
    (tmp_path / "a/.r").write_text("- /x\n- /b/x\n")
    assert walk(rule_set(":e .r", base="/srv/m"), tmp_path) == ["a/", "a/b/", "x"]
    assert walk(rule_set(":e .r"), tmp_path) == ["a/", "a/b/", "x"]


def test_merge_file_clear_drops_what_was_inherited(tmp_path: pathlib.Path) -> None:
    make(tmp_path, "a/x", "a/b/x", "a/b/y")
    (tmp_path / "a/.r").write_text("- x\n")
    (tmp_path / "a/b/.r").write_text("!\n- y\n")
    assert walk(rule_set(":e .r"), tmp_path) == ["a/", "a/b/", "a/b/x"]


def test_merge_file_may_name_further_files(tmp_path: pathlib.Path) -> None:
    make(tmp_path, "a/x", "a/y", "a/b/x", "a/b/z", "x")
    (tmp_path / "a/.r").write_text(":e .q\n. ./more\n")
    (tmp_path / "a/more").write_text("- y\n")
    (tmp_path / "a/.q").write_text("- x\n")
    (tmp_path / "a/b/.q").write_text("- z\n")
    assert walk(rule_set(":e .r"), tmp_path) == ["a/", "a/b/", "a/more", "x"]


def test_merge_file_missing_inner_file_ends_the_run(tmp_path: pathlib.Path) -> None:
    make(tmp_path, "a/x")
    (tmp_path / "a/.r").write_text(". nope\n")
    with pytest.raises(PrsyncError, match="failed to open exclude file <rule from a file read earlier>") as caught:
        walk(rule_set(": .r"), tmp_path)
    assert caught.value.code == 11


def test_merge_file_bad_rule_ends_the_run_without_showing_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / ".r").write_text("- a\nsecret\n")
    with pytest.raises(PrsyncError, match="Unknown filter rule: <rule from /m/.r line 2>") as caught:
        walk(rule_set(": .r", base="/m"), tmp_path)
    assert caught.value.code == 1


def test_merge_file_named_with_a_path_is_looked_for_in_parents(tmp_path: pathlib.Path) -> None:
    root = make(tmp_path / "m/top", "a/x", "a/y", "a/z")
    (tmp_path / ".r").write_text("- x\n- /m/top/a/z\n")
    (tmp_path / "m/.r").write_text("- y\n")
    rules = rule_set(f": {tmp_path}/.r", base=str(root))
    assert walk(rules, root) == ["a/"]
    beneath = rule_set(f": {tmp_path}/m/.r", base=str(root))
    assert walk(beneath, root) == ["a/", "a/x", "a/z"]


def test_merge_file_that_is_no_file_is_passed_over(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / ".r")
    make(tmp_path, "a/.r/x")
    assert walk(rule_set(": .r"), tmp_path) == [".r", "a/", "a/.r/", "a/.r/x"]


def test_merge_file_longer_than_the_limit_is_passed_over(tmp_path: pathlib.Path) -> None:
    with open(tmp_path / ".r", "wb") as file:
        file.truncate(1 << 30)
    assert walk(rule_set(": .r"), tmp_path) == [".r"]


# -- against the real rsync --------------------------------------------------------------------------------------------

RSYNC = shutil.which("rsync")
needs_rsync = pytest.mark.skipif(RSYNC is None, reason="needs rsync")
NAMES = ["a", "b", "ab", "a.b", "b.a", "[a]", "a*", "ba"]
ATOMS = ["a", "b", "ab", "*", "**", "?", "a*", "*b", "*.b", "[ab]", "[!a]*", "***", "b.a", "\\*", "a\\*", "b.?", "[[]a]"]


def random_tree(rng: random.Random, root: pathlib.Path, depth: int = 0) -> None:
    root.mkdir(exist_ok=True)
    for name in rng.sample(NAMES, rng.randint(2, 5)):
        if depth < 3 and rng.random() < 0.5:
            random_tree(rng, root / name, depth + 1)
        else:
            (root / name).write_text("")


def random_pattern(rng: random.Random) -> str:
    text = "/".join(rng.choice(ATOMS) for _ in range(rng.choice([1, 1, 1, 2, 2, 3])))
    return ("/" if rng.random() < 0.3 else "") + text + ("/" if rng.random() < 0.25 else "")


def random_rule(rng: random.Random, kinds: str = "-+") -> str:
    modifiers = rng.choice(["", "", "", "!", "/", "p"])
    return f"{rng.choice(kinds)}{modifiers} {random_pattern(rng)}"


def random_merges(rng: random.Random, root: pathlib.Path) -> None:
    for directory in [root, *[p for p in root.rglob("*") if p.is_dir()]]:
        if rng.random() < 0.4:
            lines = [random_rule(rng) for _ in range(rng.randint(1, 3))]
            if rng.random() < 0.15:
                lines.insert(rng.randint(0, len(lines)), rng.choice(["!", ":e .g", "# note", ""]))
            (directory / rng.choice([".f", ".f", ".g"])).write_text("\n".join(lines) + rng.choice(["", "\n", "\r\n"]))


def listed_by_rsync(rules: list[str], root: pathlib.Path, target: pathlib.Path) -> list[str]:
    filters = [f"--filter={rule}" for rule in rules]
    command = [str(RSYNC), "-nr", "--out-format=%n", "--8-bit-output", *filters, f"{root}/", f"{target}/"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return sorted(name for name in result.stdout.splitlines() if name != "./")


def compare_with_rsync(seed: int, scratch: pathlib.Path) -> None:
    rng = random.Random(seed)
    root, target = scratch / "m" / "src", scratch / "dst"
    root.parent.mkdir()
    target.mkdir()
    random_tree(rng, root)
    rules = [random_rule(rng) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.6:
        random_merges(rng, root)
        merge = rng.choice([": .f", ":n .f", ":e .f", f": {root.parent}/.f", ":/ .f"])
        rules.insert(rng.randint(0, len(rules)), merge)
        if rng.random() < 0.5:
            (root.parent / ".f").write_text(random_rule(rng))
    if rng.random() < 0.2:
        rules = [r.replace("/ /", f"/ {root}/", 1) if r.startswith(("-/ /", "+/ /")) else r for r in rules]
    assert walk(rule_set(*rules, base=str(root)), root) == listed_by_rsync(rules, root, target), (seed, rules)


@needs_rsync
@pytest.mark.parametrize("seed", range(60))
def test_random_rules_select_what_rsync_selects(seed: int, tmp_path: pathlib.Path) -> None:
    compare_with_rsync(seed, tmp_path)


@needs_rsync
@pytest.mark.slow
def test_many_random_rules_select_what_rsync_selects(tmp_path: pathlib.Path) -> None:
    for seed in range(1000, 3000):
        scratch = tmp_path / str(seed)
        scratch.mkdir()
        compare_with_rsync(seed, scratch)
        shutil.rmtree(scratch)


def compare_deletion(seed: int, scratch: pathlib.Path) -> None:
    """An empty source: rsync deletes every file that no rule protects."""
    rng = random.Random(seed)
    root, target = scratch / "src", scratch / "dst"
    root.mkdir()
    target.mkdir()
    for name in NAMES:
        (target / name).write_text("")
    texts = []
    for _ in range(rng.randint(1, 5)):
        rule = random_rule(rng, "-+PRHS")
        if rule[0] in "-+" and rng.random() < 0.5:
            rule = rule[0] + rng.choice("rs") + rule[1:]
        texts.append(rule)
    excluded = rng.random() < 0.4
    command = [str(RSYNC), "-nr", "--delete-excluded" if excluded else "--delete", "--out-format=%o %n", "--8-bit-output"]
    command += [f"--filter={rule}" for rule in texts] + [f"{root}/", f"{target}/"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    deleted = sorted(line[5:] for line in result.stdout.splitlines() if line.startswith("del. "))
    parser = FilterParser(no_files, delete_excluded=excluded and rng.random() < 0.5)
    for text in texts:
        parser.filter(text.encode())
    client_filter_list(parser, FilterTraits(delete_mode=True, delete_excluded=excluded))
    rules = RuleSet(Context(), parser.rules)
    rules.set_base(str(target).encode())
    answers = rules.check_many([name.encode() for name in NAMES], RECEIVER)
    assert deleted == sorted(name for name, answer in zip(NAMES, answers, strict=True) if answer >= 0), (seed, texts)


@needs_rsync
@pytest.mark.parametrize("seed", range(40))
def test_random_rules_protect_what_rsync_protects(seed: int, tmp_path: pathlib.Path) -> None:
    compare_deletion(seed, tmp_path)


@needs_rsync
@pytest.mark.parametrize("text", ["x y", "- ", "-q a", "!x", ":+- f", "Hs x", "merged f", ". /nonexistent/f"])
def test_rule_errors_are_rsync_s(text: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(PrsyncError) as caught:
        rule_set(text)
    result = subprocess.run([str(RSYNC), f"--filter={text}", "-n", str(tmp_path), "x"], capture_output=True, text=True)
    first = result.stderr.splitlines()[0].removeprefix("rsync: [client] ")
    assert (caught.value.text, int(caught.value.code)) == (first, result.returncode)


def test_check_many_names_is_fast_enough_to_be_ignored() -> None:
    """A guard against a change of order, not a benchmark: 200,000 names by 20 rules take about 30 ms."""
    rules = rule_set(*[f"- *.x{i}" for i in range(18)], "- /a/**", "+ b/c")
    names = [b"dir/sub%d/name%d.txt" % (i % 50, i) for i in range(20000)]
    assert rules.check_many(names, SENDER) == [0] * len(names)
    assert lib.PS_RULES_MAIN == 0
