"""Stands in for `ssh HOST rsync --server --sender …`: a minimal handshake, then prsync's sender, for a stock rsync client.

Run as the remote shell of the real rsync (-e): HOST rsync --server --sender OPTIONS . PATH…; only what the tests use of the
command line is understood. The environment variable RSH_SENDER_HOOK may name a file of Python that is run before the first
request, to play tricks on the tree.
"""

from __future__ import annotations

import os
import sys

import rsh_peer

from prsync.engine.flist import FileLists, Lister, Root
from prsync.engine.native import lib
from prsync.engine.sending import Send
from prsync.transfer.sender import Sender


def serve(words: list[str]) -> int:
    context = rsh_peer.new_context(lib.PS_ROLE_SENDER)
    context.set_string(lib.PS_STR_CURR_DIR, b"/")
    rsh_peer.negotiate(context, rsh_peer.set_options(context, words))
    rules, first = rsh_peer.read_filters(context.input_is_plain)
    assert not rules, "the tests send no filter rules"
    lists, root = FileLists(context), Root.open(context, b"/")
    lister = Lister(lists, root)
    for path in words[words.index(".") + 1 :]:
        lister.argument(os.fsencode(path))
    sender = Sender(Send(context, lists, lister, root), lambda code, line: None)
    hook = os.environ.get("RSH_SENDER_HOOK")
    return rsh_peer.run_pump(sender, first, (lambda: exec(open(hook).read(), {})) if hook else None)


if __name__ == "__main__":
    for descriptor in (0, 1):  # the client has made its pipes non-blocking, for both ends
        os.set_blocking(descriptor, True)
    sys.exit(serve(sys.argv[3:]))
