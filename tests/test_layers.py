"""The import rules of the design: downwards only, pure modules stay pure, one importer of the core."""

import ast
import graphlib
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "prsync"
# Higher may import lower. A module at the top is a part of its own.
LAYERS = {
    "errors": 0,
    "version": 0,
    "privileges": 0,
    "engine": 1,
    "protocol": 2,
    "net": 3,
    "sources": 4,
    "transfer": 5,
    "swarm": 5,
    "registry": 5,
    "session": 6,
    "options": 7,
    "config": 7,
    "commands": 8,
}
SIBLINGS = {"transfer", "swarm", "registry"}  # same height: none imports another
# Values that every layer may name: what the command line and the configuration say.
READ_BY_ALL = {"options", "config"}
IMPURE = {"trio", "time", "random", "os", "socket"}
PURE_PLACES = ["swarm/scheduler.py", "swarm/stall_limit.py", "registry/nomination.py"]
PURE = [*(PACKAGE / "protocol").glob("*.py"), *(PACKAGE / place for place in PURE_PLACES)]
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: pathlib.Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "prsync" else {node.module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_imports_only_layers_below(path: pathlib.Path) -> None:
    if path.parent == PACKAGE and path.stem in ("__init__", "__main__"):
        return
    own = part_of(path)
    assert own in LAYERS, f"{path}: give its part a layer"
    for name in imports_of(path):
        if not name.startswith("prsync.") or name == "prsync._native":
            continue
        other = name.split(".")[1]
        if other in ("_native", own) or other in READ_BY_ALL:
            continue
        assert LAYERS[other] < LAYERS[own] or (LAYERS[other] == LAYERS[own] and own not in SIBLINGS), f"{path} imports {name}"


@pytest.mark.parametrize("path", PURE, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_pure_module_imports_nothing_impure(path: pathlib.Path) -> None:
    if path.exists():
        assert not {name.split(".")[0] for name in imports_of(path)} & IMPURE, path


def test_core_is_imported_by_one_module_only() -> None:
    importers = [p for p in MODULES if any(n == "prsync._native" or n.startswith("prsync._native") for n in imports_of(p))]
    assert importers == [PACKAGE / "engine" / "native.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_of_over_400_lines_says_why(path: pathlib.Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 400 or "long:" in lines[0], f"{path}: {len(lines)} lines"


def runtime_imports(path: pathlib.Path) -> set[str]:
    """Modules of the package that it imports, wherever in its text; not those that only its annotations name."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_folders_of_the_package_depend_in_one_direction() -> None:
    folder_of = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path.parent for path in MODULES}
    below: dict[str, set[str]] = {}
    for path in MODULES:
        if path == PACKAGE / "__main__.py":  # starts the commands
            continue
        own = str(path.parent.relative_to(PACKAGE.parent))
        used = {str(folder_of[name].relative_to(PACKAGE.parent)) for name in runtime_imports(path) if name in folder_of}
        below.setdefault(own, set()).update(used - {own})
    assert any(below.values())
    graphlib.TopologicalSorter(below).prepare()  # CycleError names the folders of a circle
