import pathlib
import re

import pytest

from prsync.engine.native import lib
from prsync.protocol import limits
from prsync.protocol.extension import TRANSITIONS, State
from prsync.protocol.frames import FrameType

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SPEC = ROOT / "protocol-spec"
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def table(path: pathlib.Path, *head: str) -> list[list[str]]:
    """The rows of all tables whose first columns have these names."""
    rows: list[list[str]] = []
    inside = False
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells[: len(head)] == list(head):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not set(line) <= set("|-"):
            rows.append(cells)
    return rows


def number(text: str) -> float:
    found = re.match(r"([\d,]*\d) ?(KiB|MiB|GiB)?( − 1\b)?", text)
    assert found, text
    return int(found[1].replace(",", "")) * UNITS[found[2] or ""] - bool(found[3])


def documented() -> dict[str, float]:
    found = {}
    for name, value, *_ in table(SPEC / "limits.md", "name", "value"):
        names = re.findall(r"`(\w+)`", name)
        for each, said in zip(names, value.split(", ", len(names) - 1), strict=True):
            found[each] = number(said)
            if doubling := re.match(r".*, doubling to (\d+)", said):
                found[each + "_MAX"] = int(doubling[1])
    return found


def core_constants(header: str, prefix: str) -> dict[str, int]:
    text = (ROOT / "csrc" / header).read_text()
    return {name: int(value, 0) for name, value in re.findall(rf"^#define ({prefix}\w+) (0x[0-9a-f]+|\d+)u?\b", text, re.M)}


def test_limits_table_has_what_the_code_has() -> None:
    code: dict[str, float] = {name: value for name, value in vars(limits).items() if name.isupper()}
    code |= core_constants("core/limits.h", "PS_LIMIT_")
    code |= {
        name.removeprefix("PS_NOMINATE_"): value for name, value in core_constants("api/limits_api.h", "PS_NOMINATE_").items()
    }
    assert documented() == code


def test_limit_is_read_by_something() -> None:
    python = [path.read_text() for path in (ROOT / "prsync").rglob("*.py")]
    core = [path.read_text() for path in (ROOT / "csrc").glob("*/*.[ch]")]
    for name in (name for name in vars(limits) if name.isupper()):
        assert any(re.search(rf"limits\.{name}\b|limits import [^\n]*\b{name}\b", text) for text in python), name
    for name in [*core_constants("core/limits.h", "PS_LIMIT_"), *core_constants("api/limits_api.h", "PS_NOMINATE_")]:
        assert sum(bool(re.search(rf"\b{name}\b", text)) for text in core) > 1, name


def test_frame_types_are_the_specs_and_the_cores() -> None:
    specified = {int(row[0]): row[1] for row in table(SPEC / "nominate-1.md", "type", "name", "from", "where")}
    assert {kind.value: kind.name.lower().replace("digests_request", "digests?") for kind in FrameType} == specified
    assert {kind.name: kind.value for kind in FrameType} == {
        name.removeprefix("PS_FRAME_"): value for name, value in core_constants("api/frames_api.h", "PS_FRAME_").items()
    }
    assert all(getattr(lib, f"PS_FRAME_{kind.name}") == kind for kind in FrameType)


STATES = {
    ("client, session", "agreed (sent hello)"): State.CLIENT_AGREED,
    ("client, session", "known"): State.CLIENT_KNOWN,
    ("client, session", "nominated"): State.CLIENT_NOMINATED,
    ("daemon, session", "agreed"): State.DAEMON_AGREED,
    ("daemon, session", "open"): State.DAEMON_OPEN,
    ("client, peer", "agreed (sent hello)"): State.PEER_CLIENT_AGREED,
    ("client, peer", "open"): State.PEER_CLIENT_OPEN,
    ("daemon, peer", "agreed"): State.PEER_DAEMON_AGREED,
    ("daemon, peer", "open"): State.PEER_DAEMON_OPEN,
}


def test_states_allow_the_frames_of_the_specs_table() -> None:
    rows = {(row[0], row[1]): set(row[2].split(", ")) for row in table(SPEC / "nominate-1.md", "side", "state")}
    assert rows.keys() == STATES.keys()
    for place, allowed in rows.items():
        kinds = {
            kind.name.lower().replace("digests_request", "digests?") for state, kind in TRANSITIONS if state is STATES[place]
        }
        assert kinds == allowed, place


MODULES = [path for path in (ROOT / "prsync").rglob("*.py") if re.search(r"^MSG_", path.read_text(), re.M)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_message_codes_written_as_numbers_are_the_cores(path: pathlib.Path) -> None:
    for name, value in re.findall(r"^MSG_(\w+)(?:: Final)? = (\d+)", path.read_text(), re.M):
        assert getattr(lib, f"PS_MSG_{name}") == int(value), name
