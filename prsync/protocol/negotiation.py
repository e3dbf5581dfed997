"""What follows the arguments of a session: compat flags, checksum and compression names, checksum seed (compat.c:setup_protocol).

Specified in protocol-spec/classic.md §3. Both sides; protocols 27 to 32: before 30 there is nothing but the seed. Feed bytes,
take events; None: more bytes are needed.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from prsync.errors import ExitCode, PrsyncError
from prsync.protocol.numbers import decode_names, decode_varint, encode_names, encode_varint

CHECKSUMS = ("xxh128", "xxh3", "xxh64", "md5", "md4", "sha1", "none")  # strongest, and fastest, first
COMPRESSIONS = ("zstd", "lz4", "zlibx", "zlib", "none")
SEEDED_MD4 = "md4, seeded"  # no name on the wire: what protocols 27 to 29 use where no checksum was asked for
ALIASES = {"xxhash": "xxh64"}
LEVELS = {"zlib": (1, 9, 6), "zlibx": (1, 9, 6), "zstd": (-131072, 22, 3), "lz4": (0, 0, 0)}  # least, most, default


class Compat(enum.IntFlag):
    """compat.c:CF_*, and the extension's bit."""

    INC_RECURSE = 1 << 0
    SYMLINK_TIMES = 1 << 1
    SYMLINK_ICONV = 1 << 2
    SAFE_FLIST = 1 << 3
    AVOID_XATTR_OPTIM = 1 << 4
    CHKSUM_SEED_FIX = 1 << 5
    INPLACE_PARTIAL_DIR = 1 << 6
    VARINT_FLIST_FLAGS = 1 << 7
    ID0_NAMES = 1 << 8
    NOMINATE = 1 << 24


LETTERS = {
    "f": Compat.SAFE_FLIST, "x": Compat.AVOID_XATTR_OPTIM, "C": Compat.CHKSUM_SEED_FIX, "I": Compat.INPLACE_PARTIAL_DIR,
    "u": Compat.ID0_NAMES, "v": Compat.VARINT_FLIST_FLAGS,
}  # fmt: skip


class Wishes(NamedTuple):
    """What one side brings to the negotiation."""

    protocol: int
    checksum_choice: str | None = None  # --checksum-choice, as given
    compress_choice: str | None = None  # --compress-choice, as given
    compress: bool = False  # -z or a level
    compress_level: int | None = None
    checksum_list: str = ""  # RSYNC_CHECKSUM_LIST
    compress_list: str = ""  # RSYNC_COMPRESS_LIST
    inc_recurse: bool = False  # this side can take or send the list in parts
    nominate: bool = False  # server: bit 24 is to be set where the client allows it


class Negotiated(NamedTuple):
    """What both sides now know."""

    protocol: int
    flags: Compat
    checksum: str  # of blocks and transferred files
    list_checksum: str  # of --checksum
    compression: str
    compress_level: int
    seed: int

    @property
    def inc_recurse(self) -> bool:
        return Compat.INC_RECURSE in self.flags

    @property
    def safe_flist(self) -> bool:
        return Compat.SAFE_FLIST in self.flags or self.protocol >= 31

    @property
    def xattr_optimization(self) -> bool:
        return self.protocol >= 31 and Compat.AVOID_XATTR_OPTIM not in self.flags

    @property
    def nominate(self) -> bool:
        return Compat.NOMINATE in self.flags


class Send(NamedTuple):
    """Bytes for the remote."""

    data: bytes


Event = Send | Negotiated


def own_names(known: Sequence[str], from_environment: str, server: bool) -> list[str]:
    """The names to offer: those of the environment's list that are known, or all of them (compat.c:send_negotiate_str).

    A list's part after "&" is the server's. "none" is offered by a client only when its list names it.
    """
    client_part, ampersand, server_part = from_environment.partition("&")
    words = (server_part if server and ampersand else client_part).split()
    if not words:
        return [name for name in known if server or name != "none"]
    found = []
    for word in words:
        name = ALIASES.get(word.lower(), word.lower())
        if name in known and name not in found:
            found.append(name)
    return found


def _failed(kind: str, ours: Sequence[str], theirs: Sequence[str], server: bool) -> PrsyncError:
    mine, remote = ("Server", "Client") if server else ("Client", "Server")
    return PrsyncError(
        f"Failed to negotiate a {kind} choice. {remote} list: {' '.join(theirs)}; {mine} list: {' '.join(ours) or 'INVALID'}",
        ExitCode.UNSUPPORTED,
    )


class _Side:
    """What client and server share: the buffer, and the choice from the names."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self.buffer = bytearray()
        self.flags = Compat(0)
        self.checksum: str | None = None
        self.compression: str | None = None

    @property
    def rest(self) -> bytes:
        """What came behind the negotiation."""
        return bytes(self.buffer)

    def feed(self, data: bytes) -> None:
        self.buffer += data

    @property
    def negotiates_checksum(self) -> bool:
        return self.wishes.checksum_choice is None

    @property
    def negotiates_compression(self) -> bool:
        return self.wishes.compress and self.wishes.compress_choice is None

    def take_names(self) -> list[str] | None:
        found = decode_names(self.buffer)
        if found is None:
            return None
        del self.buffer[: found[1]]
        return found[0]

    def result(self, seed: int) -> Negotiated:
        """checksum.c:parse_checksum_choice(1) and compat.c:parse_compress_choice(1)."""
        wishes = self.wishes
        if self.checksum is not None:
            checksum = list_checksum = self.checksum
        else:
            choice = wishes.checksum_choice or "auto"
            first, comma, second = choice.partition(",")
            checksum = _checksum_name(first, wishes.protocol)
            list_checksum = _checksum_name(second, wishes.protocol) if comma else checksum
        compression = self.compression
        if compression is None:
            compression = (wishes.compress_choice or "zlib").lower() if wishes.compress or wishes.compress_choice else "none"
        compression, level = _with_level(compression, wishes.compress_level)
        return Negotiated(wishes.protocol, self.flags, checksum, list_checksum, compression, level, seed)


def unasked_checksum(protocol: int) -> str:
    """checksum.c:parse_csum_name: what is used where nothing was agreed on."""
    return "md5" if protocol >= 30 else SEEDED_MD4


def _checksum_name(name: str, protocol: int) -> str:
    name = name.lower()
    name = ALIASES.get(name, name)
    if name == "auto":
        return unasked_checksum(protocol)
    if name not in CHECKSUMS:
        raise PrsyncError(f"unknown checksum name: {name}", ExitCode.UNSUPPORTED)
    return name


def _with_level(compression: str, level: int | None) -> tuple[str, int]:
    """token.c:init_compression_level: the level within the kind's range; zlib's level 0 turns compression off."""
    if compression == "none":
        return "none", 0
    if compression not in LEVELS:
        raise PrsyncError(f"unknown compress name: {compression}", ExitCode.UNSUPPORTED)
    least, most, default = LEVELS[compression]
    if level is None:
        return compression, default
    if compression in ("zlib", "zlibx"):
        if level == 0:
            return "none", 0
        if level == -1:
            level = default
    elif level == 0:
        level = default
    return compression, min(max(level, least), most)


class NegotiationClient(_Side):
    """The client's side. It reads the server's names first and answers with the one name that it chose: servers differ in
    whose order decides (3.2.7: the client's; 3.5.0: their own)."""

    def __init__(self, wishes: Wishes) -> None:
        super().__init__(wishes)
        self._state = "flags" if wishes.protocol >= 30 else "seed"
        self._answer = b""
        if wishes.protocol < 30:
            self._check_old_names()

    def next_event(self) -> Event | None:
        """Raises StreamError, and PrsyncError (exit 4) when there is no common name."""
        if self._state == "flags" and not self._take_flags():
            return None
        if self._state == "checksums":
            if not self._take_list("checksum", CHECKSUMS, self.wishes.checksum_list):
                return None
            self._state = "compressions" if self.negotiates_compression else "answer"
        if self._state == "compressions":
            if not self._take_list("compress", COMPRESSIONS, self.wishes.compress_list):
                return None
            self._state = "answer"
        if self._state == "answer":
            self._state = "seed"
            if self._answer:
                return Send(self._answer)
        if self._state == "seed" and len(self.buffer) >= 4:
            seed = int.from_bytes(bytes(self.buffer[:4]), "little", signed=True)
            del self.buffer[:4]
            self._state = "done"
            return self.result(seed)
        return None

    def _take_flags(self) -> bool:
        found = decode_varint(self.buffer)
        if found is None:
            return False
        self.flags = Compat(found[0] & 0x7FFFFFFF)
        del self.buffer[: found[1]]
        if Compat.INC_RECURSE in self.flags and not self.wishes.inc_recurse:
            raise PrsyncError("Incompatible options specified for inc-recursive connection.", ExitCode.SYNTAX)
        if Compat.VARINT_FLIST_FLAGS not in self.flags:
            self._check_old_names()
            self._state = "answer"
        elif self.negotiates_checksum:
            self._state = "checksums"
        else:
            self._state = "compressions" if self.negotiates_compression else "answer"
        return True

    def _check_old_names(self) -> None:
        """A server that does not negotiate uses MD5, or MD4, and zlib: the environment's lists must allow them."""
        md = "md5" if self.wishes.protocol >= 30 else "md4"
        for wanted, kind, known, listed, name in (
            (self.negotiates_checksum, "checksum", CHECKSUMS, self.wishes.checksum_list, md),
            (self.negotiates_compression, "compress", COMPRESSIONS, self.wishes.compress_list, "zlib"),
        ):
            ours = own_names(known, listed, server=False)
            if wanted and name not in ours:
                raise _failed(kind, ours, [name], server=False)

    def _take_list(self, kind: str, known: Sequence[str], listed: str) -> bool:
        theirs = self.take_names()
        if theirs is None:
            return False
        ours = own_names(known, listed, server=False)
        chosen = next((name for name in ours if name in [ALIASES.get(n.lower(), n.lower()) for n in theirs]), None)
        if chosen is None:
            raise _failed(kind, ours, theirs, server=False)
        self._answer += encode_names([chosen])
        if kind == "checksum":
            self.checksum = chosen
        else:
            self.compression = chosen
        return True


class NegotiationServer(_Side):
    """The daemon's side. `client_info`: what the client's -e says ("." and letters); `seed`: --checksum-seed or a random one."""

    def __init__(self, wishes: Wishes, client_info: str, seed: int) -> None:
        super().__init__(wishes)
        self._seed = seed
        self.sends_names = self.receiver_symlink_times = False
        self._state = "start"
        if wishes.protocol >= 30:
            self._read_letters(client_info)

    def _read_letters(self, client_info: str) -> None:
        wishes = self.wishes
        letters = client_info.partition(".")[2] if "." in client_info else client_info
        self.flags = Compat.SYMLINK_TIMES | Compat.SYMLINK_ICONV
        if wishes.inc_recurse and "i" in letters:
            self.flags |= Compat.INC_RECURSE
        for letter, flag in LETTERS.items():
            if letter in letters:
                self.flags |= flag
        self.sends_names = "v" in letters
        if wishes.nominate and "Q" in letters and self.sends_names and wishes.protocol >= 31:
            self.flags |= Compat.NOMINATE
        self.receiver_symlink_times = "L" in letters

    def next_event(self) -> Event | None:
        """First what is sent at once; after the client's names the seed, then the result."""
        if self._state == "start":
            self._state = "checksums"
            return Send(self._start())
        if self._state == "checksums" and self._take(self.negotiates_checksum, "checksum", CHECKSUMS, self.wishes.checksum_list):
            self._state = "compressions"
        if self._state == "compressions" and self._take(
            self.negotiates_compression, "compress", COMPRESSIONS, self.wishes.compress_list
        ):
            self._state = "seed"
            return Send((self._seed & 0xFFFFFFFF).to_bytes(4, "little"))
        if self._state == "seed":
            self._state = "done"
            return self.result(self._seed)
        return None

    def _start(self) -> bytes:
        out = encode_varint(int(self.flags)) if self.wishes.protocol >= 30 else b""
        if self.sends_names:
            if self.negotiates_checksum:
                out += encode_names(own_names(CHECKSUMS, self.wishes.checksum_list, server=True) or ["INVALID"])
            if self.negotiates_compression:
                out += encode_names(own_names(COMPRESSIONS, self.wishes.compress_list, server=True) or ["INVALID"])
        self._check_choices()
        return out

    def _check_choices(self) -> None:
        """compat.c:validate_choice_vs_env."""
        for kind, choice, known, listed in (
            ("checksum", self.wishes.checksum_choice, CHECKSUMS, self.wishes.checksum_list),
            ("compress", self.wishes.compress_choice, COMPRESSIONS, self.wishes.compress_list),
        ):
            if choice is None or not listed.strip():
                continue
            allowed = own_names(known, listed, server=True)
            names = [ALIASES.get(n.lower(), n.lower()) for n in choice.split(",")]
            if any(name not in allowed for name in names):
                raise PrsyncError(f"Your --{kind}-choice value ({choice}) was refused by the server.", ExitCode.UNSUPPORTED)

    def _take(self, negotiates: bool, kind: str, known: Sequence[str], listed: str) -> bool:
        """True when this list is settled."""
        if not negotiates:
            return True
        ours = own_names(known, listed, server=True)
        old = {"checksum": "md5" if self.wishes.protocol >= 30 else "md4", "compress": "zlib"}
        theirs = self.take_names() if self.sends_names else [old[kind]]
        if theirs is None:
            return False
        chosen = next((name for name in (ALIASES.get(n.lower(), n.lower()) for n in theirs) if name in ours), None)
        if chosen is None:
            raise _failed(kind, ours, theirs, server=True)
        if self.sends_names and kind == "checksum":
            self.checksum = chosen
        elif self.sends_names:
            self.compression = chosen
        return True
