"""Numbers as rsync prints them (inums.h, lib/compat.c). Pure: usable without the C core."""

from __future__ import annotations

_UNITS = "KMGTP"


def big_num(number: int, human: int, fraction: str = "") -> str:
    """human: 0 plain, 1 with commas, 2 in units of 1000, 3 in units of 1024; fraction is appended unless a unit is."""
    if human > 1:
        unit = 1000 if human == 2 else 1024
        if abs(number) >= unit:
            value = number / unit
            power = 0
            while power < len(_UNITS) - 1 and abs(value) >= unit:
                value /= unit
                power += 1
            return f"{value:.2f}{_UNITS[power]}"
    return (f"{number:,}" if human else str(number)) + fraction


def big_dnum(number: float, human: int, digits: int) -> str:
    """A number with decimals, as the speedup and bytes/sec figures."""
    text = f"{number:.{digits}f}"
    if not human or -1000.0 < number < 1000.0:
        return text
    _, point, decimals = text.partition(".")
    return big_num(int(number), human, point + decimals)


def comma_num(number: int, human_readable: int) -> str:
    """inums.h:comma_num: commas unless --no-human-readable."""
    return big_num(number, int(human_readable != 0))


def human_num(number: int, human_readable: int) -> str:
    """inums.h:human_num; human_readable is -h's level (rsync's default is 1)."""
    return big_num(number, human_readable)
