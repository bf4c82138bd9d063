"""What a short command must not import: a person waits for it, and each of these costs a start."""

import subprocess
import sys
from pathlib import Path

import pytest
from speech_model import speech_model

from semi.data.corpora import bundled_emodb

ROOT = Path(__file__).parents[1]
SOUND = str(bundled_emodb().parent / "audio" / "03a01Fa.opus")
LIBRARIES = {
    "jinja2", "matplotlib", "mlflow", "pandas", "pyarrow", "rich", "scipy", "sklearn",
    "tensorboard", "transformers", "wandb",
}  # fmt: skip
OURS = {"semi.data.corpora", "semi.data.formats", "semi.experiments", "semi.review",
        "semi.self_training.train", "semi.training.students"}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Returns a run that hears and reads with the encoders of the demo."""
    return str(speech_model(tmp_path_factory.mktemp("cold")))


def imported(*words):
    """Returns what a command printed, and the names of every module that it imported."""
    program = (
        "import sys\n"
        "from semi.cli import main\n"
        "try: status = main(sys.argv[1:])\n"
        "except SystemExit as error: status = error.code\n"
        "print('\\n'.join(['MODULES', *sys.modules]))\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True,
                          cwd=ROOT)  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed, _, modules = done.stdout.partition("MODULES\n")
    return printed, set(modules.split())


@pytest.mark.parametrize("inputs", [[SOUND], [SOUND, "--text", "Der Lappen"], ["--text", "Aha"]])
def test_a_few_files_are_labelled_without_the_libraries_of_tables_and_training(run, inputs):
    printed, modules = imported("predict", run, *inputs)
    assert printed.count("\n") == 1 and "torch" in modules
    assert modules & (LIBRARIES | OURS) == set()


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["predict", "--help"]])
def test_help_imports_neither_torch_nor_numpy(words):
    printed, modules = imported(*words)
    assert "semi" in printed
    assert modules & (LIBRARIES | OURS | {"torch", "numpy", "omegaconf", "yaml"}) == set()


def test_settings_are_checked_without_the_libraries_of_training_and_figures():
    _, modules = imported("check", "configs/demo.yaml", f"data.manifest={bundled_emodb()}")
    unused = {"matplotlib", "scipy", "sklearn", "tensorboard", "transformers", "semi.review",
              "semi.self_training.train", "semi.training.students"}  # fmt: skip
    assert modules & unused == set()


def test_what_torch_made_is_left_out_of_garbage_collection():
    program = (
        "import gc, semi.verbs\n"
        "semi.verbs.import_torch()\n"
        "first = gc.get_freeze_count()\n"
        "semi.verbs.import_torch()\n"
        "print(gc.isenabled(), first > 100_000, gc.get_freeze_count() <= first)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr


def test_who_has_switched_garbage_collection_off_keeps_it_off():
    program = "import gc, semi.verbs as v; gc.disable(); v.import_torch(); print(gc.isenabled())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr
