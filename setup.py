"""Compiles the C core for wheels; everything else is in pyproject.toml."""

import os
import pathlib
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "csrc"))

import build_native  # noqa: E402


class BuildNative(build_ext):
    """Emits cffi's glue into the build folder, then compiles it with the sources of csrc/."""

    def build_extension(self, ext: Extension) -> None:
        os.makedirs(self.build_temp, exist_ok=True)
        generated = os.path.join(self.build_temp, "_native.c")
        build_native.ffi_builder().emit_c_code(generated)
        ext.sources = [generated, *(str(p.relative_to(ROOT)) for p in build_native.sources())]
        super().build_extension(ext)


setup(
    ext_modules=[
        Extension(
            "prsync._native",
            sources=[],
            include_dirs=["csrc"],
            libraries=build_native.LIBRARIES,
            extra_compile_args=[*build_native.CFLAGS, *build_native.DEFINES],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
