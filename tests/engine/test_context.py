from hypothesis import given
from hypothesis import strategies as st

from prsync.engine.context import Context, Status
from prsync.engine.native import ffi, lib


def test_context_new_has_no_log_and_no_events() -> None:
    context = Context()
    assert list(context.drain_log()) == []
    assert context.drain_events() == []
    assert context.check(lib.PS_AGAIN) is Status.AGAIN


def marked(text: bytes) -> bytes:
    """What the log keeps: line ends within a message are marked, but for a carriage return in front and the last byte."""
    head = [bytes([b]) if b == 13 and not i else {10: b"\0n", 13: b"\0r"}.get(b, bytes([b])) for i, b in enumerate(text[:-1])]
    return b"".join(head) + text[-1:]


@given(st.lists(st.sampled_from([b"\n", b"\r", b"a", b"\0", b"line"]), min_size=1).map(b"".join))
def test_log_line_ends_within_a_message_are_marked(text: bytes) -> None:
    context = Context()
    rules = ffi.gc(lib.ps_rules_new(context.handle), lib.ps_rules_free)
    lib.ps_rules_log(rules, lib.PS_LOG_INFO, text, len(text))
    assert list(context.drain_log()) == [(lib.PS_LOG_INFO, marked(text))]


def test_log_of_a_message_of_line_ends_alone_takes_one_pass() -> None:
    context = Context()
    rules = ffi.gc(lib.ps_rules_new(context.handle), lib.ps_rules_free)
    text = b"\n" * (1 << 22)  # by one move a mark this would be terabytes
    lib.ps_rules_log(rules, lib.PS_LOG_INFO, text, len(text))
    assert list(context.drain_log()) == [(lib.PS_LOG_INFO, marked(text))]
