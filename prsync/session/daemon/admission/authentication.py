"""Authentication of a daemon's client by challenge (authenticate.c): `auth users`, `secrets file`, `strict modes`.

Pure but for the secrets file and the user database: the worker sends and reads the lines.
"""

from __future__ import annotations

import base64
import grp
import os
import pwd
import re
import secrets
import stat
from collections.abc import Iterator, Sequence

import attrs

from prsync.engine.rules import wildmatch
from prsync.privileges import all_groups, open_trusted
from prsync.protocol.auth import OLD_MD4, digest_of

DIGESTS = ("sha512", "sha256", "sha1", "md5", "md4")  # strongest first; the greeting's list
SECRETS_LIMIT = 1024  # bytes of a line in the secrets file


class AuthRefused(Exception):
    """The reason is for the log only; the client is told no more than that it failed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.frozen
class Granted:
    user: str
    read_only: bool | None  # by :ro or :rw of the rule; None: the module decides


def choose_digest(client_list: str | None, protocol: int) -> str | None:
    """The first digest of the client's list that we have (compat.c:negotiate_daemon_auth); old clients send no list."""
    if client_list is None:
        return "md5" if protocol >= 30 else OLD_MD4
    return next((name for name in client_list.split() if name in DIGESTS), None)


def too_weak(digest: str, floor: str) -> str | None:
    """Why the digest does not meet the module's `auth digest`; None when it does."""
    if not floor:
        return None
    if floor not in DIGESTS:
        return f"the configured 'auth digest = {floor}' is not a supported digest on this build"
    name = "md4" if digest == OLD_MD4 else digest
    if DIGESTS.index(name) > DIGESTS.index(floor):
        return f"negotiated auth digest {name} is weaker than the required 'auth digest = {floor}'"
    return None


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def encode(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii").rstrip("=")


def make_challenge(digest: str) -> str:
    return encode(digest_of(digest, secrets.token_bytes(32)))


def answer(digest: str, password: bytes, challenge: str) -> str:
    """What a client that knows the password answers (authenticate.c:generate_hash)."""
    return encode(digest_of(digest, password + challenge.encode("ascii")))


def split_config_list(value: str) -> list[str]:
    """Words at white space and commas; a leading comma means: at commas only (util1.c:conf_strtok)."""
    text = value.strip()
    if text.startswith(","):
        return [word.strip() for word in text.split(",") if word.strip()]
    return [word for word in re.split(r"[ ,\t\r\n]+", text) if word]


def authenticate(rules: str, secrets_file: str, strict: bool, digest: str, challenge: str, line: str) -> Granted:
    """Judges the client's line, `user answer`. Raises AuthRefused, its reason being the end of the log's line."""
    user, space, response = line.partition(" ")
    if not space:
        raise AuthRefused(": invalid challenge response")
    try:
        option, group = _matching_rule(rules, user)
        _check_secret(secrets_file, strict, user, group, digest, challenge, response)
    except AuthRefused as refused:
        raise AuthRefused(f" for {user}: {refused.reason}") from None
    return Granted(user, {"ro": True, "rw": False}.get(option))


def _matching_rule(rules: str, user: str) -> tuple[str, str | None]:
    """(option, group) of the first rule for the user: "ro", "rw" or ""; the group that matched an @rule."""
    groups: list[str] | None = None
    for word in split_config_list(rules):
        name, _, option = word.partition(":")
        option = {"d": "deny", "ro": "ro", "rw": "rw"}.get("d" if option[:1].lower() == "d" else option[:2].lower(), "")
        group = None
        if name.startswith("@"):
            groups = _groups_of(user) if groups is None else groups
            group = next((g for g in groups if wildmatch(_raw(name[1:]), _raw(g))), None)
        if group is not None or (not name.startswith("@") and wildmatch(_raw(name), _raw(user))):
            if option == "deny":
                raise AuthRefused("denied by rule")
            return option, group
    raise AuthRefused("no matching rule")


def _groups_of(user: str) -> list[str]:
    try:
        ids: Sequence[int] = all_groups(pwd.getpwnam(user).pw_uid)
    except (KeyError, ValueError):
        return []
    names = []
    for gid in ids:
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue
    return names


def _check_secret(path: str, strict: bool, user: str, group: str | None, digest: str, challenge: str, response: str) -> None:
    lines = _secrets(path, strict)
    if user.startswith("#"):
        raise AuthRefused("invalid username")
    wanted: dict[bool, bytes] = {False: _raw(user)}
    if group is not None:
        wanted[True] = _raw(group)
    reason = "secret not found"
    for line in lines:
        is_group = line.startswith(b"@")
        name, colon, password = line.removeprefix(b"@").partition(b":")
        if not colon or wanted.get(is_group) != name:
            continue
        if secrets.compare_digest(answer(digest, password, challenge).encode(), _raw(response)):
            return
        reason = "password mismatch"
        del wanted[is_group]  # only the first line of a name counts
    raise AuthRefused(reason)


def _secrets(path: str, strict: bool) -> Iterator[bytes]:
    """The lines of the secrets file. Raises AuthRefused when it cannot or must not be used."""
    if not path:
        raise AuthRefused("no secrets file")
    try:
        file = os.fdopen(open_trusted(path, os.O_RDONLY), "rb")
    except OSError:
        raise AuthRefused("no secrets file") from None
    with file:
        status = os.fstat(file.fileno())
        if strict and status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise AuthRefused("ignoring secrets file: it must not be other-accessible (see strict modes option)")
        if strict and os.geteuid() == 0 and status.st_uid != 0:
            raise AuthRefused("ignoring secrets file: it must be owned by root when running as root (see strict modes)")
        return iter([line for line in re.split(rb"[\r\n]+", file.read()) if line and len(line) < SECRETS_LIMIT])
