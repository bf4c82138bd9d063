"""Puts the recipes and the bundled recordings into a wheel; all else stands in pyproject.toml.

A checkout keeps them where people look, in configs/ and examples/; an editable install is the
checkout itself. `semi.shipped` finds them in both.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
SHIPPED = ("configs", "examples/emodb")  # folders that go to semi/shipped/ of a wheel


class BuildWithShipped(build_py):
    """The usual build of the packages, and beside them the folders of SHIPPED."""

    def run(self) -> None:
        """Builds the packages and copies the folders; FileNotFoundError where one is missing."""
        super().run()
        if self.editable_mode:
            return
        for folder in SHIPPED:
            target = Path(self.build_lib, "semi", "shipped", folder)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(HERE / folder, target)


setup(cmdclass={"build_py": BuildWithShipped})
