"""Limits of nominate/1, of filter lists, and the policies with a number: protocol-spec/limits.md under the same names.

What the core keeps too stands in csrc/api/limits_api.h, and only there.
"""

from __future__ import annotations

from typing import Final

from prsync.engine.native import lib

RULE_BYTES: Final = 5_119
RULES: Final = 1_000_000
RULES_BYTES: Final = 16 << 20

FRAME_BYTES: Final[int] = lib.PS_NOMINATE_FRAME_BYTES
FIELDS: Final = 256
MIRRORS: Final = 64
URL_BYTES: Final = 1_024
REASON_BYTES: Final = 256
DIGEST_WINDOW_ENTRIES: Final[int] = lib.PS_NOMINATE_DIGEST_WINDOW_ENTRIES
LEASE_SECONDS_MAX: Final = 86_400
LEASE_SECONDS_DEFAULT: Final = 900
PREFIXES: Final = 64
NONCE_BYTES: Final = 16
LEASES: Final = 4_096

STALL_SECONDS: Final = 10.0
ORIGIN_STALL_SECONDS: Final = 120.0
SOURCES_MAX: Final = 8
PENDING_SECONDS: Final = 10.0
BUNDLE_BYTES: Final[int] = lib.PS_NOMINATE_BUNDLE_BYTES
SPARSE_SECONDS: Final = 2.0
PASSED_OVER_BYTES: Final = 1 << 20
RANGE_MIN_BYTES: Final = 16 << 20
BACKOFF_SECONDS: Final = 1.0
BACKOFF_SECONDS_MAX: Final = 60.0
BUSY_SECONDS: Final = 5
PEER_IDLE_SECONDS: Final = 300
PROBE_RANGES: Final = 3
PROBE_SAMPLES: Final = 12
PROBE_SECONDS: Final = 600.0
PROBE_RETRY_SECONDS: Final = 15.0
PROBE_FAILURES: Final = 3
PROBE_BUDGET: Final = 30
PROBE_BUDGET_SECONDS: Final = 3_600.0
PROBES_AT_ONCE: Final = 8
CHECK_SECONDS: Final = 120.0
