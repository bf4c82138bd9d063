"""Puts recipes, examples and recordings into a wheel; all else stands in pyproject.toml.

A checkout keeps them where people look, in configs/ and examples/; an editable install is the
checkout itself. `semi.shipped` finds them in both.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
# What goes to semi/shipped/ of a wheel: folders, and files by pattern, no runs beside them.
SHIPPED = ("configs", "examples/emodb", "examples/*.ipynb", "examples/*.py", "examples/*.md")


class BuildWithShipped(build_py):
    """The usual build of the packages, and beside them what SHIPPED names."""

    def run(self) -> None:
        """Builds the packages and copies what is shipped; FileNotFoundError where it is missing."""
        super().run()
        if self.editable_mode:
            return
        shipped = Path(self.build_lib, "semi", "shipped")
        shutil.rmtree(shipped, ignore_errors=True)
        for pattern in SHIPPED:
            if not (found := list(HERE.glob(pattern))):
                raise FileNotFoundError(HERE / pattern)
            for source in found:
                target = shipped / source.relative_to(HERE)
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


setup(cmdclass={"build_py": BuildWithShipped})
