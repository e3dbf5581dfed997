"""Limits of nominate/1 and the policies with a number: protocol-spec/limits.md under the same names."""

from __future__ import annotations

from typing import Final

FRAME_BYTES: Final = 65_536
FIELDS: Final = 256
MIRRORS: Final = 64
URL_BYTES: Final = 1_024
REASON_BYTES: Final = 256
DIGEST_REQUEST_ENTRIES: Final = 8_192
DIGEST_WINDOW_ENTRIES: Final = 32_768
DIGEST_WINDOW_BYTES: Final = 16 << 20
FETCH_ENTRIES: Final = 1_024
FETCH_WINDOW: Final = 64
DATA_BYTES: Final = 65_000
PIECES: Final = 1 << 24
LEASE_SECONDS_MAX: Final = 86_400
LEASE_SECONDS_DEFAULT: Final = 900
PREFIXES: Final = 64
NONCE_BYTES: Final = 16
LEASES: Final = 4_096

STALL_SECONDS: Final = 10.0
CUT_OVER_BYTES: Final = 256 << 10
SOURCES_MAX: Final = 8
PENDING_SECONDS: Final = 10.0
BUNDLE_BYTES: Final = 1 << 20
BUNDLE_FILES: Final = 256
RANGE_MIN_BYTES: Final = 16 << 20
BACKOFF_SECONDS: Final = 1.0
BACKOFF_SECONDS_MAX: Final = 60.0
BUSY_SECONDS: Final = 5
PEER_IDLE_SECONDS: Final = 300
PROBE_RANGES: Final = 3
PROBE_RANGE_BYTES: Final = 16 << 20
PROBE_SAMPLES: Final = 12
PROBE_SECONDS: Final = 600.0
PROBE_RETRY_SECONDS: Final = 15.0
PROBE_FAILURES: Final = 3
PROBE_BUDGET: Final = 30
PROBE_BUDGET_SECONDS: Final = 3_600.0
PROBES_AT_ONCE: Final = 8
CHECK_SECONDS: Final = 120.0
