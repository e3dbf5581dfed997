"""The module that an operator names."""

from __future__ import annotations

from collections.abc import Mapping

from prsync.config.model import Config, Module, load_config
from prsync.errors import UsageError


def configured_module(config_path: str, name: str, environment: Mapping[str, str]) -> tuple[Config, Module]:
    """Raises PrsyncError, also where the configuration has no such module."""
    config = load_config(config_path, environment).usable()
    module = config.module(name)
    if module is None:
        raise UsageError(f"there is no module {name} in {config_path}")
    return config, module
