"""Values of single options: sizes, numbers, --chmod, --info."""

from __future__ import annotations

from prsync.engine.numbers import big_num
from prsync.errors import UsageError

SIZE_LIMIT = (1 << 63) - 1


def parse_number(text: str, shown: str) -> int:
    """popt's numbers: decimal, 0x or 0 for octal, within 32 bits."""
    stripped = text.strip()
    digits = stripped.lstrip("+-").lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") and len(digits) > 1 else 10
    if not text:
        return 0
    try:
        if "_" in text or text != text.rstrip():
            raise ValueError
        value = int(stripped, base)
    except ValueError:
        raise UsageError(f"rsync: {shown}: invalid numeric value") from None
    if not -(1 << 31) <= value < 1 << 31:
        raise UsageError(f"rsync: {shown}: number too large or too small")
    return value


def parse_size(text: str, default_unit: str, option: str, least: int, most: int = -1, zero_is_unlimited: bool = False) -> int:
    """options.c:parse_size_arg: digits, a fraction, a unit (b, k, m, g, t, p, with B or iB), and +1 or -1."""

    def refuse(why: str, limit: tuple[str, int] | None = None) -> UsageError:
        told = f"rsync: --{option}={text} is {why}"
        if limit and limit[1] >= 0:
            unlimited = " or 0 for unlimited" if zero_is_unlimited and limit[0] == "min" else ""
            told += f" ({limit[0]}: {big_num(limit[1], 3)}{unlimited})"
        return UsageError(told)

    at = 0
    while at < len(text) and text[at] in "0123456789":
        at += 1
    if text[at : at + 1] == ".":
        at += 1
        while at < len(text) and text[at] in "0123456789":
            at += 1
    number = text[:at]
    unit = default_unit
    if at < len(text) and text[at] not in "+-":
        unit = text[at]
        at += 1
    power = "bkmgtp".find(unit.lower())
    if power < 0:
        raise refuse("invalid")
    rest = text[at:]
    if rest[:1] in ("b", "B"):
        base, rest = 1000, rest[1:]
    elif not rest or rest[0] in "+-":
        base = 1024
    elif rest[:2].lower() == "ib":
        base, rest = 1024, rest[2:]
    else:
        raise refuse("invalid")
    size = float(number) * base**power if number.strip(".") else 0.0
    bound = most if most >= 0 else SIZE_LIMIT
    if size > bound:
        raise refuse("too large", ("max", most))
    value = int(size)
    if rest[:2] in ("+1", "-1") and at:
        value += 1 if rest[0] == "+" else -1
        rest = rest[2:]
    if rest:
        raise refuse("invalid")
    if value < 0 or value > bound:
        raise refuse("too large", ("max", most))
    if value < least and not (zero_is_unlimited and value == 0):
        raise refuse("too small", ("min", least))
    return value


# api/options_api.h: PS_CHMOD_*
DIRS_ONLY, FILES_ONLY, X_KEEP = 1, 2, 4
COPY_FROM = {"u": 8, "g": 16, "o": 32}
DEST = ((0o100, 64), (0o010, 128), (0o001, 256))
COPY_SUB = 512
MODE_BITS = 0o7777

ChmodOperation = tuple[int, int, int]


def parse_chmod(text: str, umask: int) -> list[ChmodOperation] | None:
    """chmod.c:parse_chmod: (mode_and, mode_or, flags) of each change, or None where the text is malformed.

    With a COPY flag mode_or is the mask of the copied bits (api/options_api.h).
    """
    operations = []
    for clause in text.split(","):
        operation = _parse_chmod_clause(clause, umask)
        if operation is None:
            return None
        operations.append(operation)
    return operations


def _parse_chmod_clause(clause: str, umask: int) -> ChmodOperation | None:
    where = top_bits = flags = 0
    at = 0
    for at, letter in enumerate(clause):  # noqa: B007
        if letter in "DF":
            flag, other = (DIRS_ONLY, FILES_ONLY) if letter == "D" else (FILES_ONLY, DIRS_ONLY)
            if flags & other:
                return None
            flags |= flag
        elif letter in "ugoa":
            where |= {"u": 0o100, "g": 0o010, "o": 0o001, "a": 0o111}[letter]
            top_bits |= {"u": 0o4000, "g": 0o2000, "o": 0, "a": 0o6000}[letter]
        else:
            break
    else:
        return None
    symbol, rest = clause[at], clause[at + 1 :]
    if symbol in "01234567" and not where:
        digits = clause[at:]
        if any(c not in "01234567" for c in digits) or int(digits, 8) > MODE_BITS:
            return None
        return 0, int(digits, 8), flags
    if symbol not in "+-=":
        return None
    return _symbolic_operation(symbol, rest, where, top_bits, flags, umask)


def _symbolic_operation(symbol: str, rest: str, where: int, top_bits: int, flags: int, umask: int) -> ChmodOperation | None:
    what = top = 0
    copied = ""
    for letter in rest:
        if copied or letter not in "rwXxstugo":
            return None
        if letter in "ugo":
            if what or top:
                return None
            copied = letter
        elif letter == "s":
            top |= top_bits or 0o4000
        elif letter == "t":
            top |= 0o1000
        else:
            what |= {"r": 4, "w": 2, "X": 1, "x": 1}[letter]
            flags |= X_KEEP if letter == "X" else 0
    mask = MODE_BITS if where else MODE_BITS & ~umask
    where = where or 0o111
    bits = where * what & mask
    if copied:
        flags |= COPY_FROM[copied] | (COPY_SUB if symbol == "-" else 0)
        flags |= sum(flag for place, flag in DEST if where & place)
    if symbol == "+":
        return MODE_BITS, mask if copied else bits + top, flags
    if symbol == "-":
        return MODE_BITS - bits - top, mask if copied else 0, flags
    cleared = where * 7 + (top_bits if top else 0)
    if copied:
        cleared += (0o4000 if where & 0o100 else 0) | (0o2000 if where & 0o010 else 0) | (0o1000 if where & 1 else 0)
    return MODE_BITS & ~cleared, mask if copied else bits + top, flags


# options.c:info_words: name → (sides that use it, help)
CLIENT, SERVER, SENDER, RECEIVER = 1, 2, 4, 8
INFO_WORDS: dict[str, tuple[int, str]] = {
    "BACKUP": (RECEIVER, "Mention files backed up"),
    "COPY": (RECEIVER, "Mention files copied locally on the receiving side"),
    "DEL": (RECEIVER, "Mention deletions on the receiving side"),
    "FLIST": (CLIENT, "Mention file-list receiving/sending (levels 1-2)"),
    "MISC": (SENDER | RECEIVER, "Mention miscellaneous information (levels 1-2)"),
    "MOUNT": (SENDER | RECEIVER, "Mention mounts that were found or skipped"),
    "NAME": (SENDER | RECEIVER, "Mention 1) updated file/dir names, 2) unchanged names"),
    "NONREG": (RECEIVER, "Mention skipped non-regular files (default 1, 0 disables)"),
    "PROGRESS": (CLIENT, "Mention 1) per-file progress or 2) total transfer progress"),
    "REMOVE": (SENDER, "Mention files removed on the sending side"),
    "SKIP": (RECEIVER, "Mention files skipped due to transfer overrides (levels 1-2)"),
    "STATS": (CLIENT | SERVER, "Mention statistics at end of run (levels 1-3)"),
    "SYMSAFE": (SENDER | RECEIVER, "Mention symlinks that are unsafe"),
}
INFO_VERBOSITY = ("NONREG", "COPY,DEL,FLIST,MISC,NAME,STATS,SYMSAFE", "BACKUP,MISC2,MOUNT,NAME2,REMOVE,SKIP")
MAX_OUTPUT_LEVEL = 4
IMPLIED, BY_USER, LIMIT = 0, 2, 3


class InfoLevels:
    """The levels of --info, each with the priority of what set it (options.c:parse_output_words)."""

    def __init__(self) -> None:
        self.levels = dict.fromkeys(INFO_WORDS, 0)
        self.priorities = dict.fromkeys(INFO_WORDS, IMPLIED)

    def apply(self, text: str, priority: int, ignore_unknown: bool = False) -> None:
        """Raises UsageError for a name that rsync does not know, unless such names are to be ignored (server)."""
        for word in text.split(","):
            if not word:
                continue
            name = word if word[0].isdigit() else word.rstrip("0123456789")
            digits = word[len(name) :]
            level = min(int(digits), MAX_OUTPUT_LEVEL) if digits.isdigit() else 1
            upper = name.upper()
            if upper == "NONE":
                upper, level = "ALL", 0
            names = list(INFO_WORDS) if upper == "ALL" else [upper] if upper in INFO_WORDS else []
            if not names and not ignore_unknown:
                raise UsageError(f'Unknown --info item: "{name}"')
            for found in names:
                if priority >= self.priorities[found]:
                    self.priorities[found] = priority
                    self.levels[found] = level

    def apply_verbosity(self, verbose: int) -> None:
        """options.c:set_output_verbosity."""
        for words in INFO_VERBOSITY[: verbose + 1]:
            self.apply(words, IMPLIED)

    def limit(self, verbose: int) -> None:
        """options.c:limit_output_verbosity: no more than what this many -v allow (a daemon's `max verbosity`)."""
        allowed = InfoLevels()
        for words in INFO_VERBOSITY[: verbose + 1]:
            allowed.apply(words, LIMIT)
        for name, level in self.levels.items():
            self.levels[name] = min(level, allowed.levels[name])

    def as_option(self, where: int) -> str:
        """options.c:make_output_option: the --info option that tells the other side what the user chose, or ""."""
        chosen, counts, skipped = [], [0] * (MAX_OUTPUT_LEVEL + 1), False
        most_used, most = 0, 0
        for name, (sides, _) in INFO_WORDS.items():
            if not sides & where:
                continue
            if self.priorities[name] == IMPLIED:
                skipped = True
                continue
            level = self.levels[name]
            chosen.append((name, level))
            counts[level] += 1
            if counts[level] > most:
                most_used, most = level, counts[level]
        if not chosen:
            return ""
        words = []
        if skipped or most < 5:
            most_used = -1
        else:
            words.append("NONE" if most_used == 0 else "ALL" if most_used == 1 else f"ALL{most_used}")
        words += [name + ("" if level == 1 else str(level)) for name, level in chosen if level != most_used]
        return "--info=" + ",".join(words)


def info_help() -> str:
    """options.c:output_item_help for --info."""
    lines = ["Use OPT or OPT1 for level 1 output, OPT2 for level 2, etc.; OPT0 silences.", ""]
    lines += [f"{name:<10} {text}" for name, (_, text) in INFO_WORDS.items()]
    lines += ["", f"{'ALL':<10} Set all --info options (e.g. all{MAX_OUTPUT_LEVEL})"]
    lines += [f"{'NONE':<10} Silence all --info options (same as all0)", f"{'HELP':<10} Output this help message", ""]
    lines.append("Options added at each level of verbosity:")
    lines += [f"{level}) {words}" for level, words in enumerate(INFO_VERBOSITY)]
    return "\n".join(lines)
