"""Loads the C core. The only module that imports prsync._native."""

from __future__ import annotations

from typing import Any

from prsync import _native

ffi: Any = _native.ffi
lib: Any = _native.lib
