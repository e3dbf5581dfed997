"""--files-from with a million names in no order, nothing changed. Stock rsync may not come to an end: its runs are limited."""

import random
import subprocess
from pathlib import Path

from bench.trees import write_small_files
from bench.workload import GIB, Workload, pushed

FILES, FOLDERS = 1_000_000, 10_000
LIMIT = 300.0


def _make(source: Path, divisor: int) -> None:
    write_small_files(source, FILES // divisor, FOLDERS // divisor, 1, 4000, sparse=True)
    names = [f"folder-{number % (FOLDERS // divisor):05}/file-{number:07}\n" for number in range(FILES // divisor)]
    random.Random(8).shuffle(names)
    (source.parent / "names").write_text("".join(names))


def _copy(source: Path, basis: Path, divisor: int) -> None:
    subprocess.run(["cp", "-a", "--sparse=always", "--", f"{source}/.", str(basis)], check=True)


PULL = Workload(
    "files-from",
    "--files-from of 1,000,000 shuffled names, nothing changed",
    0.50,
    make_source=_make,
    make_basis=_copy,
    keep_destination=True,
    arguments=("-a", "--files-from=FOLDER/names"),
    touched=GIB // 2,
    run_limit=LIMIT,
)
WORKLOADS = (PULL, pushed(PULL, 0.50))
