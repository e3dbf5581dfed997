"""`prsyncctl`: what an operator asks of a daemon's state."""

from __future__ import annotations

from collections.abc import Mapping

from prsync.errors import UsageError
from prsync.session.helpers.index_place import index_place, keeps_digests
from prsync.session.helpers.indexer import FLAG_WARM
from prsync.session.helpers.indexer_process import open_indexer
from prsync.session.helpers.sockets import ask
from prsync.session.operator.configured import configured_module


def warm_index(config_path: str, module_name: str, environment: Mapping[str, str]) -> str:
    """Hashes what is not known yet of a module, by its running indexer or in this process; one line about it.

    Raises PrsyncError. Without an indexer this process takes the module's user and groups, for good.
    """
    config, module = configured_module(config_path, module_name, environment)
    if not keeps_digests(module.values):
        raise UsageError(f'module {module_name} has no digest index: set "digest index = yes", or name a mirror')
    answer = ask(index_place(config, module, environment), f"the indexer of module {module_name}", bytes([FLAG_WARM, 0]))
    if answer is not None:
        return f"{module_name}: {answer.decode('utf-8', 'replace')}"
    indexer, _ = open_indexer(config, module, environment, serve=False)
    return f"{module_name}: {indexer.warm().line()}"
