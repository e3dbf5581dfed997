"""Samples from a real index; outcomes of a probe by what the mirror answers."""

from __future__ import annotations

import os
import pathlib
import random
from collections.abc import Callable, Sequence

import pytest

from prsync.engine.digests import piece_length
from prsync.engine.index import DigestIndex
from prsync.protocol import limits
from prsync.registry.leases import Outcome
from prsync.registry.probes import Sample, _check, pick_samples, probe
from prsync.sources.base import Entry
from prsync.sources.link import Answer


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    for number in range(8):
        (root / f"file{number}").write_bytes(os.urandom(100 + number))
        (root / "sub" / f"file{number}").write_bytes(os.urandom(600_000 + number))
    (root / "empty").touch()
    return root


def samples_of(tree: pathlib.Path, prefixes: tuple[str, ...] = (), most: int = 100) -> list[Sample]:
    root = os.open(tree, os.O_RDONLY)
    path = tree.parent / "index"
    names = [os.fsencode(p.relative_to(tree)) for p in sorted(tree.rglob("*")) if p.is_file()]
    try:
        with DigestIndex(path, writer=True) as index:
            index.hash_files(root, names)
        (tree / "file0").write_bytes(b"changed since it was hashed")
        with DigestIndex(path) as index:
            return pick_samples(index, root, prefixes, random.Random(1), most)
    finally:
        os.close(root)


def test_samples_are_sound_pieces_of_files_as_they_are(tree: pathlib.Path) -> None:
    found = samples_of(tree)
    assert len(found) > 10 and not {b"empty", b"file0"} & {sample.path for sample in found}
    assert len({sample.path for sample in found}) == len(found)
    for sample in found:
        data = (tree / os.fsdecode(sample.path)).read_bytes()
        start = sample.number * piece_length(len(data))
        part = data[start : start + sample.entry.length]
        assert sample.is_sound(part)
        assert not sample.is_sound(part[:-1]) and not sample.is_sound(part[:-1] + bytes([part[-1] ^ 1]))


def test_samples_keep_to_the_mirrors_prefixes_and_to_their_number(tree: pathlib.Path) -> None:
    assert {sample.path.partition(b"/")[0] for sample in samples_of(tree, ("sub",))} == {b"sub"}
    assert len(samples_of(tree, most=3)) == 3


def test_empty_index_has_no_samples_and_a_probe_waits(tmp_path: pathlib.Path) -> None:
    with DigestIndex(tmp_path / "index", writer=True) as index:
        index.commit()
        assert pick_samples(index, -1, (), random.Random(1)) == []
    outcome = probe("rsync://192.0.2.1/m", bytes(16), [])
    assert not outcome.good and outcome.wait and not outcome.asked and outcome.why == "the origin has no digests of its files yet"


class FakeLink:
    def __init__(self, answer: Callable[[int, Entry], Answer]) -> None:
        self.asked = 0
        self._answer = answer

    def fetch(self, entries: Sequence[Entry]) -> list[Answer]:
        self.asked += 1
        return [self._answer(self.asked, entry) for entry in entries]


def check(tree: pathlib.Path, answer: Callable[[int, bytes], Answer], most: int = limits.PROBE_SAMPLES) -> tuple[Outcome, int]:
    def take(number: int, entry: Entry) -> Answer:
        data = (tree / os.fsdecode(entry.path)).read_bytes()[entry.offset : entry.offset + entry.length]
        return answer(number, data)

    link = FakeLink(take)
    return _check(link, samples_of(tree, most=most)), link.asked  # type: ignore[arg-type]


def good(data: bytes) -> Answer:
    return Answer(bytearray(data))


@pytest.mark.parametrize("answer, most, outcome, asked", [
    (lambda n, data: good(data), 12, Outcome(True), 3),
    (lambda n, data: good(data), 2, Outcome(True), 2),
    (lambda n, data: good(data) if n % 3 == 0 else Answer(missing=2), 12, Outcome(True), 9),
    (lambda n, data: good(data) if n == 1 else Answer(missing=1), 12,
     Outcome(False, "it lacks 11 of 12 files tried, or has another release of them"), 12),
    (lambda n, data: Answer(missing=5), 12, Outcome(False, "it has not hashed its files yet", wait=1.0), 12),
    (lambda n, data: Answer(busy=7), 12, Outcome(False, "all its slots are taken", wait=7.0), 1),
])  # fmt: skip
def test_outcome_of_a_check(
    tree: pathlib.Path, answer: Callable[[int, bytes], Answer], most: int, outcome: Outcome, asked: int
) -> None:
    assert check(tree, answer, most) == (outcome, asked)


def test_one_false_byte_ends_the_check(tree: pathlib.Path) -> None:
    outcome, asked = check(tree, lambda n, data: good(data if n == 1 else bytes([data[0] ^ 1]) + data[1:]))
    assert outcome.final and not outcome.good and "are not the origin's" in outcome.why and asked == 2
