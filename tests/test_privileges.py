"""What is read of the process itself."""

from __future__ import annotations

import builtins
import os
from typing import Any

import pytest

from prsync.privileges import read_umask


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o137])
@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_read_umask_leaves_it_as_it_is(umask: int, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise FileNotFoundError

    before = os.umask(umask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(*((os, "umask", refuse) if told else (builtins, "open", refuse)))
            assert read_umask() == umask
        assert os.umask(before) == umask
    finally:
        os.umask(before)
