"""What was negotiated, as the core's options have it: for sessions and for sources."""

from __future__ import annotations

from typing import Any

from prsync.engine.native import lib
from prsync.options.model import NOT_SPECIFIED_LEVEL
from prsync.protocol.negotiation import SEEDED_MD4, Compat, Negotiated

SUM_KINDS = {
    "none": lib.PS_SUM_NONE, "md4": lib.PS_SUM_MD4, "md5": lib.PS_SUM_MD5, "sha1": lib.PS_SUM_SHA1,
    "xxh64": lib.PS_SUM_XXH64, "xxh3": lib.PS_SUM_XXH3, "xxh128": lib.PS_SUM_XXH128, SEEDED_MD4: lib.PS_SUM_MD4_SEEDED,
}  # fmt: skip
COMPRESS_KINDS = {
    "none": lib.PS_Z_NONE, "zlib": lib.PS_Z_ZLIB, "zlibx": lib.PS_Z_ZLIBX, "lz4": lib.PS_Z_LZ4, "zstd": lib.PS_Z_ZSTD,
}  # fmt: skip


def fill_negotiated(target: Any, negotiated: Negotiated) -> None:
    """`target`: a ps_opts."""
    flags = negotiated.flags
    target.protocol = negotiated.protocol
    target.inc_recurse = int(negotiated.inc_recurse)
    target.safe_flist = int(negotiated.safe_flist)
    target.avoid_xattr_optim = int(not negotiated.xattr_optimization)
    target.proper_seed_order = int(Compat.CHKSUM_SEED_FIX in flags)
    target.inplace_partial_dir = int(Compat.INPLACE_PARTIAL_DIR in flags)
    target.varint_flist_flags = int(Compat.VARINT_FLIST_FLAGS in flags)
    target.id0_names = int(Compat.ID0_NAMES in flags)
    target.xfer_sum = SUM_KINDS[negotiated.checksum]
    target.file_sum = SUM_KINDS[negotiated.list_checksum]
    target.checksum_seed = negotiated.seed
    target.compress = COMPRESS_KINDS[negotiated.compression]
    target.compress_level = negotiated.compress_level if target.compress else NOT_SPECIFIED_LEVEL
    if negotiated.checksum == "none":
        target.whole_file = 1
