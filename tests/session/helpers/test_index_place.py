"""Where state lies: one place for each module, by names that the file system and sockets can hold."""

from __future__ import annotations

import pathlib

from prsync.config.model import load_config
from prsync.session.helpers.index_place import index_place, tracker_place


def test_places_of_modules_with_long_names_differ(tmp_path: pathlib.Path) -> None:
    names = ["a" * 200, "a" * 200 + "b", "short", "sh/ort", "ü" * 50]
    conf = tmp_path / "conf"
    modules = "".join(f"[{name}]\npath = /srv\n" for name in names)
    conf.write_text(f"state dir = {tmp_path}\n{modules}")
    config = load_config(str(conf), {})
    places = [index_place(config, module, {}) for module in config.modules]
    assert len({place.name for place in places}) == len(names)
    assert all(len(tracker_place(place).socket_name) <= 82 and "/" not in place.name for place in places)
