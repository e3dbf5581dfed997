"""Mutations of what one side said: of bytes, of turns, and within the multiplexed stream of its frames."""

from __future__ import annotations

import random
import struct

from .play import Turn

NUMBERS = (0, 1, -1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x20001, 0x7FFFFFFF, -0x80000000, 0x40000000)
CODES = (0, 0, 1, 2, 3, 6, 8, 9, 10, 22, 33, 42, 86, 100, 101, 102, 117, 117, 117)
BASE = 7
GARBAGE_MOST = 4096


def mutate(rng: random.Random, turns: list[Turn], as_client: bool, frames: list[bytes]) -> list[Turn]:
    """`frames`: samples of the extension's frames, to be put in between."""
    result = list(turns)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 5, 9))):
        mine = [at for at, (client, data) in enumerate(result) if client == as_client and data]
        if not mine:
            break
        at = rng.choice(mine)
        kind = rng.random()
        if kind < 0.12:
            result = change_turns(rng, result, at, mine)
            continue
        data = result[at][1]
        start = frames_start(data) if kind < 0.75 else None
        changed = change_bytes(rng, data) if start is None else data[:start] + change_frames(rng, data[start:], frames)
        result[at] = (as_client, changed)
    return result


def change_turns(rng: random.Random, turns: list[Turn], at: int, mine: list[int]) -> list[Turn]:
    kind = rng.randrange(6)
    client, data = turns[at]
    if kind == 0:
        return turns[:at] + turns[at + 1 :]
    if kind == 1:
        return [*turns[: at + 1], *turns[at:]]
    if kind == 2:
        return [*turns[:at], (client, data[: rng.randrange(len(data))])]
    if kind == 3:
        other = rng.choice(mine)
        result = list(turns)
        result[at], result[other] = turns[other], turns[at]
        return result
    if kind == 4:
        return [*turns[:at], (client, rng.randbytes(rng.randrange(1, GARBAGE_MOST))), *turns[at + 1 :]]
    return [*turns[:at], (client, data + rng.randbytes(rng.randrange(1, GARBAGE_MOST))), *turns[at + 1 :]]


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return rng.randbytes(rng.randrange(1, 32))
    at = rng.randrange(len(data))
    run = min(len(data) - at, rng.choice((1, 2, 4, 8, 16, 64, 1024)))
    match rng.randrange(8):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + rng.randbytes(run) + data[at + run :]
        case 2:
            number = struct.pack("<i", rng.choice(NUMBERS))[: rng.choice((1, 2, 4))]
            return data[:at] + number + data[at + len(number) :]
        case 3:
            return data[:at] + data[at + run :]
        case 4:
            return data[: at + run] + data[at:]
        case 5:
            return data[:at] + rng.randbytes(run) + data[at:]
        case 6:
            return data[:at] + bytes([rng.choice((0, 1, 0x2E, 0x2F, 0x7F, 0x80, 0xFE, 0xFF))]) * run + data[at + run :]
        case _:
            return data[:at]


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Whole multiplexed messages, and what follows them."""
    found, at = [], 0
    while len(data) - at >= 4:
        word = struct.unpack_from("<I", data, at)[0]
        size, tag = word & 0xFFFFFF, word >> 24
        if tag - BASE not in CODES or at + 4 + size > len(data):
            break
        found.append((tag - BASE, data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found, data[at:]


def frames_start(data: bytes) -> int | None:
    """Where the multiplexed part of a turn begins, if there seems to be one."""
    for start in range(min(len(data) - 3, 600)):
        if BASE <= data[start + 3] <= BASE + 120:
            found, rest = split_frames(data[start:])
            if found and (not rest or (len(found) > 1 and len(rest) < len(data) // 2)):
                return start
    return None


def change_frames(rng: random.Random, data: bytes, samples: list[bytes]) -> bytes:
    """Keeps the envelopes right, so that what is inside comes to be looked at."""
    found, rest = split_frames(data)
    at = rng.randrange(len(found))
    code, payload = found[at]
    kind = rng.random()
    if kind < 0.7:
        found[at] = (code, change_bytes(rng, payload)[:0xFFFFFF])
    elif kind < 0.8:
        found[at] = (rng.choice(CODES), payload)
    elif kind < 0.95:
        extra = rng.choice(samples) if samples and rng.random() < 0.7 else rng.randbytes(rng.choice((0, 1, 4, 8, 40)))
        if rng.random() < 0.5:
            extra = change_bytes(rng, extra)
        found.insert(at, (117 if rng.random() < 0.6 else rng.choice(CODES), extra))
    else:
        found.insert(rng.randrange(len(found)), found.pop(at))
    return b"".join(struct.pack("<I", (BASE + c) << 24 | len(p)) + p for c, p in found) + rest
