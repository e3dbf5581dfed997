"""Authentication: rules, secrets file and digests as authenticate.c has them; and with the real rsync."""

import os
import pathlib
from collections.abc import Callable

import pytest
from daemon_harness import Daemon

from prsync.session.daemon.admission.authentication import (
    DIGESTS,
    AuthRefused,
    Granted,
    answer,
    authenticate,
    choose_digest,
    make_challenge,
    split_config_list,
    too_weak,
)


@pytest.fixture
def secrets_file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "secrets"
    path.write_text("# a comment\nann:apple\nbob:banana\r\nann:second line does not count\n@root:shared\ncol:on:inside\n#x:y\n")
    path.chmod(0o600)
    return path


def judge(path: pathlib.Path, rules: str, user: str, password: str, digest: str = "sha512", strict: bool = True) -> Granted | str:
    challenge = make_challenge(digest)
    try:
        line = f"{user} {answer(digest, password.encode(), challenge)}"
        return authenticate(rules, str(path), strict, digest, challenge, line)
    except AuthRefused as refused:
        return refused.reason


RULES = [
    ("ann", "ann", "apple", Granted("ann", None)),
    ("bob, ann", "ann", "apple", Granted("ann", None)),
    ("a*", "ann", "apple", Granted("ann", None)),
    ("ann:ro", "ann", "apple", Granted("ann", True)),
    ("ann:RW", "ann", "apple", Granted("ann", False)),
    ("ann:rubbish", "ann", "apple", Granted("ann", None)),
    ("ann:deny *", "ann", "apple", " for ann: denied by rule"),
    ("ann:d", "ann", "apple", " for ann: denied by rule"),
    ("bob", "ann", "apple", " for ann: no matching rule"),
    ("*", "ann", "pear", " for ann: password mismatch"),
    ("*", "ann", "second line does not count", " for ann: password mismatch"),
    ("*", "dan", "x", " for dan: secret not found"),
    ("*", "col", "on:inside", Granted("col", None)),
    ("*", "#x", "y", " for #x: invalid username"),
    ("@root", "root", "shared", Granted("root", None)),
    ("@wheel", "root", "shared", " for root: no matching rule"),
    ("@r*:ro", "root", "shared", Granted("root", True)),
    ("@root", "nobody-of-this-name", "shared", " for nobody-of-this-name: no matching rule"),
]


@pytest.mark.parametrize(("rules", "user", "password", "expected"), RULES)
def test_rules_are_judged_as_rsync_does(
    secrets_file: pathlib.Path, rules: str, user: str, password: str, expected: object
) -> None:
    assert judge(secrets_file, rules, user, password) == expected


@pytest.mark.parametrize("digest", DIGESTS)
def test_every_digest_works(secrets_file: pathlib.Path, digest: str) -> None:
    assert judge(secrets_file, "ann", "ann", "apple", digest) == Granted("ann", None)
    assert isinstance(judge(secrets_file, "ann", "ann", "appl", digest), str)


def test_secrets_that_others_can_read_are_ignored_in_strict_mode(secrets_file: pathlib.Path) -> None:
    secrets_file.chmod(0o644)
    assert "other-accessible" in str(judge(secrets_file, "ann", "ann", "apple"))
    assert judge(secrets_file, "ann", "ann", "apple", strict=False) == Granted("ann", None)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_secrets_of_another_user_are_ignored_by_root(secrets_file: pathlib.Path) -> None:
    os.chown(secrets_file, 1234, 1234)
    assert "owned by root" in str(judge(secrets_file, "ann", "ann", "apple"))


def test_missing_secrets_file_refuses(tmp_path: pathlib.Path) -> None:
    assert judge(tmp_path / "none", "ann", "ann", "apple") == " for ann: no secrets file"


def test_line_without_answer_is_refused(secrets_file: pathlib.Path) -> None:
    with pytest.raises(AuthRefused) as caught:
        authenticate("*", str(secrets_file), True, "md5", make_challenge("md5"), "ann")
    assert caught.value.reason == ": invalid challenge response"


@pytest.mark.parametrize(
    ("offered", "protocol", "chosen"),
    [(None, 31, "md5"), ("md5 sha512", 32, "md5"), ("nominate1 sha256", 32, "sha256"), ("new", 32, None), ("", 32, None)],
)
def test_digest_is_the_first_of_the_client_that_we_have(offered: str | None, protocol: int, chosen: str | None) -> None:
    assert choose_digest(offered, protocol) == chosen


def test_digest_below_the_floor_is_named() -> None:
    assert too_weak("sha512", "sha256") is None
    assert too_weak("md5", "") is None
    assert "weaker than" in str(too_weak("md5", "sha1"))
    assert "not a supported digest" in str(too_weak("md5", "sha3"))


@pytest.mark.parametrize(
    ("text", "words"),
    [("a, b c", ["a", "b", "c"]), (" , two words ,x", ["two words", "x"]), ("", []), ("\ta\n", ["a"])],
)
def test_list_is_split_as_conf_strtok_does(text: str, words: list[str]) -> None:
    assert split_config_list(text) == words


def test_stock_client_is_authenticated(start_daemon: Callable[..., Daemon], secrets_file: pathlib.Path) -> None:
    daemon = start_daemon(f"[m]\npath = DIR\nauth users = ann\nsecrets file = {secrets_file}\n")
    for password, says in (("pear", "@ERROR: auth failed on module m"), ("apple", "")):
        environment = {**os.environ, "RSYNC_PASSWORD": password, "USER": "ann"}
        result = daemon.rsync(daemon.url.replace("//", "//ann@") + "m/", env=environment)
        assert (says in result.stderr) if says else ("auth failed" not in result.stderr)
    assert "auth failed on module m from UNDETERMINED (127.0.0.1) for ann: password mismatch" in daemon.log_text()
