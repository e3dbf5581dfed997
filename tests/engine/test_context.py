from prsync.engine.context import Context, Status
from prsync.engine.native import lib


def test_context_new_has_no_log_and_no_events() -> None:
    context = Context()
    assert list(context.drain_log()) == []
    assert context.drain_events() == []
    assert context.check(lib.PS_AGAIN) is Status.AGAIN
