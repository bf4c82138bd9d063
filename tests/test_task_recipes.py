"""Recipe auto on real speech for valence and arousal, several labels a row, and both at once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import semi
from semi.config.learning import LearningConfig
from semi.config.recipes import NEEDED, RECIPES, resolved
from semi.config.schema import leaves_of, signature
from semi.config.task import TASK_KINDS, TaskConfig
from semi.errors import ConfigError
from semi.evaluation.text import run_words
from semi.self_training.checksum_chain import mark_begun

EMODB = Path(__file__).parents[1] / "examples" / "emodb"
FEELING = {
    "anger": (1.7, 4.4), "boredom": (2.2, 1.6), "disgust": (1.9, 3.3), "fear": (2.0, 3.9),
    "happiness": (4.5, 4.2), "neutral": (3.1, 2.6), "sadness": (2.0, 1.5),
}  # fmt: skip
KINDS = [kind for kind in TASK_KINDS if kind != "single"]


def write_table(folder):
    """Writes m.csv: every fourth recording of Emo-DB; a stand-in for ratings, a little noisy."""
    rng = np.random.default_rng(0)
    table = pd.read_csv(EMODB / "manifest.csv").iloc[::4]
    table["audio"] = [str(EMODB / name) for name in table["audio"]]
    feeling = np.array([FEELING[label] for label in table["label"]])
    table[["valence", "arousal"]] = feeling + rng.normal(0, 0.3, feeling.shape)
    table.to_csv(folder / "m.csv", index=False)
    sides = np.where(feeling > 3, ["pleasant", "aroused"], ["unpleasant", "calm"])
    table["label"] = [f"{a};{b}" for a, b in sides]
    table.to_csv(folder / "several.csv", index=False)


@pytest.fixture(scope="module")
def home(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write_table(folder)
    (folder / "store").symlink_to(store)
    return folder


def settings(home, kind, *words):
    """What a user writes: the table and the task; the rest says where things go, and how many."""
    table = "several.csv" if "multi" in kind else "m.csv"
    return semi.load_config(None, [
        f"data.manifest={home / table}", f"task.kind={kind}", f"name={kind}",
        f"runs_dir={home / 'runs'}", f"features.store={home / 'store'}", "threads=1",
        "data.labeled_fraction=0.4", "data.test_fraction=0.3", *words,
    ])  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def run(request, home):
    return request.param, semi.self_train(settings(home, request.param), progress=False)


def record(path, number):
    return json.loads((path / f"round-{number:02d}" / "round.json").read_text())


def test_a_plain_run_learns_its_task_and_never_ships_below_its_floor(run):
    kind, done = run
    start, last = record(done.path, 0), record(done.path, done.best_round)
    metric = start["gate"]["metric"]
    assert metric == ("ccc" if kind == "affect" else "macro_f1")
    assert last["gate"]["value"] >= start["gate"]["value"]
    own = next(row for row in start["floor"] if row["model"] == "own student")
    plain = "ridge regression" if kind == "affect" else "logistic regression"
    assert {row["model"] for row in start["floor"]} >= {"own student", plain}
    assert start["gate"]["value"] >= own["metric"] or not own["starts"]
    test = last["metrics_test"]
    if kind != "multi_label":
        assert test["ccc"] > 0.3 and set(test["affect"]) == {"valence", "arousal"}
    if kind != "affect":
        assert test["macro_f1"] > (0.6 if "multi" in kind else 0.3)


def test_its_report_and_its_words_tell_the_floor(run):
    kind, done = run
    name = "CCC" if kind == "affect" else "macro-F1"
    words = run_words(done.path)
    assert f"Floor, of gold labels alone, {name} out-of-fold: own student" in words
    report = (done.path / "report.html").read_text()
    assert "Floor, of gold labels alone" in report
    assert ("arousal: CCC" in report) == (kind != "multi_label")
    notes = json.loads((done.path / "result.json").read_text())["notes"]
    (told,) = (note for note in notes if note.startswith("recipe auto, "))
    assert ("ridge regression" in told) == (kind != "multi_label")
    assert ("for each label" in told) == ("multi" in kind)


def test_its_model_predicts_new_recordings(run, home):
    kind, done = run
    table = pd.read_csv(home / "m.csv").head(5).drop(columns=["label", "valence", "arousal"])
    model = semi.load(done.path)
    answers = model.predict(table, store=home / "store")
    assert len(answers) == 5
    if kind != "multi_label":
        assert answers[["valence", "arousal"]].to_numpy().min() > 0.5
        assert answers[["valence", "arousal"]].to_numpy().max() < 6.0
    if "multi" in kind:
        assert set(";".join(answers["label"]).split(";")) <= set(model.model.classes)


def test_a_run_that_was_cut_off_goes_on_to_the_same_end(run, home, tmp_path):
    kind, done = run
    again = resumed(done, tmp_path, settings(home, kind, f"runs_dir={tmp_path}"))
    assert json.dumps(again.metrics) == json.dumps(done.metrics)
    assert again.sentence == done.sentence


def test_a_run_of_a_student_by_name_goes_on_with_the_modalities_it_chose(home, tmp_path):
    words = ["model.kind=discriminant", "rounds.max_rounds=1"]
    done = semi.self_train(settings(home, "single", *words), progress=False)
    assert semi.load_config(done.path / "config.yaml").model.quiet == ["text"]
    again = resumed(done, tmp_path, settings(home, "single", *words, f"runs_dir={tmp_path}"))
    assert json.dumps(again.metrics) == json.dumps(done.metrics)


def resumed(done, folder, config):
    """Returns the result of a copy of a run that was killed after its first round and resumed."""
    cut = Path(shutil.copytree(done.path, folder / config.name))
    mark_begun(cut)
    for folder in sorted(cut.glob("round-*"))[1:]:
        shutil.rmtree(folder)
    shutil.rmtree(cut / "model")
    (cut / "result.json").unlink()
    return semi.self_train(config, resume=True, progress=False)


def test_values_ship_as_one_chain_and_rounds_come_only_when_asked_for(home):
    words = ["name=not_asked"]
    done = semi.self_train(settings(home, "affect", *words), progress=False)
    assert json.loads((done.path / "model" / "model.json").read_text())["chains"] == 1
    words = ["name=asked", "rounds.max_rounds=2"]  # with the members that they go by
    asked = semi.self_train(settings(home, "affect", *words), progress=False)
    assert asked.rounds >= 1
    assert pd.read_csv(asked.path / "ledger.csv")["chosen"].to_numpy().any()
    start, final = record(asked.path, 0), record(asked.path, asked.best_round)
    assert final["gate"]["value"] >= start["gate"]["value"]


# --- settings ---


@pytest.mark.parametrize("kind", TASK_KINDS)
def test_what_is_given_stays_and_the_rest_is_the_recipes(kind):
    open_, told = resolved(semi.load_config(None, ["data.manifest=m", f"task.kind={kind}"]), 50, 99)
    now = dict(leaves_of(open_))
    for key, value in (NEEDED[kind] | RECIPES[kind]).items():
        assert now[key] == value, key
    assert told.startswith("recipe auto, 50 labelled and 99 unlabelled rows: ")
    mine = {"rounds.max_rounds": 2, "model.components": 9, "train.members": 4, "train.batch": 256}
    words = [f"{k}={v}" for k, v in mine.items()]
    config = semi.load_config(None, ["data.manifest=m", f"task.kind={kind}", *words])
    given, told = resolved(config, 50, 99)
    now = dict(leaves_of(given))
    assert {k: now[k] for k in mine} == mine
    assert "kept as given: " in told and "rounds.max_rounds=2" in told


@pytest.mark.parametrize("kind", KINDS)
def test_a_default_that_is_given_stays_too(kind):
    words = ["data.manifest=m", f"task.kind={kind}", "rounds.max_rounds=3", "vote.calibration=auto"]
    config = resolved(semi.load_config(None, words), 50, 99)[0]
    assert config.rounds.max_rounds == 3 and config.vote.calibration == "auto"


@pytest.mark.parametrize("kind", TASK_KINDS)
def test_without_a_recipe_nothing_is_set_and_nothing_is_forgiven(kind):
    words = ["data.manifest=m", f"task.kind={kind}", "recipe=none"]
    if kind == "single":
        config = semi.load_config(None, words)
        assert resolved(config, 50, 99) == (config, "")
        return
    with pytest.raises(ConfigError) as error:
        semi.load_config(None, words)
    for key in NEEDED[kind]:
        assert f"\n  {key}: " in str(error.value), key
    full = [f"{k}={v}" for k, v in NEEDED[kind].items()]
    if "joint" in kind or kind == "affect":
        full += ["train.members=2"]
    config = semi.load_config(None, [*words, *full])
    assert signature(resolved(config, 50, 99)[0]) == signature(config)


def test_one_mistake_is_told_alone_not_with_what_the_recipe_would_set():
    with pytest.raises(ConfigError) as error:
        semi.load_config(None, ["data.manifest=m", "task.kind=affect", "model.hiden=3"])
    assert str(error.value).startswith("1 problem in the configuration:")


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_ones_own_keeps_its_steps(kind):
    words = ["data.manifest=m", f"task.kind={kind}", "model.kind=concat"]
    config, told = resolved(semi.load_config(None, words), 50, 99)
    assert (config.model.kind, config.train.members, config.distill.final) == ("concat", 3, False)
    assert config.rounds.floor and "kept as given: " not in told.partition("model.kind")[0]


def test_what_is_built_in_python_is_suited_as_well():
    config = resolved(LearningConfig(task=TaskConfig("affect")), 50, 99)[0]
    assert (config.model.kind, config.rounds.metric) == ("ridge", "ccc")
    assert config.train.imbalance == "none"
