"""The command line of prsync-mirror, and what it writes for its daemon."""

from __future__ import annotations

import pathlib

import pytest

from prsync.commands.main import mirror_main
from prsync.commands.mirror import parse_mirror_options
from prsync.config.model import load_config
from prsync.errors import ConfigError, FileError
from prsync.session.mirror.lease import AGAIN_FIRST, AGAIN_MOST, LeaseKeeper
from prsync.session.mirror.place import MirrorPlace, Service

PLACE = ("rsync://origin:8730/m", "/srv/m")


def test_own_options_are_taken_out_of_the_pulls() -> None:
    given = parse_mirror_options(["--interval", "60", "-aH", "--port=8731", "--exclude", "x", "--capacity=5", *PLACE], {})
    assert given.pull == ("-aH", "--exclude", "x", *PLACE)
    assert given.numbers == {"interval": 60, "port": 8731, "capacity": 5}
    assert (given.module, given.target.host, given.target.port, given.folder) == ("m", "origin", 8730, "/srv/m")


def test_pull_without_options_is_archive_with_deletion_from_the_given_address() -> None:
    given = parse_mirror_options(["--address=192.0.2.1", *PLACE], {})
    assert given.pull == ("--address=192.0.2.1", "-a", "--delete", *PLACE)
    assert given.options.bind_address == "192.0.2.1"


@pytest.mark.parametrize("words, line", [
    ([], "one source and one destination"),
    (["rsync://origin/m"], "one source and one destination"),
    (["rsync://origin/m/below", "/srv"], "mirrors of a part of a module are not supported yet"),
    (["rsync://origin/m", "rsync://origin/n", "/srv"], "one source and one destination"),
    (["/local", "/srv"], "a mirror pulls from a daemon"),
    (["-an", *PLACE], "--dry-run"),
    (["-a", "--list-only", *PLACE], "--list-only"),
    (["-aR", *PLACE], "--relative"),
    (["-t", *PLACE], "without -r or -a"),
    (["--port=70000", *PLACE], "--port=70000: must be a number from 1 to 65535"),
    (["--interval=x", *PLACE], "--interval=x"),
    (["--interval"], "--interval: missing argument"),
    (["--unknown", *PLACE], "--unknown"),
])  # fmt: skip
def test_bad_command_lines_are_one_line(words: list[str], line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert mirror_main(words) in (1, 4)
    assert line in capfd.readouterr().err


def service(**changes: object) -> Service:
    fields: dict[str, object] = {"module": "m", "folder": "/srv/m", "origin": "rsync://origin/m", "port": 8730}
    return Service(**{**fields, **changes})  # type: ignore[arg-type]


def test_configuration_serves_the_folder_read_only_with_digests(tmp_path: pathlib.Path) -> None:
    place = MirrorPlace(str(tmp_path), service(module="my module", address="192.0.2.1", capacity=7))
    index = place.write(bytes(16))
    config = load_config(place.config, {})
    module = config.module("my module")
    assert module and not config.problems
    assert module.values.text("path") == "/srv/m" and module.values.flag("read only")
    assert module.values.flag3("digest index") and module.values.text("nominate") == "off"
    assert module.values.number("max connections") == 7 and config.start.text("address") == "192.0.2.1"
    assert index.parent.startswith(place.folder)


@pytest.mark.parametrize("change", [{"folder": "/srv/a\nb"}, {"folder": "/srv/a "}, {"module": "a]b"}])
def test_names_that_no_configuration_can_hold_are_refused(tmp_path: pathlib.Path, change: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        MirrorPlace(str(tmp_path), service(**change)).write(bytes(16))


def test_folder_is_served_once(tmp_path: pathlib.Path) -> None:
    first = MirrorPlace(str(tmp_path), service())
    with pytest.raises(FileError, match="serves /srv/m already"):
        MirrorPlace(str(tmp_path), service())
    MirrorPlace(str(tmp_path), service(folder="/srv/n"))
    assert first


def test_keeper_requests_renews_at_a_third_and_backs_off() -> None:
    keeper = LeaseKeeper()
    assert keeper.step.name == "REQUEST" and keeper.due == 0
    assert [keeper.refused(0.0) for _ in range(8)][:3] == [AGAIN_FIRST, 20, 40] and keeper.due == AGAIN_MOST
    keeper.granted(90, 1000.0)
    assert keeper.step.name == "RENEW" and keeper.due == 1030
    assert keeper.failed(1030.0) == 10 and keeper.held
    assert keeper.refused(1040.0) == 0 and keeper.step.name == "REQUEST" and keeper.due == 1040


def test_keeper_whose_lease_ran_out_requests_again() -> None:
    keeper = LeaseKeeper()
    keeper.granted(90, 0.0)
    keeper.failed(90.0)
    assert keeper.step.name == "REQUEST"
