"""What workers, prsyncctl and the tracker say to each other: lines of JSON over a socket of one machine.

Worker: {"do": "candidates"}, {"do": "named", "urls": […]}, {"do": "frame", "frame": hex, "address": …};
operator: {"do": "list"}, {"do": "drain", "url": …, "drained": bool}. Answers: {"candidates": […]}, {"frame": hex},
{"mirrors": […]}, {"drained": bool}.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from prsync.registry.nomination import Candidate

LINE_BYTES = 1 << 20
CANDIDATES = 512  # named to one worker: a random choice of a larger registry


def encode_line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """Raises ValueError."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def candidate_out(candidate: Candidate, now: float, load: int) -> dict[str, Any]:
    """`expires` goes out as seconds that are left: the two sides' clocks need not agree."""
    out = attrs.asdict(candidate)
    out["expires"] = None if candidate.expires is None else candidate.expires - now
    out["load"] = load
    return out


def candidate_in(fields: dict[str, Any], now: float) -> Candidate:
    """Raises TypeError for what is no candidate."""
    left = fields.get("expires")
    return Candidate(**{**fields, "prefixes": tuple(fields["prefixes"]), "expires": None if left is None else now + left})
