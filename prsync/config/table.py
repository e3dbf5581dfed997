"""The table of rsyncd.conf's parameters: those of rsync 3.5.0 (daemon-parm.txt) and prsync's own, with what prsyncd does.

The README's table is made from PARAMETERS.
"""

from __future__ import annotations

import enum
import syslog

import attrs


class Kind(enum.Enum):
    """How a value is read (loadparm.c:do_parameter)."""

    STRING = "text"
    PATH = "path"
    INTEGER = "number"
    BOOL = "yes or no"
    BOOL3 = "yes, no or unset"
    FACILITY = "syslog facility"
    CHOICE = "one of a list"
    LIST = "text, repeatable"


class Scope(enum.Enum):
    GLOBAL = "global"  # an error in a module's section
    MODULE = "module"  # in the global section: the default of the modules that follow


class Support(enum.Enum):
    FULL = "supported"
    NOT_YET = "not yet"


Value = str | int | bool | None | tuple[str, ...]

DEFAULT_DONT_COMPRESS = (
    "*.3g2 *.3gp *.7z *.aac *.ace *.apk *.avi *.bz2 *.deb *.dmg *.ear *.f4v *.flac *.flv *.gpg *.gz *.iso *.jar *.jpeg *.jpg"
    " *.lrz *.lz *.lz4 *.lzma *.lzo *.m1a *.m1v *.m2a *.m2ts *.m2v *.m4a *.m4b *.m4p *.m4r *.m4v *.mka *.mkv *.mov *.mp1"
    " *.mp2 *.mp3 *.mp4 *.mpa *.mpeg *.mpg *.mpv *.mts *.odb *.odf *.odg *.odi *.odm *.odp *.ods *.odt *.oga *.ogg *.ogm"
    " *.ogv *.ogx *.opus *.otg *.oth *.otp *.ots *.ott *.oxt *.png *.qt *.rar *.rpm *.rz *.rzip *.spx *.squashfs *.sxc"
    " *.sxd *.sxg *.sxm *.sxw *.sz *.tbz *.tbz2 *.tgz *.tlz *.ts *.txz *.tzo *.vob *.war *.webm *.webp *.xz *.z *.zip *.zst"
)
DEFAULT_LOCK_FILE = "/var/run/rsyncd.lock"
DEFAULT_LOG_FORMAT = "%o %h [%a] %m (%u) %f %l"

# loadparm.c:enum_syslog_facility; a number above 0 is taken as it is.
FACILITIES = {
    "auth": syslog.LOG_AUTH,
    "authpriv": getattr(syslog, "LOG_AUTHPRIV", 10 << 3),
    "cron": syslog.LOG_CRON,
    "daemon": syslog.LOG_DAEMON,
    "ftp": 11 << 3,
    "kern": syslog.LOG_KERN,
    "lpr": syslog.LOG_LPR,
    "mail": syslog.LOG_MAIL,
    "news": syslog.LOG_NEWS,
    "security": syslog.LOG_AUTH,
    "syslog": syslog.LOG_SYSLOG,
    "user": syslog.LOG_USER,
    "uucp": syslog.LOG_UUCP,
    **{f"local{n}": (16 + n) << 3 for n in range(8)},
}


@attrs.frozen
class Parameter:
    """One parameter: its documented name, how its value is read, and whether prsyncd has its effect."""

    name: str
    kind: Kind
    scope: Scope
    default: Value = None
    support: Support = Support.FULL
    ours: bool = False  # prsync's own: stock rsyncd logs and ignores it
    choices: tuple[str, ...] = ()
    note: str = ""  # what an operator must know; for prsync's own


def squeeze(name: str) -> str:
    """A parameter's or section's name as rsync compares it: without white space, in one case (loadparm.c:strwiEQ)."""
    return "".join(name.split()).upper()


def _rows() -> tuple[Parameter, ...]:
    """rsync's table (daemon-parm.txt), a line a parameter: one list, as long as that one, to be compared with it."""
    world, module, not_yet = Scope.GLOBAL, Scope.MODULE, Support.NOT_YET
    text, number, flag, flag3 = Kind.STRING, Kind.INTEGER, Kind.BOOL, Kind.BOOL3
    return (
        Parameter("address", text, world),
        Parameter("daemon chroot", text, world, support=not_yet),
        Parameter("daemon gid", text, world, support=not_yet),
        Parameter("daemon uid", text, world, support=not_yet),
        Parameter("motd file", text, world),
        Parameter("pid file", text, world),
        Parameter("proxy protocol hosts", text, world, support=not_yet),
        Parameter("socket options", text, world),
        Parameter("listen backlog", number, world, 5),
        Parameter("port", number, world, 0),
        Parameter("proxy protocol", flag, world, False, support=not_yet),
        Parameter("auth digest", text, module),
        Parameter("auth users", text, module),
        Parameter("charset", text, module, support=not_yet),
        Parameter("comment", text, module),
        Parameter("dont compress", text, module, DEFAULT_DONT_COMPRESS),
        Parameter("early exec", text, module, support=not_yet),
        Parameter("exclude", text, module),
        Parameter("exclude from", text, module),
        Parameter("filter", text, module),
        Parameter("gid", text, module),
        Parameter("hosts allow", text, module),
        Parameter("hosts deny", text, module),
        Parameter("include", text, module),
        Parameter("include from", text, module),
        Parameter("incoming chmod", text, module, support=not_yet),
        Parameter("lock file", text, module, DEFAULT_LOCK_FILE),
        Parameter("log file", text, module),
        Parameter("log format", text, module, DEFAULT_LOG_FORMAT),
        Parameter("name", text, module, support=not_yet),
        Parameter("name converter", text, module, support=not_yet),
        Parameter("outgoing chmod", text, module, support=not_yet),
        Parameter("post-xfer exec", text, module, support=not_yet),
        Parameter("pre-xfer exec", text, module, support=not_yet),
        Parameter("refuse options", text, module),
        Parameter("secrets file", text, module),
        Parameter("syslog tag", text, module, "rsyncd"),
        Parameter("uid", text, module),
        Parameter("path", Kind.PATH, module),
        Parameter("temp dir", Kind.PATH, module, support=not_yet),
        Parameter("max connections", number, module, 0),
        Parameter("max verbosity", number, module, 1),
        Parameter("timeout", number, module, 0),
        Parameter("syslog facility", Kind.FACILITY, module, syslog.LOG_DAEMON),
        Parameter("fake super", flag, module, False, support=not_yet),
        Parameter("forward lookup", flag, module, True),
        Parameter("ignore errors", flag, module, False),
        Parameter("ignore nonreadable", flag, module, False, support=not_yet),
        Parameter("insecure links", flag, module, False, support=not_yet),
        Parameter("list", flag, module, True),
        Parameter("read only", flag, module, True),
        Parameter("reverse lookup", flag, module, True),
        Parameter("strict modes", flag, module, True),
        Parameter("transfer logging", flag, module, False),
        Parameter("write only", flag, module, False),
        Parameter("munge symlinks", flag3, module),
        Parameter("numeric ids", flag3, module),
        Parameter("open noatime", flag3, module, support=not_yet),
        Parameter("use chroot", flag3, module),
        *_ours(),
    )


def _ours() -> tuple[Parameter, ...]:
    def own(name: str, kind: Kind, note: str, default: Value = None, *, world: bool = False, choices: str = "") -> Parameter:
        scope = Scope.GLOBAL if world else Scope.MODULE
        return Parameter(name, kind, scope, default, ours=True, choices=tuple(choices.split()), note=note)

    return (
        own(
            "nominate",
            Kind.CHOICE,
            "which mirrors are named to clients: `off`, `listed` (those of `mirror`) or `registered` (these and those that have"
            " registered); default `listed`",
            "listed",
            choices="off listed registered",
        ),
        own(
            "mirror",
            Kind.LIST,
            "repeatable: the URL of the module at a mirror, `rsync://HOST[:PORT]/MODULE[/PATH]`;"
            " `stock` behind it where the server is rsync's own and not a prsyncd",
            (),
        ),
        own(
            "nominate origin",
            Kind.CHOICE,
            "`last`: clients take from here only what no mirror delivers; `equal`: from here as from a mirror; default `last`",
            "last",
            choices="last equal",
        ),
        own(
            "max nominate connections",
            Kind.INTEGER,
            "with `max connections` in force: so many more connections that get the file list, digests and mirrors, and file"
            " data only while they have a slot of `max connections`; 0 no limit, negative none; default 200",
            200,
        ),
        own(
            "digest index",
            Kind.BOOL3,
            "whether digests of the module's files are kept, which mirrors need of their origin and peers of a mirror;"
            " default: yes where the module names mirrors",
        ),
        own(
            "state dir",
            Kind.PATH,
            "where digests are kept; default `/var/lib/prsync`, for others than root `prsync` in `$XDG_STATE_HOME`"
            " (`~/.local/state`)",
            world=True,
        ),
    )


PARAMETERS: dict[str, Parameter] = {squeeze(row.name): row for row in _rows()}
