"""Leases on disk: SQLAlchemy Core on SQLite, in the folder of the module's user. Only the tracker imports this.

What is kept are lives in seconds, never points in time: after a restart a lease lives once more as long as it was granted for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from prsync.errors import ExitCode, PrsyncError
from prsync.protocol.frames import Verdict
from prsync.registry.leases import Record

VERSION = 1
METADATA = sa.MetaData()
LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("url", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("nonce", sa.LargeBinary, nullable=False),
    sa.Column("seconds", sa.Integer, nullable=False),
    sa.Column("prefixes", sa.Text, nullable=False),  # a JSON list
    sa.Column("capacity", sa.Integer, nullable=False),
    sa.Column("draining", sa.Boolean, nullable=False),
    sa.Column("drained", sa.Boolean, nullable=False),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("verdict", sa.Integer),
)


class StorageError(PrsyncError):
    """The file of leases cannot be used; the text says what to do."""

    code = ExitCode.FILE_IO


def preload() -> None:
    """Loads what SQLAlchemy would load at its first use, for a process that is about to give up its rights."""
    storage = LeaseStorage(":memory:")
    storage.save((Record("", "", b"", 0, 0.0, checked=True),))
    storage.load()


class LeaseStorage:
    """The file of one module's leases. `path` is made where it is missing. Raises StorageError everywhere."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._engine = sa.create_engine(sa.URL.create("sqlite", database=path))
        try:
            with self._engine.begin() as connection:
                found = connection.execute(sa.text("PRAGMA user_version")).scalar_one()
                if found == 0:
                    METADATA.create_all(connection)
                    connection.execute(sa.text(f"PRAGMA user_version = {VERSION}"))
        except sa.exc.SQLAlchemyError as error:
            raise self._failure(error) from None
        if found not in (0, VERSION):
            self.close()
            raise StorageError(f"the leases in {path} have the version {found}, known is {VERSION}: remove the file")

    def close(self) -> None:
        self._engine.dispose()

    def load(self) -> list[Record]:
        """The leases as they were granted; their times are the caller's to set (LeaseBook.restore)."""
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(sa.select(LEASES)).mappings().all()
            return [
                Record(
                    row["url"], row["address"], row["nonce"], row["seconds"], 0.0,
                    prefixes=tuple(json.loads(row["prefixes"])), capacity=row["capacity"], checked=True,
                    draining=row["draining"], drained=row["drained"], received=row["received"],
                    verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
                )
                for row in rows
            ]  # fmt: skip
        except (sa.exc.SQLAlchemyError, ValueError) as error:
            raise self._failure(error) from None

    def save(self, records: Sequence[Record]) -> None:
        """Replaces what is stored by the leases among `records`; requests that are still checked are not kept."""
        rows = [
            {
                "url": r.url,
                "address": r.address,
                "nonce": r.nonce,
                "seconds": r.seconds,
                "prefixes": json.dumps(r.prefixes),
                "capacity": r.capacity,
                "draining": r.draining,
                "drained": r.drained,
                "received": r.received,
                "verdict": None if r.verdict is None else int(r.verdict),
            }
            for r in records
            if r.checked
        ]
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.delete(LEASES))
                if rows:
                    connection.execute(sa.insert(LEASES), rows)
        except sa.exc.SQLAlchemyError as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> StorageError:
        why = str(getattr(error, "orig", None) or error).splitlines()[0]
        return StorageError(f"the leases in {self._path} cannot be used: {why}")
