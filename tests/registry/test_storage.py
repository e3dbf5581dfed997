from __future__ import annotations

import pathlib
import sqlite3
import subprocess
import sys

import pytest

from prsync.protocol.frames import Verdict
from prsync.registry.leases import Record
from prsync.registry.storage import LeaseStorage, StorageError

LEASE = Record(
    "rsync://192.0.2.7/m", "192.0.2.7", bytes(16), 900, 0.0, prefixes=("a", "b/ü"), capacity=3, checked=True, draining=True,
    received=1 << 40, verdict=Verdict.STALE,
)  # fmt: skip
REQUEST = Record("rsync://192.0.2.8/m", "192.0.2.8", bytes(16), 900, 100.0)


def test_leases_come_back_and_requests_do_not(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "leases")
    first = LeaseStorage(path)
    first.save([LEASE, REQUEST])
    first.save([LEASE, REQUEST])
    first.close()
    assert LeaseStorage(path).load() == [LEASE]


def test_unknown_version_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "leases"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 77")
    with pytest.raises(StorageError, match="have the version 77, known is 1: remove the file"):
        LeaseStorage(str(path))


def test_damaged_file_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "leases"
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(StorageError, match="cannot be used: file is not a database"):
        LeaseStorage(str(path))


def test_storage_loads_no_module_once_preloaded(tmp_path: pathlib.Path) -> None:
    script = (
        "import sys; from prsync.registry.storage import LeaseStorage, preload; preload(); before = set(sys.modules); "
        "storage = LeaseStorage(sys.argv[1]); storage.load(); storage.save(()); print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "leases")], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
