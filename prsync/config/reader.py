"""Reads rsyncd.conf's grammar (rsync's params.c): sections, parameters, directives, comments, continuation lines.

The reader knows no parameter: it yields what it finds, with file and line, and says what is malformed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import attrs

from prsync.privileges import open_trusted

WHITE = " \t\n\r\v\f"
MAX_DEPTH = 16  # of &include within &include: a cycle ends here


@attrs.frozen
class Place:
    """Where something stands in the configuration."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@attrs.frozen
class Section:
    name: str
    place: Place


@attrs.frozen
class Setting:
    name: str
    value: str
    place: Place


@attrs.frozen
class Scope:
    """An &include begins or ends: "push" keeps the global values, "reset" and "pop" bring them back (loadparm.c:do_section)."""

    action: str
    place: Place


@attrs.frozen
class Flaw:
    """Something malformed. `fatal`: rsyncd refuses the file; otherwise it logs the line and ignores it."""

    text: str
    place: Place
    fatal: bool


Item = Section | Setting | Scope | Flaw


class Reader:
    """Yields the items of a configuration file and of those that it includes.

    `files` collects what the configuration depends on: the path of each file and directory read.
    """

    def __init__(self) -> None:
        self.files: list[str] = []

    def read(self, path: str, from_place: Place | None = None, depth: int = 0) -> Iterator[Item]:
        """The items of one file, in order; stops after a fatal flaw."""
        self.files.append(path)
        try:
            with os.fdopen(open_trusted(path, os.O_RDONLY), "rb") as file:
                text = file.read().decode("utf-8", "surrogateescape")
        except OSError as error:
            yield Flaw(f"cannot open the configuration file {path}: {error.strerror}", from_place or Place(path, 0), fatal=True)
            return
        for item in _Scanner(path, text).items():
            if isinstance(item, Setting) and item.name.startswith("&"):
                for inner in self._directive(item, depth):
                    yield inner
                    if isinstance(inner, Flaw) and inner.fatal:
                        return
                continue
            yield item
            if isinstance(item, Flaw) and item.fatal:
                return

    def _directive(self, item: Setting, depth: int) -> Iterator[Item]:
        name = item.name.lower()
        if name not in ("&include", "&merge"):
            yield Flaw(f"unknown directive {item.name}: only &include and &merge exist", item.place, fatal=True)
            return
        if depth >= MAX_DEPTH:
            text = f"{item.name} is nested more than {MAX_DEPTH} deep: does {item.value} include itself?"
            yield Flaw(text, item.place, fatal=True)
            return
        scoped = name == "&include"
        try:
            mode = os.stat(item.value).st_mode
            if stat.S_ISREG(mode):
                names = [item.value]
            elif stat.S_ISDIR(mode):
                self.files.append(item.value)
                found = [n for n in os.listdir(item.value) if n.endswith(".conf" if scoped else ".inc")]
                names = [os.path.join(item.value, n) for n in sorted(found, key=os.fsencode)]
            else:
                yield Flaw(f"{item.name} {item.value}: neither a file nor a directory", item.place, fatal=True)
                return
        except OSError as error:
            yield Flaw(f"{item.name} {item.value}: {error.strerror}", item.place, fatal=True)
            return
        for number, name in enumerate(names):
            if scoped:
                yield Scope("reset" if number else "push", item.place)
            yield from self.read(name, item.place, depth + 1)
        if scoped and names:
            yield Scope("pop", item.place)


class _Scanner:
    """params.c:Parse over one file's text. A NUL byte and the end of the file end a line alike."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.at = 0
        self.line = 1

    def items(self) -> Iterator[Item]:
        char = self._skip_white()
        while char and char != "\0":
            start = Place(self.path, self.line)
            if char == "\n" or char == "\\":
                pass
            elif char in ";#":
                self._skip_line()
            elif char == "[":
                item = self._section(start)
                yield item
                if isinstance(item, Flaw):
                    return
            else:
                yield self._parameter(char, start)
            char = self._skip_white()

    def _next(self) -> str:
        """The next character; "" at the end."""
        if self.at >= len(self.text):
            return ""
        char = self.text[self.at]
        self.at += 1
        if char == "\n":
            self.line += 1
        return char

    def _skip_white(self) -> str:
        """The next character that is no white space, or a newline."""
        while True:
            char = self._next()
            if char == "\n" or not char or char not in WHITE:
                return char

    def _skip_line(self) -> None:
        while self._next() not in ("\n", "", "\0"):
            pass

    def _section(self, start: Place) -> Item:
        name = ""
        char = self._skip_white()
        while char and char != "\0":
            if char == "]":
                name = name.rstrip(" ")
                self._skip_line()
                if not name:
                    return Flaw("empty section name", start, fatal=True)
                return Section(name, start)
            if char == "\n":
                joined = _continued(name)
                if joined is None:
                    return Flaw(f"badly formed section line: [{name}", start, fatal=True)
                name = joined.rstrip(" ") + (" " if joined.endswith(" ") else "")
                char = self._next()
            elif char in WHITE:
                name = name.rstrip(" ") + " "
                char = self._skip_white()
            else:
                name += char
                char = self._next()
        return Flaw(f"the file ends within a section name: [{name}", start, fatal=True)

    def _parameter(self, char: str, start: Place) -> Item:
        name = ""
        directive = char == "&"
        while True:
            if char == "=" or (directive and char in (" ", "\t")):
                name = name.rstrip(" ")
                value_char = self._skip_white()
                if directive and char != "=" and value_char == "=":
                    value_char = self._skip_white()
                if not name:
                    self._value(value_char)
                    return Flaw("a parameter without a name", start, fatal=True)
                return Setting(name, self._value(value_char), start)
            if char == "\n":
                joined = _continued(name)
                if joined is None:
                    return Flaw(f"ignoring a badly formed line (no = in it): {name.rstrip(' ')}", start, fatal=False)
                name = joined
                char = self._next()
            elif not char or char == "\0":
                return Flaw(f"the file ends within a parameter's name: {name}", start, fatal=False)
            elif char in WHITE:
                name = name.rstrip(" ") + " "
                char = self._skip_white()
            else:
                name += char
                char = self._next()

    def _value(self, char: str) -> str:
        value = ""
        end = 0  # white space at the end does not count, but what stands before a continuation does
        while char and char != "\0":
            if char == "\n":
                joined = _continued(value)
                if joined is None:
                    break
                value, end = joined, len(joined)
            elif char != "\r":
                value += char
                if char not in WHITE:
                    end = len(value)
            char = self._next()
        return value[:end]


def _continued(text: str) -> str | None:
    """The text before a backslash at the line's end; None when there is none."""
    stripped = text.rstrip(WHITE)
    return stripped[:-1] if stripped.endswith("\\") else None
