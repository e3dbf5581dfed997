"""Modes and times by rsync's rules: dest_mode, same_time, --chmod."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsync.engine.context import Context
from prsync.engine.native import lib


@pytest.mark.parametrize(
    ("file_mode", "stat_mode", "exists", "executability", "expected"),
    [
        (0o100755, 0, False, 0, 0o100755),
        (0o106777, 0, False, 0, 0o100755),
        (0o100755, 0o100640, True, 0, 0o100640),
        (0o100755, 0o100640, True, 1, 0o100750),
        (0o100644, 0o100751, True, 1, 0o100640),
        (0o100755, 0o100711, True, 1, 0o100711),
        (0o040755, 0o040700, True, 1, 0o040700),
    ],
)
def test_dest_mode_follows_what_is_there(file_mode: int, stat_mode: int, exists: bool, executability: int, expected: int) -> None:
    context = Context()
    context.options.executability = executability
    assert lib.ps_attrs_dest_mode(context.handle, file_mode, stat_mode, 0o755, exists) == expected


@pytest.mark.parametrize(
    ("window", "a", "b", "same"),
    [
        (0, (5, 1), (5, 2), True),
        (0, (5, 0), (6, 0), False),
        (-1, (5, 1), (5, 2), False),
        (-1, (5, 2), (5, 2), True),
        (2, (5, 0), (7, 9), True),
        (2, (8, 0), (5, 0), False),
    ],
)
def test_same_time_by_window(window: int, a: tuple[int, int], b: tuple[int, int], same: bool) -> None:
    context = Context()
    context.options.modify_window = window
    assert lib.ps_attrs_same_time(context.handle, *a, *b) == same


@given(st.integers(0, 0o7777), st.integers(0, 0o7777), st.integers(0, 0o7777), st.booleans())
def test_chmod_applies_masks_and_keeps_the_type(mode: int, mode_and: int, mode_or: int, is_dir: bool) -> None:
    context = Context()
    context.set_chmod([(mode_and, mode_or, 0)])
    kind = 0o040000 if is_dir else 0o100000
    assert lib.ps_chmod_tweak(context.handle, kind | mode) == kind | (mode & mode_and) | mode_or


@pytest.mark.parametrize(
    ("operation", "mode", "expected"),
    [
        ((0o7777, 0o111, lib.PS_CHMOD_X_KEEP), 0o100644, 0o100644),
        ((0o7777, 0o111, lib.PS_CHMOD_X_KEEP), 0o100744, 0o100755),
        ((0o7777, 0o111, lib.PS_CHMOD_X_KEEP), 0o040700, 0o040711),
        ((0o7777, 0o022, lib.PS_CHMOD_DIRS_ONLY), 0o100644, 0o100644),
        ((0o7777, 0o022, lib.PS_CHMOD_FILES_ONLY), 0o040755, 0o040755),
        ((0o7707, 0o7777, lib.PS_CHMOD_COPY_U | lib.PS_CHMOD_DST_G), 0o100604, 0o100664),
        ((0o7777, 0o7777, lib.PS_CHMOD_COPY_G | lib.PS_CHMOD_DST_O | lib.PS_CHMOD_COPY_SUB), 0o100646, 0o100642),
    ],
)
def test_chmod_special_forms(operation: tuple[int, int, int], mode: int, expected: int) -> None:
    context = Context()
    context.set_chmod([operation])
    assert lib.ps_chmod_tweak(context.handle, mode) == expected
