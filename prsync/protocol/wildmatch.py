"""rsync's wildcard patterns (lib/wildmatch.c) over short names: hosts, users, options, names to expand.

Filter rules are matched in C; this is for what is matched once per connection.
"""

from __future__ import annotations

import re
from functools import lru_cache

CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


def has_wildcard(pattern: str) -> bool:
    return any(char in pattern for char in "*?[")


def wildmatch(pattern: str, text: str, fold_case: bool = False) -> bool:
    """Whether the pattern covers the whole text. `*`, `?` and sets match no slash, `**` does."""
    return _compiled(pattern, fold_case).fullmatch(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str, fold_case: bool) -> re.Pattern[str]:
    flags = re.DOTALL | (re.IGNORECASE if fold_case else 0)
    try:
        return re.compile(_translate(pattern), flags)
    except re.error:
        return re.compile(r"(?!)")  # such as a set that ends before it begins: matches nothing, as in wildmatch.c


def _translate(pattern: str) -> str:
    parts = [""]  # what stands between stars: of fixed length each
    stars: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            first = at
            while at < len(pattern) and pattern[at] == "*":
                at += 1
            stars.append("." if at > first else "[^/]")
            parts.append("")
        elif char == "?":
            parts[-1] += "[^/]"
        elif char == "[":
            found = _translate_set(pattern, at)
            if found is None:
                return "(?!)"
            parts[-1] += found[0]
            at = found[1]
        elif char == "\\":
            if at == len(pattern):
                return "(?!)"
            parts[-1] += re.escape(pattern[at])
            at += 1
        else:
            parts[-1] += re.escape(char)
    return _join(parts, stars)


def _join(parts: list[str], stars: list[str]) -> str:
    """One expression. With stars of one kind the first place where a part fits is as good as any later one, so nothing
    is tried again, and a remote's pattern cannot cost exponential time; with both kinds it could be wrong."""
    if not stars:
        return parts[0]
    if len(set(stars)) == 1:
        middle = "".join(f"(?>{stars[0]}*?{part})" for part in parts[1:-1])
        return f"{parts[0]}{middle}{stars[0]}*{parts[-1]}"
    return parts[0] + "".join(f"{star}*{part}" for star, part in zip(stars, parts[1:], strict=True))


def _translate_set(pattern: str, at: int) -> tuple[str, int] | None:
    """The expression for a [set] whose inside begins at `at`, and the place behind it; None when it is not closed."""
    negated = at < len(pattern) and pattern[at] in "!^"
    at += negated
    inside = ""
    first = True
    while at < len(pattern) and (first or pattern[at] != "]"):
        first = False
        if pattern.startswith("[:", at):
            end = pattern.find("]", at)
            if end > at + 2 and pattern[end - 1] == ":":
                name = pattern[at + 2 : end - 1]
                if name not in CLASSES:
                    return None
                inside += CLASSES[name]
                at = end + 1
                continue
        if pattern[at] == "\\":
            at += 1
            if at >= len(pattern):
                return None
        low = pattern[at]
        at += 1
        if pattern.startswith("-", at) and at + 1 < len(pattern) and pattern[at + 1] != "]":
            at += 1
            if pattern[at] == "\\":
                at += 1
                if at >= len(pattern):
                    return None
            high = pattern[at]
            at += 1
            if low <= high:
                inside += f"{re.escape(low)}-{re.escape(high)}"
        else:
            inside += re.escape(low)
    if at >= len(pattern):
        return None
    body = f"[^/{inside}]" if negated else f"(?!/)[{inside}]" if inside else "(?!)"
    return body, at + 1
