"""What an older protocol cannot do, in rsync's words (compat.c:setup_protocol)."""

from __future__ import annotations

from prsync.errors import ProtocolVersionError
from prsync.options.model import Options


def refuse_beyond(options: Options, protocol: int) -> None:
    """Raises ProtocolVersionError for options that the protocol which was agreed on lacks."""
    if protocol < 30:
        _refuse(options.preserve_acls, "--acls requires protocol 30 or higher", protocol)
        _refuse(options.preserve_xattrs, "--xattrs requires protocol 30 or higher", protocol)
    if protocol < 29:
        basis = f"--{options.alt_dest}-dest"
        several = len(options.basis_dirs) > 1
        _refuse(options.fuzzy_basis, "--fuzzy requires protocol 29 or higher", protocol)
        _refuse(options.basis_dirs and options.inplace, f"{basis} with --inplace requires protocol 29 or higher", protocol)
        _refuse(several, f"Using more than one {basis} option requires protocol 29 or higher", protocol)
        _refuse(options.prune_empty_dirs, "--prune-empty-dirs requires protocol 29 or higher", protocol)


def _refuse(asked: object, words: str, protocol: int) -> None:
    if asked:
        raise ProtocolVersionError(f"{words} (negotiated {protocol}).")
