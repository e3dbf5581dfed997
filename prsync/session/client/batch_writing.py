"""--write-batch and --only-write-batch: the file that the core records into, and the script that reads it again (batch.c)."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType

from prsync.errors import FileError, FileSelectionError, UsageError
from prsync.options.model import as_bytes
from prsync.privileges import open_trusted
from prsync.protocol.batch import encode_flags, encode_session
from prsync.protocol.filter_list import FilterTraits, rule_prefix
from prsync.protocol.filter_syntax import DIRECTORY
from prsync.protocol.negotiation import Negotiated
from prsync.session.client.batch_options import quote, replay_words, stream_flags
from prsync.session.client.rules import Prepared
from prsync.session.client.run import Run

HERE_DOCUMENT_END = b"#E#"


class BatchFile:
    """Both files, being written. `descriptor`: of the batch, for the core. As a context manager they are closed at the end."""

    def __init__(self, run: Run) -> None:
        """Raises FileError and FileSelectionError."""
        self._run = run
        self.name = run.options.batch_name or ""
        self._script = -1
        try:
            self._script = open_trusted(self._script_name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
        except OSError as error:
            raise FileSelectionError(open_error(run, self._script_name, error)) from None
        try:
            self.descriptor = open_trusted(self.name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            os.close(self._script)
            raise FileError(open_error(run, self.name, error)) from None
        self._write(encode_flags(stream_flags(run.options)))

    def __enter__(self) -> BatchFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        for descriptor in (self._script, self.descriptor):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    @property
    def _script_name(self) -> str:
        return self.name + ".sh"

    def begin(self, negotiated: Negotiated, prepared: Prepared) -> None:
        """What is known once the session is agreed; the data follows. Raises FileError, UsageError."""
        self._write_script(negotiated, prepared)
        self._write(encode_session(negotiated.protocol, negotiated.flags, negotiated.seed))

    def _write(self, data: bytes) -> None:
        try:
            write_all(self.descriptor, data)
        except OSError as error:
            raise FileError(f"rsync: Batch file {self.name} write error: {error.strerror} ({error.errno})") from None

    def _write_script(self, negotiated: Negotiated, prepared: Prepared) -> None:
        words = [quote(self._run.words[0] if self._run.words else "rsync")]
        if prepared.rules.rules:
            words.append(f"--filter={quote('._-')}" if negotiated.protocol >= 29 else f"--exclude-from={quote('-')}")
        words += replay_words(self._run.words, self._run.options.arguments)
        text = as_bytes(" ".join(words)) + (self._rules(prepared) if prepared.rules.rules else b"") + b"\n"
        try:
            write_all(self._script, text)
        except OSError as error:
            raise FileError(f"rsync: Batch file {self._script_name} write error: {error.strerror} ({error.errno})") from None

    def _rules(self, prepared: Prepared) -> bytes:
        """batch.c:write_filter_rules."""
        nulls = self._run.options.eol_nulls
        out = b" <<'" + HERE_DOCUMENT_END + b"'\n"
        for rule in prepared.rules.rules:
            if b"\n" in rule.pattern:
                raise UsageError("cannot write a filter rule containing a newline to the batch replay script")
            prefix = rule_prefix(rule, FilterTraits()) or b""
            out += prefix + rule.pattern + (b"/" if rule.flags & DIRECTORY else b"") + (b"\0" if nulls else b"\n")
        return out + (b";\n" if nulls else b"") + HERE_DOCUMENT_END


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def open_error(run: Run, name: str, error: OSError) -> str:
    shown = name if name.startswith("/") else os.path.join(os.fsdecode(run.directory), name)
    return f'rsync: [{run.role}] Batch file "{shown}" open error: {error.strerror} ({error.errno})'
