"""rsyncd.conf is read as rsync's loadparm.c and params.c read it."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.config.model import Config, expand, load_config
from prsync.config.table import PARAMETERS, Kind, Scope, Support

ENVIRONMENT = {"HOME": "/home/op", "WORD": "yes"}


@pytest.fixture
def load(tmp_path: pathlib.Path):  # type: ignore[no-untyped-def]
    def loader(text: str, *overrides: str, **files: str) -> Config:
        for name, content in files.items():
            path = tmp_path / name.replace("__", ".").replace("_in_", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        (tmp_path / "rsyncd.conf").write_text(text.replace("DIR", str(tmp_path)))
        return load_config(str(tmp_path / "rsyncd.conf"), ENVIRONMENT, overrides)

    return loader


VALUES = [
    ("comment = plain", "comment", "plain"),
    ("comment=no spaces around", "comment", "no spaces around"),
    ("  comment =  in  the middle  ", "comment", "in  the middle"),
    ("comment = with = another", "comment", "with = another"),
    ("comment = first \\\n  second", "comment", "first   second"),
    ("comment = first\\\n\n", "comment", "first"),
    ("comment = kept \\\n\n", "comment", "kept "),
    ("com\\\nment = name goes on", "comment", "name goes on"),
    ("comment = carriage\r\n", "comment", "carriage"),
    ("comment =", "comment", ""),
    ("comment = # not a comment", "comment", "# not a comment"),
    ("COMMENT = case", "comment", "case"),
    ("c o m m e n t = blanks", "comment", "blanks"),
    ("comment = at the end of the file", "comment", "at the end of the file"),
    ("# comment = no\ncomment = yes", "comment", "yes"),
    ("; comment = no\ncomment = yes", "comment", "yes"),
    ("\\ comment = after a lone backslash", "comment", "after a lone backslash"),
    ("comment = one\ncomment = two", "comment", "two"),
    ("exclude = *.o /tmp/ %HOME%", "exclude", "*.o /tmp/ /home/op"),
    ("path = /a/b///", "path", "/a/b"),
    ("path = /", "path", "/"),
    ("comment = caf\u00e9", "comment", "caf\u00e9"),
]


@pytest.mark.parametrize(("line", "name", "value"), VALUES)
def test_text_parameter_is_read_as_rsync_does(load, line: str, name: str, value: str) -> None:  # type: ignore[no-untyped-def]
    config = load(f"[mod]\npath = /srv\n{line}")
    assert config.problems == ()
    assert config.modules[0].values.text(name, ENVIRONMENT) == value


FLAGS = [
    ("yes", True), ("TRUE", True), ("1", True), ("no", False), ("False", False), ("0", False), ("y e s", True), ("%WORD%", True),
]  # fmt: skip


@pytest.mark.parametrize(("word", "value"), FLAGS)
def test_boolean_is_read(load, word: str, value: bool) -> None:  # type: ignore[no-untyped-def]
    assert load(f"list = {word}\n[m]\npath=/x").modules[0].values.flag("list") is value


@pytest.mark.parametrize(("word", "value"), [("unset", None), ("-1", None), ("yes", True), ("no", False)])
def test_three_valued_boolean_is_read(load, word: str, value: bool | None) -> None:  # type: ignore[no-untyped-def]
    assert load(f"use chroot = {word}\n[m]\npath=/x").modules[0].values.flag3("use chroot") is value


def test_malformed_boolean_keeps_the_default_and_is_named(load) -> None:  # type: ignore[no-untyped-def]
    config = load("read only = perhaps\n[m]\npath=/x")
    assert config.modules[0].values.flag("read only") is True
    assert [p.place.line for p in config.problems] == [1] and not config.fatal


def test_number_with_text_behind_it_is_taken_and_named(load) -> None:  # type: ignore[no-untyped-def]
    config = load("max connections = 5 # per host\n[m]\npath=/x")
    assert config.modules[0].values.number("max connections") == 5
    assert "5 is taken" in config.problems[0].text


def test_modules_inherit_what_stands_before_them(load) -> None:  # type: ignore[no-untyped-def]
    config = load("timeout = 3\n[a]\npath=/a\n[global]\ntimeout = 4\n[b]\npath=/b\n[c]\npath=/c\ntimeout=5")
    assert [m.values.number("timeout") for m in config.modules] == [3, 4, 5]


def test_start_has_the_globals_before_the_first_module_only(load) -> None:  # type: ignore[no-untyped-def]
    config = load("port = 1000\n[a]\npath=/a\n[global]\nport = 2000\nmotd file = /m")
    assert (config.start.number("port"), config.globals.number("port")) == (1000, 2000)
    assert (config.start.text("motd file"), config.globals.text("motd file")) == ("", "/m")


def test_section_named_again_goes_on(load) -> None:  # type: ignore[no-untyped-def]
    config = load("[one  two]\npath=/a\n[ONETWO]\ncomment=more")
    assert [m.name for m in config.modules] == ["one two"]
    assert config.modules[0].values.text("comment") == "more"
    assert config.module("onetwo") is None, "a client must name it exactly"


def test_override_ends_the_global_section(load) -> None:  # type: ignore[no-untyped-def]
    config = load("port = 1\n[a]\npath=/a\n", "port=2", "comment= c")
    assert config.start.number("port") == 2
    assert config.modules[0].values.text("comment") == "c"


def test_include_gives_the_globals_back(load) -> None:  # type: ignore[no-untyped-def]
    config = load("comment = outer\n&include DIR/x.conf\n[b]\npath=/b", x__conf="comment = inner\n[a]\npath=/a\n")
    assert [(m.name, m.values.text("comment")) for m in config.modules] == [("a", "inner"), ("b", "outer")]


def test_merge_changes_the_current_section(load) -> None:  # type: ignore[no-untyped-def]
    config = load("[a]\npath=/a\n&merge DIR/x.inc\n", x__inc="comment = merged")
    assert config.modules[0].values.text("comment") == "merged"


def test_include_of_a_directory_takes_its_conf_files_in_order(load) -> None:  # type: ignore[no-untyped-def]
    config = load(
        "comment = outer\n&include = DIR/d\n",
        d_in_b__conf="[b]\npath=/b", d_in_a__conf="comment=mine\n[a]\npath=/a", d_in_c__inc="[c]\npath=/c",
    )  # fmt: skip
    assert [(m.name, m.values.text("comment")) for m in config.modules] == [("a", "mine"), ("b", "outer")]


FATAL = [
    ("fake super = yes", 1, "does not support"),
    ("\n\npre-xfer exec = /bin/true", 3, "does not support"),
    ("&include /nonexistent", 1, "No such file"),
    ("&import x", 1, "unknown directive"),
    ("[]", 1, "empty section name"),
    ("[abc", 1, "ends within"),
    ("[abc\ndef]", 1, "badly formed section"),
    ("[a/b]\npath=/", 1, "slash"),
    ("= value", 1, "without a name"),
    ("[m]\npath=/\nnominate = all", 3, "must be one of"),
    ("[m]\npath=/\nmax nominate connections = many", 3, "must be a number"),
    ("[m]\npath=/\nhosts allow = 10.0.0.1, @group", 3, "netgroup"),
    ("&include DIR/rsyncd.conf", 1, "nested"),
]


@pytest.mark.parametrize(("text", "line", "says"), FATAL)
def test_fatal_problem_names_file_and_line(load, text: str, line: int, says: str) -> None:  # type: ignore[no-untyped-def]
    config = load(text)
    assert [(p.place.line, says in p.text) for p in config.fatal] == [(line, True)]
    assert "\n" not in str(config.fatal[0])


IGNORED = [
    ("bogus = 1", 1, "unknown parameter"),
    ("a line without an equals sign\n", 1, "badly formed line"),
    ("[m]\npath=/\nport = 3", 3, "global parameter"),
    ("[m]\ncomment = no path", 1, "no path"),
    ("syslog facility = nowhere", 1, "facility"),
]


@pytest.mark.parametrize(("text", "line", "says"), IGNORED)
def test_ignored_problem_names_file_and_line(load, text: str, line: int, says: str) -> None:  # type: ignore[no-untyped-def]
    config = load(text)
    assert [(p.place.line, p.fatal, says in p.text) for p in config.problems] == [(line, False, True)]


def test_all_problems_are_listed(load) -> None:  # type: ignore[no-untyped-def]
    config = load("bogus = 1\nfake super = 1\nother = 2\n&merge DIR/y.inc\n[m]\npath = /\n", y__inc="\nmore = 3")
    assert [(pathlib.Path(p.place.path).name, p.place.line) for p in config.problems] == [
        ("rsyncd.conf", 1), ("rsyncd.conf", 2), ("rsyncd.conf", 3), ("y.inc", 2),
    ]  # fmt: skip


def test_missing_file_is_one_fatal_line() -> None:
    assert len(load_config("/nonexistent/rsyncd.conf", {}).fatal) == 1


def test_change_on_disk_is_seen(load, tmp_path: pathlib.Path) -> None:  # type: ignore[no-untyped-def]
    config = load("&include DIR/d\n", d_in_a__conf="[a]\npath=/a")
    assert not config.changed_on_disk()
    (tmp_path / "d" / "b.conf").write_text("[b]\npath=/b")
    assert config.changed_on_disk()


def test_mirror_is_repeatable(load) -> None:  # type: ignore[no-untyped-def]
    config = load("[m]\npath=/\nmirror = rsync://a/m\nmirror = rsync://b/m")
    assert config.modules[0].values.texts("mirror") == ("rsync://a/m", "rsync://b/m")


@pytest.mark.parametrize(
    ("text", "value"),
    [("%HOME%/x", "/home/op/x"), ("%NONE%", "%NONE%"), ("100%", "100%"), ("%home%", "%home%"), ("%HOME", "%HOME"),
     ("%%HOME%", "%/home/op")],
)
def test_expansion_leaves_what_it_does_not_know(text: str, value: str) -> None:
    assert expand(text, ENVIRONMENT) == value


def test_table_has_every_parameter_of_rsync() -> None:
    assert len([p for p in PARAMETERS.values() if not p.ours]) == 59
    assert all(p.name == p.name.lower() for p in PARAMETERS.values())
    not_yet = [p for p in PARAMETERS.values() if p.support is Support.NOT_YET]
    assert not_yet and all(not p.ours for p in not_yet)
    assert PARAMETERS["PIDFILE"].scope is Scope.GLOBAL and PARAMETERS["MIRROR"].kind is Kind.LIST


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".conf") as file:
        file.write(data.replace(b"&", b"+"))
        file.flush()
        for problem in load_config(file.name, {}).problems:
            assert "\n" not in str(problem)
