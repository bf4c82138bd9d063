"""Builds the wheel of this checkout and installs it into an environment of its own, offline."""

import shutil
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What a checkout may hold beside the source, at its top.
NOT_SOURCE = shutil.ignore_patterns("*.egg-info", ".*", "build", "dist", "feature_store", "runs")


def built_wheel(folder):
    """Returns the wheel, made from the source distribution as `python -m build` makes it."""
    source = folder / "source"
    source.mkdir()
    left_out = NOT_SOURCE(ROOT, [p.name for p in ROOT.iterdir()])
    for path in (p for p in ROOT.iterdir() if p.name not in left_out):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, source / path.name)
    sdist = folder / _built("sdist", source, folder)
    shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return folder / _built("wheel", unpacked, folder)


def _built(what, source, target):
    """Returns the name of the file that setuptools made of a source tree."""
    build = f"build_{what}"
    program = f"from setuptools.build_meta import {build}; print({build}({str(target)!r}))"
    return _output([sys.executable, "-c", program], cwd=source).splitlines()[-1]


def installed(wheel, folder):
    """Returns the folder of commands of a new environment that holds semi from the wheel alone.

    The libraries it needs are those of the environment that runs the tests; editable installs of
    that one, which are lines of .pth files there, are not seen.
    """
    _output([sys.executable, "-m", "venv", str(folder)])
    commands = folder / ("Scripts" if sys.platform == "win32" else "bin")
    (packages,) = folder.glob("[Ll]ib/**/site-packages")
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    _output([str(commands / "python"), "-m", "pip", "install", "--quiet", "--no-index",
             "--no-deps", "--disable-pip-version-check", str(wheel)])  # fmt: skip
    return commands


def _output(words, cwd=None):
    """Returns what a command printed; AssertionError with its errors where it failed."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}"
    return done.stdout
