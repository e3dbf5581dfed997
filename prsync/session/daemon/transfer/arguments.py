"""The arguments that a client sends after `@RSYNCD: OK` (io.c:read_args), and its paths within the module (util1.c)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import attrs

from prsync.engine.rules import wildmatch
from prsync.privileges import open_directory
from prsync.protocol.text import OUR_PROTOCOL
from prsync.session.daemon.admission.text_phase import Refusal, TextStream

MAX_ARGUMENTS = 16000  # MAX_ARGS × 16 (io.c:MAX_DAEMON_ARGS)
REQUEST_LIMIT = 1024  # bytes of the paths that are logged
MATCH_LIMIT = 100_000  # names that one client's wildcards may expand to

Excluded = Callable[[bytes, bool], bool]  # (path within the module, is a directory) → the daemon's rules exclude it


@attrs.frozen
class Received:
    """One batch of arguments: options, and what stands behind the "."."""

    options: tuple[bytes, ...]
    paths: tuple[bytes, ...]

    @property
    def request(self) -> bytes:
        """The paths as they are logged."""
        shown = b""
        for path in self.paths:
            if len(shown) >= REQUEST_LIMIT:
                break
            shown += (b" " if shown else b"") + path
        return shown


def read_arguments(text: TextStream, unescape: bool, protocol: int = OUR_PROTOCOL) -> Received:
    """Words up to an empty one, as the protocol ends them. `unescape`: a client protects options with backslashes, but not in
    the second batch of --secluded-args, which has NUL bytes always. Raises Refusal for too many, Hangup."""
    options: list[bytes] = []
    paths: list[bytes] = []
    behind_dot = False
    while word := text.word(protocol=protocol):
        if len(options) + len(paths) >= MAX_ARGUMENTS:
            raise Refusal("too many daemon arguments", "too many daemon arguments")
        if behind_dot:
            paths.append(word)
        else:
            options.append(remove_backslashes(word) if unescape else word)
            behind_dot = options[-1] == b"."
    return Received(tuple(options[:-1] if behind_dot else options), tuple(paths))


def remove_backslashes(word: bytes) -> bytes:
    """Each backslash but a last one goes, what follows it stays (io.c:unbackslash_arg)."""
    out = bytearray()
    at = 0
    while at < len(word):
        if word[at] == 0x5C and at + 1 < len(word):
            at += 1
        out.append(word[at])
        at += 1
    return bytes(out)


def split_at_module(argument: bytes, module: bytes, secluded: bool) -> list[bytes]:
    """The paths in one argument, without the module's name: old clients send several, parted by ` module/`
    (util1.c:glob_expand_module)."""
    rest = argument.removeprefix(module)
    return [rest] if secluded else [part for part in rest.split(b" " + module + b"/") if part] if rest else []


def clean_path(path: bytes, keep_dot_dirs: bool) -> bytes:
    """A path made relative to the module and kept within it (util1.c:sanitize_path): `..` never leads above the top, a
    slash at the end stays. keep_dot_dirs: with --relative a `/./` says where the names begin."""
    kept: list[bytes] = []
    ended = False  # by a component, not by a slash or by what was dropped
    for part in path.split(b"/"):
        ended = part not in (b"", b"..") and (part != b"." or keep_dot_dirs)
        if ended:
            kept.append(part)
        elif part == b".." and kept:
            kept.pop()
    return b"/".join(kept) + (b"" if ended or not kept else b"/") or b"."


class Expander:
    """Expands wildcards in paths beneath the module's directory (util1.c:glob_expand).

    `excluded`: what the daemon's rules hide does not match. `confined`: the process sees nothing but the module, so that
    symlinks may be followed wherever they lead.
    """

    def __init__(self, root: int, excluded: Excluded | None, confined: bool) -> None:
        self.root = root
        self.excluded = excluded
        self.confined = confined
        self.count = 0

    def expand(self, path: bytes) -> list[bytes]:
        """The existing names that a path's wildcards match, in the directory's order; the path itself when there are none."""
        if not any(char in path for char in b"*?["):
            return [path]
        found: list[bytes] = []
        self._match(path.split(b"/"), b"", found)
        return found or [path]

    def _match(self, parts: list[bytes], prefix: bytes, found: list[bytes]) -> None:
        part, rest = parts[0], parts[1:]
        if not any(char in part for char in b"*?["):
            if part in (b"", b".") or not rest or self._acceptable(prefix + part, bool(rest)):
                self._go_on(prefix + part, rest, found)
            return
        for name in self._names(prefix):
            if wildmatch(part, name) and self._acceptable(prefix + name, bool(rest)):
                self._go_on(prefix + name, rest, found)

    def _go_on(self, path: bytes, rest: list[bytes], found: list[bytes]) -> None:
        if rest:
            self._match(rest, path + b"/", found)
            return
        self.count += 1
        if self.count > MATCH_LIMIT:
            raise Refusal("too many names match the request")
        found.append(path)

    def _names(self, directory: bytes) -> list[bytes]:
        try:
            number = self._open(directory)
        except OSError:
            return []
        try:
            return [os.fsencode(name) for name in os.listdir(number)]
        except OSError:
            return []
        finally:
            os.close(number)

    def _open(self, directory: bytes) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        if self.confined:
            return os.open(directory or b".", flags, dir_fd=self.root)
        return open_beneath(self.root, directory, flags)

    def _acceptable(self, path: bytes, must_be_directory: bool) -> bool:
        try:
            mode = os.stat(path, dir_fd=self.root).st_mode
        except OSError:
            return False
        is_dir = stat.S_ISDIR(mode)
        return not (must_be_directory and not is_dir) and not (self.excluded and self.excluded(path, is_dir))


def open_beneath(root: int, path: bytes, flags: int) -> int:
    """Opens a path beneath a directory without following any symlink. Raises OSError."""
    here = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        os.close(here)
        raise PermissionError(1, "a path within the module has no ..")
    try:
        for part in parts[:-1]:
            there = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = there
        return os.open(parts[-1] if parts else b".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def follow_path(root: int, path: str) -> None:
    """Makes the descriptor `root` that of the directory which now has the name `path`: a release may be published by a rename.
    It stays with the old one where the name cannot be opened, or leads through a symlink of somebody else."""
    try:
        if os.path.samestat(os.stat(path), os.fstat(root)):
            return
        number = open_directory(path)
    except OSError:
        return
    os.dup2(number, root, inheritable=False)  # whoever holds the number goes on in the new directory
    os.close(number)
