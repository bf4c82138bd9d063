"""MLflow has what TensorBoard has: the same scalars, the same run after a resumption."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_trackers import WORDS, without_room_for
from tracked_scalars import of_mlflow, of_tensorboard
from two_runs import settings, write_manifest

import semi
from semi.errors import SemiError
from semi.evaluation.trackers.opening import trackers_of
from semi.evaluation.trackers.tracker import part_name
from semi.files import read_json
from semi.runs.verify import verify

pytestmark = [pytest.mark.extras("mlflow"), pytest.mark.filterwarnings("default")]
BOTH = [*WORDS, "track=[tensorboard, mlflow]", "train.members=2", "train.steps=30"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Lets MLflow keep what it is given below the test's folder."""
    write_manifest(tmp_path, rows=45)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def client():
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

    return MlflowClient()


def runs_of(name):
    """Returns the runs of an experiment."""
    experiment = client().get_experiment_by_name(name)
    return client().search_runs([experiment.experiment_id])


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        assert [s for s, _ in found[name]] == [s for s, _ in points], name
        assert [v for _, v in found[name]] == pytest.approx([v for _, v in points]), name


@pytest.mark.parametrize("kind", ["database", "files"])
def test_mlflow_has_the_scalars_of_tensorboard_also_after_a_resumption(store, monkeypatch, kind):
    if kind == "files":  # the default of older versions; newer ones ask for the user's consent
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", (store / "mlruns").as_uri())
    config = settings(store, "a", *BOTH)
    with monkeypatch.context() as patched:
        without_room_for(patched, "round-02")
        with pytest.raises(SemiError, match="No space left on device"):
            semi.self_train(config, progress=False)
    (begun,) = runs_of("semi")
    assert begun.info.status == "KILLED" and begun.info.run_name == "a"
    run = semi.self_train(config, resume=True, progress=False).path
    (found,) = runs_of("semi")
    assert found.info.run_id == begun.info.run_id and found.info.status == "FINISHED"
    assert read_json(run / "trackers.json")["mlflow"]["run"] == found.info.run_id
    scalars = of_mlflow(client(), found.info.run_id)
    assert_same(scalars, of_tensorboard(run))
    assert {"test/f1/anger", "round-02/lr", "final/test/macro_f1"} <= scalars.keys()
    assert found.data.params["train.members"] == "2" and "model.rank" not in found.data.params
    assert verify(run).problems == []
    files = {f.path for f in client().list_artifacts(found.info.run_id, "round-01/oof")}
    assert "round-01/oof/confusion.png" in files or "round-01/oof/calibration.png" in files


def test_another_store_or_a_deleted_run_begins_a_new_one_with_all_rounds(store, monkeypatch):
    config = settings(store, "a", *BOTH)
    run = semi.self_train(config, progress=False).path
    other = f"sqlite:///{store}/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "voices")
    semi.self_train(config, resume=True, progress=False)
    (found,) = runs_of("voices")
    scalars, shown = of_mlflow(client(), found.info.run_id), of_tensorboard(run)
    curves = {name for name in shown if name.startswith(("round-", "pretraining"))}
    assert_same(scalars, {k: v for k, v in shown.items() if k not in curves})  # these are lost


def test_a_server_that_does_not_answer_costs_one_sentence(store, capsys, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    before = dict(os.environ)
    run = semi.self_train(settings(store, "a", *BOTH), progress=False).path
    told = [t for t in capsys.readouterr().err.splitlines() if t.startswith("semi: MLflow")]
    assert len(told) == 1 and "shows nothing more of this run" in told[0], told
    assert dict(os.environ) == before
    assert {"oof/macro_f1", "final/oof/macro_f1"} <= of_tensorboard(run).keys()
    assert verify(run).problems == []


def test_any_name_of_a_class_or_id_is_taken(store):
    trackers = trackers_of(["mlflow"], store, "a")
    trackers.begin_round(0)
    classes = ["기쁨", "a/b", "a+b", "..", " c ", "x:y", "🙂"]
    trackers.by_class("oof/f1", classes, [0.1 * k for k in range(len(classes))])
    for word in classes:
        trackers.audio(f"picks/{part_name(word)} {part_name('../1')}", np.zeros(160), 16_000, "a")
    trackers.end_round()
    trackers.close()
    assert trackers.kept.rounds("mlflow") == [0]
    (found,) = runs_of("semi")
    assert len(of_mlflow(client(), found.info.run_id)) == len(classes)


def test_an_active_run_of_the_callers_own_is_left_alone(store):
    import mlflow  # pyright: ignore[reportMissingImports]

    with mlflow.start_run(run_name="mine") as mine:
        semi.self_train(settings(store, "a", *BOTH, "rounds.max_rounds=0"), progress=False)
        assert mlflow.active_run().info.run_id == mine.info.run_id
    assert client().get_run(mine.info.run_id).data.metrics == {}
    assert [r.info.run_name for r in runs_of("semi")] == ["a"]


def test_the_default_store_is_mlflows_own(tmp_path):
    """Nothing is asked of the network, and the run folder holds nothing of MLflow's."""
    write_manifest(tmp_path, rows=45)
    program = (
        "import sys; sys.path[:0] = sys.argv[1:3]\nfrom pathlib import Path\n"
        "from two_runs import settings\nimport semi\n"
        "semi.self_train(settings(Path(), 'a', *sys.argv[3:]), progress=False)"
    )
    root = Path(__file__).parents[1]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    subprocess.run(
        [sys.executable, "-c", program, str(root), str(root / "tests"), *BOTH,
         "rounds.max_rounds=0"],
        cwd=tmp_path, env=clean, check=True, capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "mlflow.db").is_file() or (tmp_path / "mlruns").is_dir()
    assert not [p for p in (tmp_path / "runs" / "a").rglob("*mlflow*") if p.name != "trackers.json"]
