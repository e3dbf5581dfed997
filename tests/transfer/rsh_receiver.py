"""Stands in for `ssh HOST rsync --server …`: a minimal handshake, then prsync's receiver, for a stock client's push.

Run as the remote shell of the real rsync (-e): HOST rsync --server OPTIONS . DESTINATION. The environment variable
RSH_RECEIVER_LOG may name a file that gets what belongs into the server's own log. RSH_RECEIVER_MODULE makes it a daemon's
receiver, with that directory as the module; RSH_RECEIVER_HIDE: words that it excludes; RSH_RECEIVER_MUNGE: links are munged.
"""

from __future__ import annotations

import os
import sys

import rsh_peer

from prsync.engine.context import Context
from prsync.engine.flist import Root
from prsync.engine.native import lib
from prsync.engine.rules import RuleSet
from prsync.protocol.filters import FilterParser, daemon_rules
from prsync.transfer.receiver import Receiver


def read_file(name: bytes) -> bytes:
    with open(name, "rb") as file:
        return file.read()


def serve_module(context: Context) -> Root:
    context.options.am_daemon = 1
    context.options.munge_links = int("RSH_RECEIVER_MUNGE" in os.environ)
    context.set_string(lib.PS_STR_MODULE, b"m")
    return Root.open(context, os.fsencode(os.environ["RSH_RECEIVER_MODULE"]))


def serve(words: list[str]) -> int:
    context = rsh_peer.new_context(lib.PS_ROLE_RECEIVER)
    module = serve_module(context) if "RSH_RECEIVER_MODULE" in os.environ else None
    rsh_peer.negotiate(context, rsh_peer.set_options(context, words))
    options = context.options
    # exclude.c:recv_filter_list, receiver_wants_list: a sender has no rules for a receiver that deletes nothing.
    wanted = options.delete_mode or options.prune_empty_dirs
    received, first = rsh_peer.read_filters(context.input_is_plain) if wanted else ([], b"")
    parser = FilterParser(read_file, protocol=context.options.protocol, am_sender=False)
    for rule in received:
        parser.received(rule)
    hidden = daemon_rules(read_file, exclude=os.fsencode(os.environ.get("RSH_RECEIVER_HIDE", ""))).rules
    rules = RuleSet(context, parser.rules, cvs=parser.cvs_rules, daemon=hidden, parse=parser.merge_file)
    with open(os.environ.get("RSH_RECEIVER_LOG", os.devnull), "ab", buffering=0) as log:

        def note(code: int, text: bytes) -> None:
            log.write(b"%d " % code + text)

        receiver = Receiver(context, os.fsencode(words[-1]), note, None, rules.handle, module)
        receiver.core.write_behind()
        return rsh_peer.run_pump(receiver, first)


if __name__ == "__main__":
    for descriptor in (0, 1):  # the client has made its pipes non-blocking, for both ends
        os.set_blocking(descriptor, True)
    sys.exit(serve(sys.argv[3:]))
