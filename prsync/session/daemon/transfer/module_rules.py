"""A module's filter parameters as rules."""

from __future__ import annotations

import os
from collections.abc import Mapping

from prsync.config.model import Module
from prsync.errors import PrsyncError
from prsync.options.model import as_bytes
from prsync.privileges import open_trusted
from prsync.protocol.filter_syntax import Rule
from prsync.protocol.filters import daemon_rules
from prsync.session.daemon.admission.text_phase import Refusal


def module_rules(module: Module, environment: Mapping[str, str]) -> tuple[Rule, ...]:
    """The module's filter parameters; the files that they name are read now, as root, from outside a chroot."""

    def value(name: str) -> bytes:
        return as_bytes(module.values.text(name, environment))

    def read(name: bytes) -> bytes:
        with os.fdopen(open_trusted(os.fsdecode(name), os.O_RDONLY), "rb") as file:
            return file.read()

    try:
        parsed = daemon_rules(
            read,
            filter=value("filter"),
            include_from=value("include from"),
            include=value("include"),
            exclude_from=value("exclude from"),
            exclude=value("exclude"),
        )
    except PrsyncError as error:
        raise Refusal("the module's filter rules cannot be read -- contact admin", error.text) from error
    return tuple(parsed.rules)
