"""A worker's way into a module, in rsync's order (clientserver.c:rsync_module): hosts, slot, authentication, users and groups,
path, log, chroot, drop; then `@RSYNCD: OK`. After the drop nothing is imported, no codec looked up, no library loaded.
"""

from __future__ import annotations

import os
import time

import attrs

from prsync.config.model import Module
from prsync.engine.confinement import drop_rights
from prsync.privileges import open_directory
from prsync.session.daemon.admission.authentication import (
    DIGESTS,
    AuthRefused,
    Granted,
    authenticate,
    choose_digest,
    make_challenge,
    too_weak,
)
from prsync.session.daemon.admission.host_access import UNDETERMINED, check_access, host_name
from prsync.session.daemon.admission.identity import module_identity
from prsync.session.daemon.admission.slots import Slots
from prsync.session.daemon.admission.text_phase import LONG_LINE_LIMIT, Greeting, Hangup, Refusal
from prsync.session.daemon.connection import Entered, Worker
from prsync.session.daemon.log import DaemonLog
from prsync.session.daemon.nominate.offer import is_offered, open_extension
from prsync.session.daemon.process.dispatch import serve_session
from prsync.session.daemon.transfer.module_rules import module_rules

MUNGED_PREFIX = "/rsyncd-munged"


@attrs.frozen
class Standing:
    """Where and as whom a session will run."""

    uid: int | None
    groups: tuple[int, ...]
    chroot: str | None  # the directory that becomes the root
    directory: str  # where the module is, inside the chroot if there is one
    full_path: str  # the module's path outside of it
    munge_links: bool


def serve_module(worker: Worker, module: Module, greeting: Greeting) -> int:
    """From the module's name to the end of the connection. Raises Refusal and Hangup."""
    worker.environment["RSYNC_MODULE_NAME"] = module.name
    _admit(worker, module)
    offered = is_offered(module.values, greeting)
    slots = _claim(worker, module, offered)
    granted = _authenticate(worker, module, greeting)
    worker.environment["RSYNC_USER_NAME"] = granted.user
    worker.text.set_deadline(None)
    standing = _standing(worker, module)
    worker.environment["RSYNC_MODULE_PATH"] = standing.full_path
    rules = module_rules(module, worker.environment)
    _switch_log(worker, module)
    extension = open_extension(worker, module, slots, not slots.holds_data, _refusal(module)) if offered else None
    root = _confine(worker, standing)
    worker.text.set_deadline(worker.handshake_seconds(module.values))
    worker.text.send("@RSYNCD: OK\n")
    read_only = module.values.flag("read only") if granted.read_only is None else granted.read_only
    entered = Entered(module, greeting.protocol, granted.user, read_only, root, standing.directory, standing.full_path,
                      standing.munge_links, standing.chroot is not None, rules, extension)  # fmt: skip
    return serve_session(worker, entered)


def _admit(worker: Worker, module: Module) -> None:
    values, log = module.values, worker.log
    if worker.host == UNDETERMINED and values.flag("reverse lookup"):
        worker.host = host_name(worker.address, log.line)
    allow, deny = (values.text(name, worker.environment) for name in ("hosts allow", "hosts deny"))
    verdict = check_access(worker.address, worker.host, allow, deny, values.flag("forward lookup"), log.line)
    worker.host = verdict.host
    worker.environment |= {"RSYNC_HOST_NAME": worker.host, "RSYNC_HOST_ADDR": worker.address}
    if not verdict.allowed:
        text = f"access denied to {module.name} from {worker.host} ({worker.address})"
        if not values.flag("list"):
            text = f"Unknown module '{module.name}'"  # what is not listed is not admitted to exist
        raise Refusal(text, f"rsync denied on module {module.name} from {worker.host} ({worker.address})")
    log.line(f"rsync allowed access on module {module.name} from {worker.host} ({worker.address})")


def _claim(worker: Worker, module: Module, offered: bool) -> Slots:
    """A slot. `offered`: with all of them taken, the client comes in as one that gets no file data from us."""
    values = module.values
    path = values.text("lock file", worker.environment)
    try:
        slots = Slots(path, values.number("max connections"), values.number("max nominate connections"))
    except OSError as error:
        worker.log.failure(f"failed to open lock file {path}", error)
        raise Refusal("failed to open lock file") from error
    if not slots.take() and not (offered and slots.take_nominate()):
        text = _refusal(module)
        raise Refusal(f"{text} -- try again later", text)
    return slots


def _refusal(module: Module) -> str:
    return f"max connections ({module.values.number('max connections')}) reached"


def _authenticate(worker: Worker, module: Module, greeting: Greeting) -> Granted:
    values = module.values
    rules = values.text("auth users", worker.environment)
    worker.text.set_deadline(worker.handshake_seconds(values))
    if not rules:
        return Granted("", None)
    digest = choose_digest(greeting.digests, greeting.protocol)
    if digest is None:
        raise Refusal(f"your client does not support one of our daemon-auth checksums: {' '.join(DIGESTS)}")
    failed = f"auth failed on module {module.name}"
    try:
        weak = too_weak(digest, values.text("auth digest", worker.environment))
        if weak:
            raise AuthRefused(f": {weak}")
        challenge = make_challenge(digest)
        worker.text.send(f"@RSYNCD: AUTHREQD {challenge}\n")
        try:
            line = worker.text.line(LONG_LINE_LIMIT)
        except Hangup:
            line = ""
        secrets_file = values.text("secrets file", worker.environment)
        return authenticate(rules, secrets_file, values.flag("strict modes"), digest, challenge, line)
    except AuthRefused as refused:
        raise Refusal(failed, f"{failed} from {worker.host} ({worker.address}){refused.reason}") from refused


def _standing(worker: Worker, module: Module) -> Standing:
    values, environment = module.values, worker.environment
    uid, groups = module_identity(values.text("uid", environment), values.text("gid", environment))
    path = values.text("path", environment)
    if not path:
        raise Refusal("no path setting.", f"No path specified for module {module.name}")
    chroot, inside = _chroot(worker, path, values.flag3("use chroot"))
    directory = inside if chroot is not None else _absolute(path)
    # With nothing but a chroot around the module a symlink leads nowhere else; without one they are munged by default.
    munge = values.flag3("munge symlinks")
    if munge is None:
        munge = chroot is None or inside != "/"
    return Standing(uid, groups, chroot, directory, _absolute(path), munge)


def _chroot(worker: Worker, path: str, wanted: bool | None) -> tuple[str | None, str]:
    """(the directory to be the root, the module's within it); (None, "") without a chroot. /./ in a path parts the two."""
    outer, parted, inner = path.partition("/./")
    if wanted is None:
        wanted = bool(parted) or _can_chroot(worker)
    if not wanted:
        return None, ""
    return (_absolute(outer or "/"), _absolute("/" + inner)) if parted else (_absolute(path), "/")


def _can_chroot(worker: Worker) -> bool:
    try:
        os.chroot("/")  # leads nowhere else, and leaves the working directory
    except OSError as error:
        worker.log.line(f"chroot test failed: {error.strerror}. Switching 'use chroot' from unset to false.")
        return False
    return True


def _absolute(path: str) -> str:
    return os.path.normpath(os.path.join(os.getcwd(), path)).replace("//", "/")


def _switch_log(worker: Worker, module: Module) -> None:
    """The module's own log, where it has one; what is common to all was opened by the supervisor."""
    path, tag, facility = log_place(worker, module)
    if not worker.log.is_like(path, tag, facility):
        worker.log.close()
        worker.log = DaemonLog(path, tag, facility)


def log_place(worker: Worker, module: Module) -> tuple[str, str, int]:
    values = module.values
    path = worker.options.log_file if worker.options.log_file is not None else values.text("log file", worker.environment)
    return path, values.text("syslog tag", worker.environment), values.number("syslog facility")


def _opened(directory: str) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _confine(worker: Worker, standing: Standing) -> int:
    """chroot, chdir, drop. Returns a descriptor of the module's directory."""
    log = worker.log
    time.localtime()  # a chroot has no time zone to read
    if standing.chroot is not None:
        try:
            os.chroot(standing.chroot)
        except OSError as error:
            log.failure(f'chroot("{standing.chroot}") failed', error)
            raise Refusal("chroot failed") from error
    try:
        # Without a chroot whoever may write to a directory above the module must not move it elsewhere.
        root = open_directory(standing.directory) if standing.chroot is None else _opened(standing.directory)
        os.fchdir(root)
    except OSError as error:
        log.failure(f"chdir {standing.directory} failed", error)
        raise Refusal("chdir failed") from error
    if standing.munge_links and os.path.isdir(MUNGED_PREFIX):
        raise Refusal(
            "daemon security issue -- contact admin", f"Symlink munging is unsafe when a {MUNGED_PREFIX} directory exists."
        )
    try:
        drop_rights(standing.uid, standing.groups)
    except OSError as error:
        log.failure(f"{error.filename or 'prctl'} failed", error)
        raise Refusal(f"{error.filename or 'prctl'} failed") from error
    return root
