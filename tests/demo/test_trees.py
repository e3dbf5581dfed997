"""The demo's tree on a machine that has few files of its own."""

from __future__ import annotations

import pathlib

import pytest

from demo import trees


def test_tree_has_its_files_and_little_more_than_its_bytes_on_a_small_machine(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = tmp_path / "material"
    material.mkdir()
    (material / "large").write_bytes(bytes(400_000))
    for number in range(5):
        (material / f"link{number}").symlink_to("large")
        (material / f"small{number}").write_bytes(bytes(500))
    found = [(path, f"lib/{path.name}") for path in sorted(material.iterdir())]
    monkeypatch.setattr(trees, "_material", lambda: iter(found))
    trees.make_first(tmp_path / "tree", trees.Size(files=60, small_bytes=700_000, large_bytes=1000))
    files, size = trees.count(tmp_path / "tree")
    assert 60 <= files <= 62 and 700_000 <= size < 1_100_000
