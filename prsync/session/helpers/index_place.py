"""Where a module's digest index and its registry lie, and where their helpers listen: in `state dir`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from urllib.parse import quote

import attrs

from prsync.config.model import Config, Module, Values

SYSTEM_STATE = "/var/lib/prsync"
NAME_LIMIT = 60  # characters of a module's name that a file's name shows: a socket's has room for about a hundred in all


@attrs.frozen
class IndexPlace:
    """The index lies in a folder that belongs to the module's user; the socket beside it, to whoever started the daemon."""

    parent: str
    name: str

    @property
    def folder(self) -> str:
        return os.path.join(self.parent, self.name)

    @property
    def index(self) -> str:
        return os.path.join(self.folder, "digests")

    @property
    def socket_name(self) -> str:
        return f"{self.name}.sock"


class TrackerPlace(IndexPlace):
    """The tracker's folder and socket, beside those of the index: its user may be another one."""

    @property
    def folder(self) -> str:
        return os.path.join(self.parent, f"{self.name}.registry")

    @property
    def leases(self) -> str:
        return os.path.join(self.folder, "leases")

    @property
    def socket_name(self) -> str:
        return f"{self.name}.tracker"


def registers(values: Values) -> bool:
    """Whether mirrors can register themselves."""
    return values.text("nominate") == "registered"


def tracker_place(place: IndexPlace) -> TrackerPlace:
    return TrackerPlace(place.parent, place.name)


def nonce_file(place: IndexPlace) -> str:
    """Holds the nonces of the lease requests that this machine has sent for the module, 16 bytes each."""
    return os.path.join(place.parent, f"{place.name}.nonces")


def nominates(values: Values) -> bool:
    """Whether the module names mirrors to clients that can use them."""
    choice = values.text("nominate")
    return choice == "registered" or (choice == "listed" and bool(values.texts("mirror")))


def keeps_digests(values: Values) -> bool:
    """`digest index`; where it is not set, modules that nominate have one."""
    wanted = values.flag3("digest index")
    return nominates(values) if wanted is None else wanted


def state_dir(config: Config, environment: Mapping[str, str]) -> str:
    """`state dir`, made absolute; by default the system's, or the user's where we are not root."""
    return os.path.abspath(config.start.text("state dir", environment) or default_state_dir(environment))


def default_state_dir(environment: Mapping[str, str]) -> str:
    if os.geteuid() == 0:
        return SYSTEM_STATE
    home = environment.get("XDG_STATE_HOME") or os.path.join(environment.get("HOME") or "/", ".local", "state")
    return os.path.join(home, "prsync")


def index_place(config: Config, module: Module, environment: Mapping[str, str]) -> IndexPlace:
    """`environment`: the daemon's own, for its state dir."""
    path = module.values.text("path")  # not expanded: each client's environment differs
    shown = quote(module.name, safe=" ", errors="surrogateescape")
    told_apart = path if len(shown) <= NAME_LIMIT else f"{path}\0{module.name}"
    mark = hashlib.sha256(told_apart.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return IndexPlace(os.path.join(state_dir(config, environment), "index"), f"{shown[:NAME_LIMIT]}-{mark}")
