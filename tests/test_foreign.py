"""Another project's package in the place of one of ours is named in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from semi.foreign import BEGINNINGS

ROOT = Path(__file__).parents[1]
COMMAND = ["-m", "semi", "--version"]


def run(folder, words, *path):
    """Runs Python in a folder with a PYTHONPATH; returns (status, stdout, stderr)."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment,
                          capture_output=True, text=True)  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def package(folder, name="models"):
    """Returns a package of another project in a folder."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("class Model: ...\n")
    return folder / name


def sentence(ours, found, remedy):
    """Returns what is said of a package that is found first."""
    return (
        f"semi needs its own package '{ours}' in {ROOT / ours}, but Python finds {found} first; "
        f"{remedy}"
    )


@pytest.mark.parametrize("name", list(BEGINNINGS))
def test_a_package_in_the_current_folder_is_named(tmp_path, name):
    found = package(tmp_path, name)
    told = sentence(name, found, f"start from another folder than {tmp_path}, or rename that")
    assert run(tmp_path, COMMAND, ROOT) == (2, "", f"semi: error: {told} '{name}'\n")


def test_a_module_in_the_current_folder_is_named(tmp_path):
    (tmp_path / "noise.py").write_text("level = 1\n")
    told = sentence("noise", tmp_path / "noise.py", f"start from another folder than {tmp_path}")
    assert run(tmp_path, COMMAND, ROOT) == (2, "", f"semi: error: {told}, or rename that 'noise'\n")


def test_a_package_on_pythonpath_is_named(tmp_path):
    found = package(tmp_path / "theirs")
    told = sentence("models", found, f"take {found.parent} out of PYTHONPATH, or rename that")
    status = run(tmp_path, COMMAND, found.parent, ROOT)
    assert status == (2, "", f"semi: error: {told} 'models'\n")


def test_an_installed_project_is_named_by_its_own_name(tmp_path):
    found = package(tmp_path / "site-packages")
    facts = found.parent / "their_models-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-models\nVersion: 1.0\n")
    (facts / "RECORD").write_text("models/__init__.py,,\n")
    program = f"import sys; sys.path.insert(0, {str(found.parent)!r}); import semi"
    status, _, err = run(tmp_path, ["-c", program], ROOT)
    told = sentence("models", found, "pip uninstall their-models, or install semi into an ")
    assert (status, err.splitlines()[-1]) == (1, f"ImportError: {told}environment of its own")


def test_a_program_that_has_imported_its_own_is_told_so(tmp_path):
    found = package(tmp_path)
    status, _, err = run(tmp_path, ["-c", "import models, semi"], ROOT)
    assert status == 1 and err.splitlines()[-1] == (
        f"ImportError: semi needs its own package 'models' in {ROOT / 'models'}, but the one in "
        f"{found} was imported before; one program cannot use both, so rename that one, or run "
        "semi in a program of its own"
    )


def test_a_folder_of_models_that_is_no_package_is_in_nobodys_way(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights.bin").write_bytes(b"")
    assert run(tmp_path, ["-c", "import models.fusion, semi"], ROOT) == (0, "", "")
    status, out, _ = run(tmp_path, COMMAND, ROOT)
    assert status == 0 and out.startswith("semi ")


def test_in_python_it_is_an_import_error_and_no_end_of_the_program(tmp_path):
    package(tmp_path)
    program = "try: import semi\nexcept ImportError as error: print('caught', error)"
    status, out, _ = run(tmp_path, ["-c", program], ROOT)
    assert status == 0 and out.startswith("caught semi needs its own package 'models' in ")


@pytest.mark.parametrize("name", list(BEGINNINGS))
def test_ours_begin_as_they_are_known_by(name):
    text = (ROOT / name / "__init__.py").read_text(encoding="utf-8")
    assert text.startswith(BEGINNINGS[name])
