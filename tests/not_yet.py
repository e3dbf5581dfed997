"""What prsync does not do yet: a row for each feature. A case that needs one must fail; a row goes when its feature is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

NOT_YET: dict[str, str] = {}


def marks(*features: str) -> list[pytest.MarkDecorator]:
    """The marks of a case that needs these features."""
    missing = [NOT_YET[feature] for feature in features if feature in NOT_YET]
    return [pytest.mark.xfail(strict=True, raises=AssertionError, reason="; ".join(missing))] if missing else []


def needing(*features: str) -> Callable[[Any], Any]:
    """The same for a test without parameters."""

    def marked(test: Any) -> Any:
        for mark in marks(*features):
            test = mark(test)
        return test

    return marked
