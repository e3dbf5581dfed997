"""`prsyncctl`: what an operator asks of a daemon's state."""

from __future__ import annotations

from collections.abc import Mapping

from prsync.config.model import Config, Module, load_config
from prsync.errors import FileError, UsageError
from prsync.session.helpers.index_place import ask_line, connect, index_place, keeps_digests
from prsync.session.helpers.indexer import FLAG_WARM
from prsync.session.helpers.indexer_process import open_module


def warm_index(config_path: str, module_name: str, environment: Mapping[str, str]) -> str:
    """Hashes what is not known yet of a module, by its running indexer or in this process; one line about it.

    Raises PrsyncError. Without an indexer this process takes the module's user and groups, for good.
    """
    config = load_config(config_path, environment).usable()
    module = config.module(module_name)
    if module is None:
        raise UsageError(f"there is no module {module_name} in {config_path}")
    if not keeps_digests(module.values):
        raise UsageError(f'module {module_name} has no digest index: set "digest index = yes", or name a mirror')
    line = _ask_indexer(config, module, environment)
    if line is None:
        line = open_module(config, module, environment, serve=False).indexer.warm().line()
    return f"{module_name}: {line}"


def _ask_indexer(config: Config, module: Module, environment: Mapping[str, str]) -> str | None:
    """Its answer; None when none runs."""
    try:
        sock = connect(index_place(config, module, environment))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise FileError(f"the indexer of module {module.name} cannot be asked: {error.strerror}") from error
    with sock:
        sock.setblocking(True)
        ended = f"the indexer of module {module.name} ended before it was done: see the daemon's log"
        answer = ask_line(sock, bytes([FLAG_WARM, 0]), ended)
    return answer.decode("utf-8", "replace").rstrip("\n")
