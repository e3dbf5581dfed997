"""Builds the C core `prsync._native` by cffi's API mode.

The declarations are the files csrc/api/*_api.h; the sources, csrc/*/*.c without fuzz/, are compiled with strict warnings, cffi's
glue without them. `python csrc/build_native.py` builds into prsync/ for development, recompiling only what changed; `--sanitize`
builds with ASan and UBSan into build/sanitize/prsync/, `--coverage` for gcov into build/coverage/prsync/. setup.py
uses the same lists for wheels.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
LIBRARIES = ["zstd", "lz4", "z", "crypto", "lmdb"]
CFLAGS = ["-std=gnu11", "-O3", "-g", "-fvisibility=hidden", "-fPIC", "-fno-strict-aliasing", "-pthread"]
STRICT = ["-Wall", "-Wextra", "-Wconversion"]
DEFINES = ["-DPy_LIMITED_API=0x030B0000", "-DXXH_INLINE_ALL"]
# Functions written in Python that C calls through a pointer it was given.
CALLBACKS = """
extern "Python" int ps_py_parse_rules(void *, ps_rules *, const char *, size_t, const char *, uint32_t, int);
"""
FIRST = ["context_api.h", "options_api.h"]  # the others use their types


def api_headers() -> list[pathlib.Path]:
    return sorted((CSRC / "api").glob("*_api.h"), key=lambda p: (FIRST.index(p.name) if p.name in FIRST else 99, p.name))


def declarations() -> str:
    """The text for cffi: what the api headers declare, without the preprocessor lines it cannot read."""
    lines = []
    for header in api_headers():
        for line in re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S).splitlines():
            constant = re.match(r"#define (PS_\w+) +(-?\w+)", line)
            if constant:
                lines.append(f"#define {constant[1]} {constant[2]}")
            elif not line.startswith("#"):
                lines.append(line)
    return "\n".join(lines)


def ffi_builder():  # type: ignore[no-untyped-def]
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(declarations() + CALLBACKS)
    includes = "\n".join(f'#include "api/{header.name}"' for header in api_headers())
    prelude = "#include <stdbool.h>\n#include <stdint.h>\n#include <stddef.h>\n"
    ffi.set_source("prsync._native", prelude + includes)
    return ffi


def sources() -> list[pathlib.Path]:
    return sorted(path for path in CSRC.glob("*/*.c") if path.parent.name != "fuzz")


def object_name(source: pathlib.Path) -> str:
    """Named by path: folders may have files of equal names."""
    return "-".join(source.relative_to(CSRC).with_suffix(".o").parts)


def run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.stderr.write(f"{shlex.join(command)}\n{result.stdout}{result.stderr}")
        raise SystemExit(1)
    sys.stderr.write(result.stderr)


def stale(target: pathlib.Path, dependency_file: pathlib.Path, flags_file: pathlib.Path, flags: str) -> bool:
    if not target.exists() or not dependency_file.exists() or not flags_file.exists() or flags_file.read_text() != flags:
        return True
    names = dependency_file.read_text().replace("\\\n", " ").split(":", 1)[1].split()
    newest = target.stat().st_mtime_ns
    return any(not os.path.exists(n) or os.stat(n).st_mtime_ns > newest for n in names)


def compile_objects(work: pathlib.Path, generated: pathlib.Path, extra: list[str], strict: list[str]) -> list[pathlib.Path]:
    compiler = os.environ.get("CC", "cc")
    include = sysconfig.get_paths()["include"]
    jobs: list[tuple[list[str], pathlib.Path, str]] = []
    objects = []
    for source in [*sources(), generated]:
        target = work / ("_native.o" if source == generated else object_name(source))
        warnings = strict if source != generated else ["-w"]
        # cffi's glue undefines NDEBUG-like macros itself; its objects need Python's headers, ours do not.
        flags = [*CFLAGS, *extra, *warnings, *DEFINES, f"-I{CSRC}", f"-I{include}"]
        command = [compiler, *flags, "-MMD", "-c", str(source), "-o", str(target)]
        objects.append(target)
        if stale(target, target.with_suffix(".d"), target.with_suffix(".flags"), shlex.join(command)):
            jobs.append((command, target.with_suffix(".flags"), shlex.join(command)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda job: (run(job[0]), job[1].write_text(job[2])), jobs):
            pass
    return objects


# What a build adds to the flags; also when it is linked.
VARIANTS = {
    "native": [],
    "sanitize": ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-O1"],
    "coverage": ["--coverage", "-fprofile-update=atomic", "-O1"],
}


def build(variant: str = "native", strict: bool = True) -> pathlib.Path:
    work = ROOT / "build" / variant
    work.mkdir(parents=True, exist_ok=True)
    generated = work / "_native.c"
    candidate = work / "_native.new.c"
    ffi_builder().emit_c_code(str(candidate))
    if not generated.exists() or generated.read_bytes() != candidate.read_bytes():
        candidate.replace(generated)
    extra = VARIANTS[variant]
    objects = compile_objects(work, generated, extra, [*STRICT, "-Werror"] if strict else STRICT)
    package = ROOT / "prsync" if variant == "native" else work / "prsync"
    if variant != "native":
        package.mkdir(exist_ok=True)
        for entry in (ROOT / "prsync").iterdir():
            link = package / entry.name
            if not entry.name.startswith(("_native", "__pycache__")) and not link.exists():
                link.symlink_to(entry)
    target = package / "_native.abi3.so"
    if not target.exists() or any(o.stat().st_mtime_ns > target.stat().st_mtime_ns for o in objects):
        fresh = target.with_suffix(".new")
        run([os.environ.get("CC", "cc"), "-shared", "-pthread", *extra, *map(str, objects), *[f"-l{name}" for name in LIBRARIES],
             "-lm", "-o", str(fresh)])
        fresh.replace(target)
    return target


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("sanitize", "coverage"):
        parser.add_argument(f"--{name}", action="store_const", const=name, dest="variant", default="native")
    print(build(parser.parse_args().variant))
