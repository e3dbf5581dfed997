"""The user and the groups that a module's processes run as: its `uid` and `gid` (clientserver.c:rsync_module)."""

from __future__ import annotations

import os

from prsync.privileges import all_groups, group_id, user_id
from prsync.session.daemon.admission.authentication import split_config_list
from prsync.session.daemon.admission.text_phase import Refusal

NOBODY_USER = "nobody"


def module_identity(user: str, group: str) -> tuple[int | None, tuple[int, ...]]:
    """(uid, gids) of the two parameters' values; None and () leave things as they are. Raises Refusal for unknown ones."""
    am_root = os.geteuid() == 0
    uid = _uid(user, am_root)
    return uid, _groups(group, os.getuid() if uid is None else uid, am_root)


def _uid(name: str, am_root: bool) -> int | None:
    name = name or (NOBODY_USER if am_root else "")
    if not name:
        return None
    uid = user_id(name)
    if uid is None:
        raise Refusal(f"invalid uid {name}", f"Invalid uid {name}")
    return uid


def _nobody_group() -> str:
    return "nobody" if group_id("nogroup") is None else "nogroup"


def _groups(setting: str, uid: int, am_root: bool) -> tuple[int, ...]:
    groups: list[int] = []
    for number, name in enumerate(split_config_list(setting) or ([_nobody_group()] if am_root else [])):
        if name == "*" and number == 0:
            try:
                groups += all_groups(uid)
            except KeyError:
                raise Refusal("getpwuid failed", f"rsync: [server] getpwuid failed for uid {uid}") from None
            continue
        gid = group_id(name)
        if gid is None:
            raise Refusal(f"invalid gid {name}", f"Invalid gid {name}")
        groups.append(gid)
    return tuple(groups)
