"""rsyncd.conf as frozen values, read as rsync's loadparm.c does.

`load_config` never raises for what a file says: the configuration comes with its problems. `Problem.fatal` ones stop the
start (and a reread); the others are logged and the line is ignored, as rsyncd does. `--check-config` fails on both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import attrs

from prsync.config.reader import Flaw, Item, Place, Reader, Scope, Section, Setting
from prsync.config.table import FACILITIES, PARAMETERS, Kind, Parameter, Support, Value, squeeze
from prsync.config.table import Scope as Where
from prsync.errors import ConfigError
from prsync.registry.listed import parse_mirror

DEFAULT_CONFIG = "/etc/rsyncd.conf"
USER_CONFIG = "rsyncd.conf"
MAX_NUMBER = 2**31 - 1

YES, NO, UNSET = ("YES", "TRUE", "1"), ("NO", "FALSE", "0"), ("UNSET", "-1")


@attrs.frozen
class Problem:
    """One line of the configuration that cannot be used as it stands."""

    place: Place
    text: str
    fatal: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place.line else self.text


def expand(value: str, environment: Mapping[str, str]) -> str:
    """%VAR% replaced by the environment; what is unknown or malformed stays as it is (loadparm.c:expand_vars)."""
    return re.sub(r"%([A-Z][^%]*)%", lambda m: environment.get(m[1], m[0]), value) if "%" in value else value


@attrs.frozen
class Values:
    """The values of one section: those set in it or inherited, else the defaults. Texts are not yet expanded."""

    settings: Mapping[str, Value]

    def _get(self, name: str) -> Value:
        key = squeeze(name)
        return self.settings.get(key, PARAMETERS[key].default)

    def text(self, name: str, environment: Mapping[str, str] | None = None) -> str:
        """A text or path, %VAR%s expanded; "" when it is not set."""
        value = self._get(name)
        assert value is None or isinstance(value, str), name
        return expand(value or "", environment or {})

    def number(self, name: str) -> int:
        value = self._get(name)
        assert isinstance(value, int), name
        return int(value)

    def flag(self, name: str) -> bool:
        return bool(self._get(name))

    def flag3(self, name: str) -> bool | None:
        value = self._get(name)
        assert value is None or isinstance(value, bool), name
        return value

    def texts(self, name: str, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """A repeatable parameter's values, in order."""
        value = self._get(name)
        assert isinstance(value, tuple), name
        return tuple(expand(v, environment or {}) for v in value)

    def is_set(self, name: str) -> bool:
        return squeeze(name) in self.settings


@attrs.frozen
class Module:
    """A section of rsyncd.conf: a tree exported by the daemon."""

    name: str
    values: Values
    place: Place


@attrs.frozen
class Config:
    """A whole rsyncd.conf.

    `start`: the global values before the first module, which decide about sockets, pid file and the supervisor's log;
    `globals`: those at the end of the file, which are what a connection sees before it names a module.
    """

    path: str
    start: Values
    globals: Values
    modules: tuple[Module, ...]
    problems: tuple[Problem, ...]
    stamps: tuple[tuple[str, tuple[int, ...]], ...]

    def usable(self) -> Config:
        """Itself. Raises ConfigError, whose text has a line a problem, where a daemon would not start with it."""
        if self.fatal:
            raise ConfigError("\n".join(str(problem) for problem in self.fatal))
        return self

    @property
    def fatal(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.fatal)

    def module(self, name: str) -> Module | None:
        """The module of exactly this name; the last one where there are several (loadparm.c:lp_number)."""
        return next((m for m in reversed(self.modules) if m.name == name), None)

    def changed_on_disk(self) -> bool:
        """Whether a file that was read has changed since; a look at each file's status, nothing is read."""
        return any(_stamp(path) != stamp for path, stamp in self.stamps)


def load_config(path: str, environment: Mapping[str, str], overrides: Sequence[str] = ()) -> Config:
    """Reads `path` and what it includes. `overrides`: "NAME=VALUE" of --dparam, applied to the global section."""
    reader = Reader()
    builder = _Builder(environment, overrides)
    for item in reader.read(path):
        builder.take(item)
    builder.finish()
    files = tuple((name, _stamp(name)) for name in dict.fromkeys(reader.files))
    modules = tuple(Module(name, Values(values), place) for name, values, place in builder.sections)
    return Config(path, Values(builder.start or {}), Values(builder.world), modules, tuple(builder.problems), files)


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class _Builder:
    """Takes the reader's items in order, as loadparm.c's do_section and do_parameter do."""

    def __init__(self, environment: Mapping[str, str], overrides: Sequence[str]) -> None:
        self.environment = environment
        self.overrides = overrides
        self.world: dict[str, Value] = {}
        self.start: dict[str, Value] | None = None
        self.sections: list[tuple[str, dict[str, Value], Place]] = []
        self.current: dict[str, Value] | None = None
        self.stack: list[dict[str, Value]] = []
        self.problems: list[Problem] = []

    def take(self, item: Item) -> None:
        if isinstance(item, Setting):
            self._setting(item.name, item.value, item.place)
        elif isinstance(item, Section):
            self._section(item)
        elif isinstance(item, Scope):
            self._scope(item)
        elif isinstance(item, Flaw):
            self.problems.append(Problem(item.place, item.text, item.fatal))

    def finish(self) -> None:
        if self.start is None:
            self._end_of_globals()
        for name, values, place in self.sections:
            if not values.get("PATH"):
                self._problem(place, f"module [{name}] has no path", fatal=False)

    def _problem(self, place: Place, text: str, fatal: bool) -> None:
        self.problems.append(Problem(place, text, fatal))

    def _end_of_globals(self) -> None:
        for override in self.overrides:
            name, equals, value = override.partition("=")
            place = Place(f"--dparam {override}", 0)
            if not equals:
                self._problem(place, f"--dparam value is missing an '=': {override}", fatal=True)
            elif squeeze(name) not in PARAMETERS:
                self._problem(place, f'Unknown parameter "{name}"', fatal=True)
            else:
                self.current = None
                self._setting(name, value.lstrip(), place)
        self.start = dict(self.world)

    def _section(self, item: Section) -> None:
        if squeeze(item.name) == "GLOBAL":
            self.current = None
            return
        if self.start is None:
            self._end_of_globals()
        if "/" in item.name:
            self._problem(item.place, f"a module's name cannot have a slash: [{item.name}]", fatal=True)
        for name, values, _ in reversed(self.sections):
            if squeeze(name) == squeeze(item.name):
                self.current = values
                return
        # A module starts with the global section's values for modules; those for the whole daemon play no part in it.
        self.current = {key: value for key, value in self.world.items() if PARAMETERS[key].scope is Where.MODULE}
        self.sections.append((item.name, self.current, item.place))

    def _scope(self, item: Scope) -> None:
        self.current = None
        if item.action == "push":
            self.stack.append(dict(self.world))
        else:
            self.world = dict(self.stack[-1])
            if item.action == "pop":
                self.stack.pop()

    def _setting(self, name: str, value: str, place: Place) -> None:
        parameter = PARAMETERS.get(squeeze(name))
        if parameter is None:
            self._problem(place, f'ignoring unknown parameter "{name}"', fatal=False)
            return
        if parameter.support is Support.NOT_YET:
            self._problem(place, f'prsyncd does not support the parameter "{parameter.name}" yet: remove the line', fatal=True)
            return
        if self.current is not None and parameter.scope is Where.GLOBAL:
            self._problem(place, f'ignoring the global parameter "{parameter.name}" in a module\'s section', fatal=False)
            return
        if parameter.name in ("hosts allow", "hosts deny") and any(w.startswith("@") for w in value.replace(",", " ").split()):
            self._problem(place, f'prsyncd does not support @netgroups in "{parameter.name}" yet: name hosts', fatal=True)
            return
        target = self.world if self.current is None else self.current
        try:
            target[squeeze(parameter.name)] = self._read(parameter, value, target.get(squeeze(parameter.name)), place)
        except ValueError as error:
            # What rsync cannot read it logs and ignores; our own parameters have no such habit to keep.
            self._problem(place, f"{error}" if parameter.ours else f"ignoring {error}", fatal=parameter.ours)

    def _read(self, parameter: Parameter, value: str, before: Value, place: Place) -> Value:
        kind = parameter.kind
        if kind is Kind.STRING:
            return value
        if kind is Kind.PATH:
            return value.rstrip("/") or value[:1]
        if parameter.name == "mirror":
            parse_mirror(expand(value, self.environment))
        if kind is Kind.LIST:
            return (*(before if isinstance(before, tuple) else ()), value)
        value = expand(value, self.environment)
        if kind in (Kind.BOOL, Kind.BOOL3):
            return _boolean(parameter, value)
        if kind is Kind.FACILITY:
            return _facility(parameter, value)
        if kind is Kind.CHOICE:
            if value.lower() not in parameter.choices:
                raise ValueError(f'"{parameter.name} = {value}": must be one of {", ".join(parameter.choices)}')
            return value.lower()
        if not _is_number(value):
            if parameter.ours:
                raise ValueError(f'"{parameter.name} = {value}": must be a number')
            taken = _number(parameter, value)
            self._problem(place, f'"{parameter.name} = {value}" is not a number, {taken} is taken', fatal=False)
        return _number(parameter, value)


def _boolean(parameter: Parameter, value: str) -> bool | None:
    word = squeeze(value)
    if word in YES:
        return True
    if word in NO:
        return False
    if parameter.kind is Kind.BOOL3 and word in UNSET:
        return None
    raise ValueError(f'"{parameter.name} = {value}": must be yes or no')


def _facility(parameter: Parameter, value: str) -> int:
    if value.lower() in FACILITIES:
        return FACILITIES[value.lower()]
    if value.isascii() and value.isdigit() and 0 < int(value) <= MAX_NUMBER:
        return int(value)
    raise ValueError(f'"{parameter.name} = {value}": not a syslog facility')


def _number(parameter: Parameter, value: str) -> int:
    """A whole number, as C's atoi reads it: what follows it does not count."""
    found = re.match(r"\s*([+-]?[0-9]+)", value)
    number = int(found[1]) if found else 0
    if abs(number) > MAX_NUMBER:
        raise ValueError(f'"{parameter.name} = {value}": too large a number')
    return number


def _is_number(value: str) -> bool:
    return re.fullmatch(r"\s*[+-]?[0-9]+\s*", value) is not None
