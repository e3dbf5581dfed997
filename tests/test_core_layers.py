"""The layers of the C core: folders depend in one direction only, by what they include and by what their objects call."""

import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
OBJECTS = ROOT / "build" / "native"
# A folder may use those before it.
ORDER = [
    "api", "core", "wire", "fs", "digest", "filter", "delta", "filelist", "render", "output", "generator", "sender", "nominate",
    "receiver", "fuzz",
]  # fmt: skip
FILES = sorted(CSRC.glob("*/*.[ch]"))
MOST_FILES = 25


def includes() -> Iterator[tuple[pathlib.Path, str]]:
    for path in FILES:
        for name in re.findall(r'^#include "([^"]+)"', path.read_text(), re.M):
            yield path, name if "/" in name else f"{path.parent.name}/{name}"


def test_folder_of_the_core_has_a_place_in_the_order() -> None:
    assert {path.parent.name for path in FILES} == set(ORDER)


def test_include_leads_to_a_folder_below() -> None:
    upwards = [
        f"{path.relative_to(CSRC)}: {name}"
        for path, name in includes()
        if ORDER.index(name.split("/")[0]) > ORDER.index(path.parent.name)
    ]
    assert not upwards


def test_inner_header_is_included_by_its_own_folder_only() -> None:
    found = list(includes())
    assert any(name.endswith("_inner.h") for _, name in found)
    assert not [
        f"{path.relative_to(CSRC)}: {name}"
        for path, name in found
        if name.endswith("_inner.h") and name.split("/")[0] != path.parent.name
    ]


def symbols() -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Symbol to the object that defines it; and the (object, symbol) pairs of what is used. Objects are named by path."""
    sources = {"-".join(path.relative_to(CSRC).with_suffix("").parts) for path in FILES if path.suffix == ".c"}
    objects = [path for path in OBJECTS.glob("*.o") if path.stem in sources]
    if not objects or not shutil.which("nm"):
        pytest.skip("the core was not built here (csrc/build_native.py), or there is no nm")
    listing = subprocess.run(["nm", "-A", *map(str, objects)], check=True, capture_output=True, text=True).stdout
    defined: dict[str, str] = {}
    used = []
    for line in listing.splitlines():
        place, _, rest = line.rpartition(":")
        kind, name = rest.split()[-2:]
        if kind in "UwWvV":
            used.append((pathlib.Path(place).stem, name))
        elif kind.isupper():
            defined[name] = pathlib.Path(place).stem
    return defined, used


def test_object_calls_folders_below_only() -> None:
    defined, used = symbols()
    level = {name: ORDER.index(name.split("-")[0]) for name in {*defined.values(), *(user for user, _ in used)}}
    calls = [(user, defined[name], name) for user, name in used if name in defined]
    assert any(level[user] > level[owner] for user, owner, _ in calls)
    assert not [f"{user} uses {name} of {owner}" for user, owner, name in calls if level[owner] > level[user]]


@pytest.mark.parametrize("top", ["csrc", "prsync"])
def test_folder_holds_few_files(top: str) -> None:
    folders = {path.parent for path in (ROOT / top).rglob("*") if path.suffix in (".c", ".h", ".py")}
    assert not {str(folder): count for folder in folders if (count := sum(p.is_file() for p in folder.iterdir())) > MOST_FILES}
