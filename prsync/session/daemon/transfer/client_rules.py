"""The rules that a client sends, with the daemon's own: the matcher of a server's role (exclude.c:recv_filter_list)."""

from __future__ import annotations

from prsync.engine.context import Context
from prsync.engine.native import lib
from prsync.engine.rules import RuleSet
from prsync.options.model import Options
from prsync.protocol.filter_list import FilterTraits, list_is_due, server_filter_rules
from prsync.protocol.filters import FilterParser
from prsync.session.daemon.transfer.input import MuxInput, read_filter_list
from prsync.session.daemon.transfer.site import Site


def client_rules(site: Site, context: Context, options: Options, source: MuxInput) -> RuleSet:
    """Reads the client's list where one is due. Raises PrsyncError, Hangup."""
    protocol, sends = context.options.protocol, context.options.role == lib.PS_ROLE_SENDER
    parser = FilterParser(site.read_file, cvs=site.cvs_sources, protocol=protocol, am_sender=sends)
    traits = FilterTraits(
        protocol=protocol,
        am_sender=sends,
        delete_mode=bool(options.delete_mode),
        delete_excluded=bool(options.delete_excluded),
        prune_empty_dirs=bool(options.prune_empty_dirs),
        cvs_exclude=bool(options.cvs_exclude),
    )
    server_filter_rules(parser, read_filter_list(source) if list_is_due(traits) else [], traits)
    for warning in parser.warnings:
        site.log(lib.PS_LOG_ERROR, warning)
    return RuleSet(context, parser.rules, cvs=parser.cvs_rules, daemon=site.rules, parse=parser.merge_file)
