"""A run is used from any folder, and after its data have moved."""

import os
import shutil
from pathlib import Path

import pytest
from two_runs import settings, write_manifest

import semi
from semi.cli import main
from semi.config.schema import load_config
from semi.errors import ConfigError, RunError
from semi.runs.compare import compare
from semi.runs.preview import dry_run
from semi.runs.submit import submit

HERE = ["runs_dir=runs", "data.manifest=m.csv", "features.store=store"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Returns a folder in which everything was given by a relative path, and its finished run."""
    home = tmp_path / "project"
    home.mkdir()
    write_manifest(home)
    monkeypatch.chdir(home)
    config = settings(
        Path("."), "a", "runs_dir=runs", "data.manifest=m.csv", "features.store=store"
    )
    semi.self_train(config, progress=False)
    return home


def test_from_another_folder_every_command_works(project, tmp_path, monkeypatch, capsys):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = os.path.relpath(project / "runs" / "a")
    told = semi.evaluate(run).metrics["confusion"]
    assert dry_run(run).preview.rows
    assert submit(run, "s.csv").rows
    assert compare([run], latency=False).rows
    assert main(["distill", run, "model.kind=concat", "model.hidden=8", "train.steps=5",
                 "encoders.speech.model=none", "name=student", "tracking=false",
                 f"features.store={project}/store"]) == 0  # fmt: skip
    monkeypatch.chdir(project)
    assert semi.evaluate("runs/a").metrics["confusion"] == told
    config = settings(Path("."), "a", *HERE)
    semi.self_train(config, resume=True, progress=False)


def test_a_project_that_moved_as_a_whole_is_found_again(project, tmp_path, monkeypatch):
    before = semi.evaluate("runs/a").metrics["confusion"]
    monkeypatch.chdir(tmp_path)
    project.rename(tmp_path / "renamed")
    assert semi.evaluate("renamed/runs/a").metrics["confusion"] == before
    assert dry_run("renamed/runs/a").preview.rows and submit("renamed/runs/a", "s.csv").rows


def test_data_that_moved_alone_are_named_anew(project, tmp_path, monkeypatch, capsys):
    before = semi.evaluate("runs/a").metrics["confusion"]
    moved = tmp_path / "moved.csv"
    shutil.move("m.csv", moved)
    told = rf"the table that runs/a was trained on is gone: {project}/m.csv; bring it back, or"
    for command in (lambda: semi.evaluate("runs/a"), lambda: dry_run("runs/a"),
                    lambda: submit("runs/a", "s.csv")):  # fmt: skip
        with pytest.raises(RunError, match=told):
            command()
    place = f"data.manifest={moved}"
    assert semi.evaluate("runs/a", places=[place]).metrics["confusion"] == before
    assert dry_run("runs/a", [place, "rule=margin"]).preview.rows
    for words in (["evaluate", "runs/a"], ["submit", "runs/a"], ["select", "--dry-run", "runs/a"],
                  ["distill", "runs/a", "name=s", "model.kind=concat", "model.hidden=8",
                   "train.steps=5", "encoders.speech.model=none", "tracking=false"]):  # fmt: skip
        assert main([*words, place]) == 0, capsys.readouterr().err
    config = load_config("runs/a/config.yaml", [place])
    semi.self_train(config, resume=True, progress=False)
    with pytest.raises(ConfigError, match="a finished run has its settings; only where things are"):
        semi.evaluate("runs/a", places=["seed=3"])
    other = tmp_path / "other.csv"
    other.write_text(moved.read_text().replace("joy", "calm"))
    with pytest.raises(RunError, match="the manifest changed since"):
        semi.evaluate("runs/a", places=[f"data.manifest={other}"])
