"""Mutated sessions for as long as is wanted.

    python -m tests.mutation client|daemon [--seconds 600] [--seed 1]      with the core as built: memory is measured
    ASAN_OPTIONS=quarantine_size_mb=8 tools/sanitized python -m tests.mutation client|daemon …
                                                                           after csrc/build_native.py --sanitize
    python -m tests.mutation client|daemon --case build/mutations/….case   one that was found, again
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

from .client_side import ClientCases
from .daemon_side import DaemonCases, record_requests_of
from .findings import Findings
from .play import Recording, Script
from .scenes import Scene, record_pulls, unsanitized

BATCH = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["client", "daemon"])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--case", type=pathlib.Path)
    parser.add_argument("--most", type=int, default=99, help="kinds of pulls that are recorded")
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
    if options.side == "client":
        with unsanitized():
            recordings = record_pulls(scene, options.most)
        client = ClientCases(scene, recordings, findings, sanitized)
    else:
        daemon = DaemonCases(scene, record_requests_of(scene, options.most), findings, sanitized)
    start = last = time.monotonic()
    number = 0
    while (now := time.monotonic()) - start < options.seconds:
        if options.side == "client":
            client.run(f"{options.seed}:{number}")
            number += 1
        else:
            daemon.batch([f"{options.seed}:{number + i}" for i in range(BATCH)])
            number += BATCH
        if now - last > 30:
            last = now
            print(findings.summary(options.side, now - start), flush=True)
    print(findings.summary(options.side + (" (sanitized)" if sanitized else ""), time.monotonic() - start))
    return bool(findings.found)


def again(options: argparse.Namespace, scene: Scene, findings: Findings) -> int:
    """A case that was found; what it did is kept as `again`."""
    name, arguments, scripts = pickle.loads(options.case.read_bytes())
    if options.side == "client":
        recording = Recording(name, arguments, [Script(port, turns) for port, turns in scripts])
        client = ClientCases(scene, [recording], findings, True)
        client.play(recording, recording.scripts, "again")
        print(client.output.read_text(errors="replace"))
    else:
        daemon = DaemonCases(scene, [], findings, True)
        daemon.replay([(Recording(name, [], []), Script(0, turns), False) for _, turns in scripts])
    print(findings.summary(options.side, 0))
    return bool(findings.found)


if __name__ == "__main__":
    sys.exit(main())
