"""A wheel is whole: built, installed into an empty environment and used from another folder."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile

import pytest
from built_wheel import ROOT, built_wheel, installed

import semi
from semi.shipped import recipe_names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Returns the path of the wheel."""
    return built_wheel(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def commands(wheel, tmp_path_factory):
    """Returns the folder of commands of an environment with semi from the wheel alone."""
    return installed(wheel, tmp_path_factory.mktemp("environment") / "venv")


@pytest.fixture
def call(commands, tmp_path):
    """Returns a function that runs a command in an empty folder and gives (status, out, err)."""

    def run(name, *words, **environment):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run([str(commands / name), *words], cwd=tmp_path, capture_output=True,
                              text=True, env=clean | environment)  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def test_the_wheel_is_small_and_holds_recipes_recordings_types_and_licences(wheel):
    assert wheel.stat().st_size < 8_000_000
    names = zipfile.ZipFile(wheel).namelist()
    for folder, pattern in (
        ("configs", "*.yaml"),
        ("examples", "*.*"),
        ("examples/emodb", "**/*"),
    ):
        found = (p for p in (ROOT / folder).glob(pattern) if p.is_file())
        files = {p.relative_to(ROOT).as_posix() for p in found}
        assert files and {f"semi/shipped/{f}" for f in files} <= set(names)
    assert {f"{top}/py.typed" for top in ("semi", "models", "noise", "pseudo_label")} <= set(names)
    modules = {
        p.relative_to(ROOT).as_posix()
        for top in ("semi", "models", "noise", "pseudo_label")
        for p in (ROOT / top).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert modules <= set(names)
    licences = {name.partition("dist-info/licenses/")[2] for name in names}
    assert {"LICENSE", "examples/emodb/LICENSE.md"} <= licences
    assert not [name for name in names if name.startswith(("tests/", "docs/", "configs/"))]


def test_the_version_names_what_a_report_of_a_fault_needs(call):
    import torch

    python = ".".join(map(str, sys.version_info[:3]))
    told = f"semi {semi.__version__} (Python {python}, torch {torch.__version__})\n"
    assert call("semi", "--version") == (0, told, "")
    assert call("python", "-m", "semi", "--version") == (0, told, "")


def test_the_demo_trains_from_the_wheel_alone(call, commands, store, tmp_path):
    status, out, err = call("semi", "demo", "rounds.max_rounds=1", f"features.store={store}",
                            OMP_NUM_THREADS="1")  # fmt: skip
    assert status == 0, err
    bundled = commands.parent.rglob("shipped/examples/emodb/manifest.csv")
    assert f"read {next(bundled)} " in err and "Scores in % on 208 gold" in out
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()


def test_an_example_runs_from_the_wheel_as_its_readme_says(call, tmp_path):
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    copying = re.findall(r'^    python -c "(.*)"$', text, flags=re.M)
    assert len(copying) == 1 and call("python", "-c", copying[0]) == (0, "", "")
    run, notebook = (str(tmp_path / "examples" / name) for name in ("run.py", "scikit_learn.ipynb"))
    status, out, err = call("python", run, notebook, OMP_NUM_THREADS="1")
    assert status == 0, err
    assert "535 rows of" in out and "pseudo-labels" in out


def test_every_recipe_is_read_by_name_from_another_folder(call):
    names = sorted(set(recipe_names()) - {"bench", "default"})
    program = (
        "import semi\n"
        f"print([semi.load_config(name).name for name in {names!r}])\n"
        "from semi.experiments.benchmark.config import load_bench\n"
        "print(load_bench('bench').output, semi.__file__)"
    )
    status, out, err = call("python", "-c", program)
    assert status == 0, err
    named, bench = out.splitlines()
    assert named == repr(names) and bench.startswith("bench ") and str(ROOT) not in bench
    status, out, err = call("semi", "check", "demo", "name=mine", "data.test_fraction=0.2")
    assert (status, out.splitlines()[-1]) == (0, "nothing was trained; all is well"), err
    status, _, err = call("semi", "train", "mer2024_semi")
    assert status == 2 and "mer2024.csv: no such manifest in the current folder" in err


def test_a_foreign_package_installed_over_ours_is_named(wheel, call, commands, tmp_path):
    ours = next(commands.parent.rglob("site-packages/models/__init__.py"))
    whole = ours.read_text(encoding="utf-8")
    try:
        ours.write_text("class Model: ...\n", encoding="utf-8")
        over = call("semi", "--version")
        ours.unlink()
        gone = call("semi", "--version")
    finally:
        ours.write_text(whole, encoding="utf-8")
    begun = f"semi: error: semi needs its own package 'models' in {ours.parent}, but"
    again = "pip install --force-reinstall --no-deps WHEEL, with semi's wheel or checkout\n"
    assert over == (2, "", f"{begun} another one was installed over it; pip uninstall the project "
                           f"it belongs to, then {again}")  # fmt: skip
    assert gone == (2, "", f"{begun} it is not there; {again}")


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_a_type_checker_sees_our_types(commands, tmp_path):
    program = "import semi, models\nconfig = semi.load_config('demo')\nconfig.seed = 'one'\n"
    (tmp_path / "mine.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(commands / "python"),
         "mine.py"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert [(d["range"]["start"]["line"], d["rule"]) for d in found] == [
        (2, "reportAttributeAccessIssue")
    ], found
    assert 'not assignable to "int"' in found[0]["message"]
