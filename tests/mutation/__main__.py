"""Mutated sessions for as long as is wanted.

    python -m tests.mutation SIDE [--seconds 600] [--seed 1]               with the core as built: memory is measured
    ASAN_OPTIONS=quarantine_size_mb=8 tools/sanitized python -m tests.mutation SIDE …
                                                                           after csrc/build_native.py --sanitize
    python -m tests.mutation SIDE --case build/mutations/….case            one that was found, again

SIDE: which hears them; client-… from mutated servers, daemon-… and server-… from mutated clients, read-batch from a file.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import pickle
import sys
import tempfile
import time

import prsync._native as native

from .findings import Findings
from .play import Recording, Script
from .program_sides import ProgramCases
from .scenes import Scene
from .sides import SIDES, make_cases, run_some


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--case", type=pathlib.Path)
    parser.add_argument("--most", type=int, default=99, help="kinds of sessions that are recorded")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return run(options, Scene(pathlib.Path(folder)))


def run(options: argparse.Namespace, scene: Scene) -> int:
    sanitized = "PRSYNC_SANITIZED" in os.environ
    if sanitized != ("sanitize" in native.__file__):
        raise SystemExit(f"this runs with {native.__file__}: use tools/sanitized, in the checkout")
    findings = Findings(pathlib.Path("build/mutations") / f"{options.side}{'-sanitized' if sanitized else ''}")
    if options.case:
        return again(options, scene, findings)
    cases = make_cases(options.side, scene, findings, sanitized, options.most)
    start = last = time.monotonic()
    number = 0
    while (now := time.monotonic()) - start < options.seconds:
        number += run_some(cases, options.seed, number)
        if now - last > 30:
            last = now
            print(findings.summary(options.side, now - start), flush=True)
    print(findings.summary(options.side + (" (sanitized)" if sanitized else ""), time.monotonic() - start))
    return bool(findings.found)


def again(options: argparse.Namespace, scene: Scene, findings: Findings) -> int:
    """A case that was found; what it did is kept as `again`."""
    name, arguments, scripts, full = pickle.loads(options.case.read_bytes())
    recording = Recording(name, arguments, [Script(port, turns) for port, turns in scripts], full)
    cases = SIDES[options.side].cases(scene, [recording], findings, True)
    if isinstance(cases, ProgramCases):
        cases.play(recording, recording.scripts, "again")
        print(cases.output.read_text(errors="replace"))
    else:
        cases.replay([(recording, script, False) for script in recording.scripts])
    print(findings.summary(options.side, 0))
    return bool(findings.found)


if __name__ == "__main__":
    sys.exit(main())
