"""The folders of helpers: whoever may get there, and whose they must be."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest

from prsync.errors import FileError
from prsync.session.helpers.index_place import IndexPlace
from prsync.session.helpers.opening import prepare


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_prepare_makes_folders_that_the_modules_user_can_reach(tmp_path: pathlib.Path, umask: int) -> None:
    place = IndexPlace(str(tmp_path / "state" / "index"), "m")
    before = os.umask(umask)
    try:
        prepare(place, None, None)
        prepare(place, None, None)  # what is there stays
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (tmp_path / "state", place.parent, place.folder)]
    assert modes == [0o755, 0o755, 0o700]


def test_prepare_refuses_what_is_no_folder(tmp_path: pathlib.Path) -> None:
    place = IndexPlace(str(tmp_path), "m")
    pathlib.Path(place.folder).write_text("")
    with pytest.raises(FileError, match="is no folder of the module's user"):
        prepare(place, None, None)
