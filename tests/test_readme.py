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
