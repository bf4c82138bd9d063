"""W&B, offline, has what TensorBoard has; it never asks for a key."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_trackers import WORDS, without_room_for
from test_trackers_mlflow import assert_same
from tracked_scalars import of_tensorboard, of_wandb
from two_runs import settings, write_manifest

import semi
from semi.errors import SemiError
from semi.files import read_json
from semi.runs.verify import verify

pytestmark = [pytest.mark.extras("wandb"), pytest.mark.filterwarnings("default")]
ALL = [*WORDS, "track=[tensorboard, wandb]", "train.steps=30"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Lets W&B write below the test's folder, without anybody's key."""
    write_manifest(tmp_path, rows=45)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_wandb_has_the_scalars_of_tensorboard_also_after_a_resumption(home, monkeypatch):
    config = settings(home, "a", *ALL)
    with monkeypatch.context() as patched:
        without_room_for(patched, "round-02")
        with pytest.raises(SemiError, match="No space left on device"):
            semi.self_train(config, progress=False)
    run = semi.self_train(config, resume=True, progress=False).path
    parts = sorted(path.name for path in (home / "wandb").glob("offline-run-*"))
    known = read_json(run / "trackers.json")["wandb"]["run"]
    assert len(parts) == 2 and all(name.endswith(f"-{known}") for name in parts)
    scalars = of_wandb(home / "wandb")
    assert_same(scalars, of_tensorboard(run))
    assert {"test/f1/anger", "round-02/lr", "final/test/macro_f1"} <= scalars.keys()
    assert list((home / "wandb").rglob("confusion*.png")), "a picture is there too"
    assert verify(run).problems == []


def test_online_without_a_key_is_written_offline_and_nobody_is_asked(home):
    """Also at a terminal, where W&B itself would wait for an answer."""
    program = (
        "import os, pty, sys\n"
        "os.environ['WANDB_MODE'] = 'online'\n"
        "pid, terminal = pty.fork()\n"
        "if pid:\n"
        "    text = b''\n"
        "    try:\n"
        "        while part := os.read(terminal, 4096): text += part\n"
        "    except OSError: pass\n"
        "    sys.stdout.write(text.decode())\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "sys.path[:0] = sys.argv[1:3]\nfrom pathlib import Path\n"
        "from two_runs import settings\nimport semi\n"
        "semi.self_train(settings(Path(), 'a', *sys.argv[3:]), progress=False)"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program, str(root), str(root / "tests"), *ALL,
         "rounds.max_rounds=0"],
        cwd=home, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no key of Weights & Biases is found here: the run is written offline" in done.stdout
    assert list((home / "wandb").glob("offline-run-*"))


def test_disabled_by_its_own_variable_it_writes_nothing(home, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    semi.self_train(settings(home, "a", *ALL, "rounds.max_rounds=0"), progress=False)
    assert not list(home.glob("wandb/offline-run-*"))
    assert "Weights & Biases" not in capsys.readouterr().err
