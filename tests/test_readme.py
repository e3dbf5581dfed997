import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_readme_tables_are_those_of_the_code() -> None:
    result = subprocess.run([sys.executable, ROOT / "tools" / "readme_tables.py", "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_readme_names_every_dependency() -> None:
    text = (ROOT / "README.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    dependencies = re.search(r"^dependencies = \[(.*?)\]", project, re.M | re.S)
    assert dependencies
    for name in re.findall(r'"([A-Za-z0-9_-]+)', dependencies[1]):
        assert f"| {name} |" in text, name


def folders_of(top: str) -> set[str]:
    """Those with files of their own; the package's and the tests' with modules."""
    found = (path for path in (ROOT / top).rglob("*") if path.is_dir() and path.name != "__pycache__")
    return {f"{path.relative_to(ROOT)}/" for path in found if any(f.name != "__init__.py" for f in path.glob("*.[pch]*"))}


def test_readme_maps_every_folder() -> None:
    table = (ROOT / "README.md").read_text().partition("| folder | what is there |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`([^`]+/)`", row.split("|")[1] if "|" in row else "")}
    assert {name for name in named if not (ROOT / name).is_dir()} == set()
    assert folders_of("prsync") | folders_of("csrc") <= named, "a new folder has its line in README's map"


def test_tests_mirror_the_package() -> None:
    mirrored = {name.replace("prsync/", "tests/", 1) for name in folders_of("prsync")}
    parents = {f"{parent}/" for name in mirrored for parent in pathlib.PurePath(name).parents}
    own = {"tests/corpus/", "tests/mutation/", "tests/demo/"}
    assert folders_of("tests") - mirrored - parents - own == set()


FILE_NAME = re.compile(r"\b((?:csrc|prsync|tests|protocol-spec)/[\w/.-]+\.(?:py|c|h|md)|[a-z]+/\w+_api\.h)\b")


def test_files_that_are_named_exist() -> None:
    """In prose and comments: a name that a move has left behind leads nowhere."""
    found = (path for top in ("prsync", "csrc", "tests", "protocol-spec", "bench", "demo") for path in (ROOT / top).rglob("*.*"))
    texts = [ROOT / "README.md", ROOT / "Makefile", *(path for path in found if path.suffix in (".py", ".c", ".h", ".md"))]
    named = {(str(path.relative_to(ROOT)), name) for path in texts for name in FILE_NAME.findall(path.read_text())}
    places = (ROOT, ROOT / "csrc", ROOT / "prsync")
    assert {(path, name) for path, name in named if not any((place / name).exists() for place in places)} == set()
