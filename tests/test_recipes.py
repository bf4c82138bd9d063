"""Recipes of the five systems run end to end on a little real speech, offline."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus_trees import kemdy20
from test_corpora_mer import HUBERT, mer

import semi
from semi.data.corpora import corpus_manifest
from semi.data.manifest import load_manifest, write_manifest
from semi.features.extract import extract_rows, open_encoders
from semi.features.store import FeatureStore
from semi.features.table import load_features
from semi.runs.distill import distill
from semi.runs.evaluate import evaluate
from semi.runs.prediction_table import as_columns, lines
from semi.self_training.checksum_chain import mark_begun

CONFIGS = Path(__file__).parents[1] / "configs"
# of twelve: every way to fuse, and every task with one sense and with two; all twelve load in
# tests/test_configs_yaml.py
ETRI = ["etri_text_class", "etri_text_total", "etri_speech_affect", "etri_concat_class",
        "etri_add_affect"]  # fmt: skip
EMO = [f"emo_ensemble_{v}" for v in ("speech", "reversed", "text50")]  # text30: golden runs
STUDENTS = ["multi_still_multimodal", "multi_still_text", "multi_still_speech"]
TINY = [
    "model.hidden=8", "train.steps=3", "train.members=1", "train.folds=2", "rounds.max_rounds=0",
    "tracking=false", "threads=1", "data.workers=1", "data.classes=[]", "features.max_frames=6",
]  # fmt: skip
FEELING = {"anger": (1.8, 4.4), "sadness": (2.0, 1.7), "neutral": (3.1, 2.6)}


@pytest.fixture(scope="module")
def home(small_corpus, store, tmp_path_factory):
    """Returns a folder for runs that share the small corpus and the store of all tests."""
    folder = tmp_path_factory.mktemp("recipes")
    for name, target in (("manifest.csv", small_corpus / "manifest.csv"), ("store", store),
                         ("bio", small_corpus / "bio")):  # fmt: skip
        (folder / name).symlink_to(target)
    return folder


def recipe(home, name, *words, manifest="manifest.csv"):
    text = (CONFIGS / f"{name}.yaml").read_text()
    offline = []
    if "speech:\n    model: none" not in text:
        offline += ["encoders.speech.model=acoustic", "encoders.speech.layers=[]"]
    if "text:\n    model: none" not in text:
        offline += ["encoders.text.model=char-ngram", "encoders.text.pooling=mean"]
    where = [f"runs_dir={home / 'runs'}", f"features.store={home / 'store'}",
             f"data.manifest={home / manifest}"]  # fmt: skip
    return semi.load_config(CONFIGS / f"{name}.yaml", [*where, *TINY, *offline, *words])


def run(home, name, *words, **more):
    return semi.self_train(recipe(home, name, *words, **more), progress=False)


def record(result):
    return json.loads((result.path / f"round-{result.best_round:02d}" / "round.json").read_text())


@pytest.mark.parametrize("name", ETRI)
def test_an_etri_recipe_runs(home, name):
    result = run(home, name, "data.test_fold=2")
    m = record(result)["metrics_test"]
    kind = name.rpartition("_")[2]
    assert ("sample_f1" in m) == (kind != "affect")
    assert ("ccc" in m) == (kind != "class")
    if kind != "affect":
        assert len(m["f1"]) == 3 and {"low", "high"} <= set(m["intervals"]["micro_f1"])
    if kind != "class":
        assert set(m["affect"]) == {"valence", "arousal"}
        assert {"ccc", "pearson", "rmse"} <= set(m["affect"]["arousal"])
    assert "micro-F1" in str(evaluate(result.path)) or kind == "affect"
    report = (result.path / "report.html").read_text()
    assert ("arousal: CCC" in report) == (kind != "class")
    said = semi.load(result.path).predict(texts=["ja"]) if "text" in name else None
    assert said is None or lines(as_columns(said))[0].startswith("text 1")


@pytest.mark.parametrize("name", EMO)
def test_each_member_of_the_emo_ensemble_runs(home, name):
    result = run(home, name, "data.ties=drop")
    assert result.metrics["metrics_test"]["rows"] > 0


def test_speech_heard_backwards_is_other_speech(home):
    saved = []
    for name in ("emo_ensemble_speech", "emo_ensemble_reversed"):
        config = recipe(home, name, f"name={name}_features")
        manifest = load_manifest(config.data.manifest, config.data)
        encoders, store = open_encoders(config), FeatureStore(home / "store")
        extract_rows(manifest.table, encoders, store, progress=False)
        saved.append(load_features(manifest.table, encoders, store).values["speech"])
    assert saved[0].shape == saved[1].shape
    assert not np.allclose(saved[0], saved[1])


def test_lmr_cl_runs_with_rows_that_lack_biosignals(home):
    words = ["data.group=speaker", "data.test_groups=[]"]
    result = run(home, "lmr_cl", *words, "data.ties=drop")
    m = record(result)
    assert m["metrics_test"]["rows"] > 0 and m["metrics_oof"]["confusion"]
    assert set(m["calibration"]["heads"]) == {"fused", "speech", "text", "eda", "temp", "ibi"}
    config = recipe(home, "lmr_cl", *words, "data.ties=drop")
    table = load_manifest(config.data.manifest, config.data).table
    store = FeatureStore(home / "store")
    features = load_features(table, open_encoders(config), store)
    have = dict(zip(features.names, features.present.sum(0).tolist(), strict=True))
    assert (have["eda"], have["temp"], have["ibi"]) == (
        32,
        32,
        11,
    )  # none dropped for another's lack


def test_empty_braces_take_out_what_a_recipe_names(home):
    assert set(recipe(home, "lmr_cl").encoders.extra) == {"eda", "temp", "ibi"}
    assert not recipe(home, "lmr_cl", "encoders.extra={}").encoders.extra
    words = ["encoders.extra={}", "select.per_class={sad: 0.9}"]
    mer = semi.load_config(CONFIGS / "mer2024_semi.yaml", words)
    assert not mer.encoders.extra and set(mer.select.per_class) == {"worried", "surprise", "sad"}


def test_multi_still_teacher_learns_votes_from_frames_and_predicts_alike(home):
    result = run(home, "multi_still_teacher")
    model = semi.load(result.path)
    table = load_manifest(home / "manifest.csv").table.head(3)
    whole = model.predict(table, store=home / "store")
    alone = model.predict(table.iloc[[1]], store=home / "store")
    columns = [c for c in whole if c.startswith("p_")]
    np.testing.assert_allclose(whole[columns].iloc[1], alone[columns].iloc[0], atol=1e-5)


@pytest.mark.parametrize("name", STUDENTS)
def test_each_student_of_multi_still_is_taught(home, name):
    teacher = home / "runs" / "multi_still_teacher"
    if not teacher.is_dir():
        run(home, "multi_still_teacher")
    result = distill(teacher, recipe(home, name), progress=False)
    assert (result.path / "model" / "model.json").is_file()


def test_mer2024_semi_runs_rounds_on_the_layout_of_mertools(tmp_path):
    table, _ = corpus_manifest("mer2024", mer(tmp_path / "mer", real_tests=True))
    write_manifest(table, tmp_path / "mer.csv")
    words = [
        "encoders.speech.model=precomputed", f"encoders.speech.column={HUBERT}",
        "encoders.extra.video.column=clip-vit-large-patch14-UTT", "contrast.pretrain_steps=2",
        "rounds.max_rounds=1", "select.threshold=0.1",
        "select.per_class={worried: 0.1, surprise: 0.1}", "rounds.accept_se=9",
    ]  # fmt: skip
    result = run(tmp_path, "mer2024_semi", *words, manifest="mer.csv")
    ledger = pd.read_csv(result.path / "ledger.csv")
    assert ledger["chosen"].all() and set(ledger["id"]) == {"pool_1", "pool_2"}
    assert {"vote_speech", "vote_text", "vote_video"} <= set(ledger)


@pytest.mark.parametrize(
    "words",
    [
        ["task.kind=affect", "select.rule=spread", "rounds.metric=ccc"],
        ["task.kind=joint_multi_label", "select.rule=threshold", "select.threshold=0.5"],
        ["task.kind=joint"],
    ],
)
def test_a_run_that_was_cut_off_goes_on_to_the_same_rounds(home, words):
    name = words[0].partition("=")[2]
    config = recipe(
        home, "etri_speech_affect", f"name=cut_{name}", "train.members=2", "data.test_fold=2",
        "train.batch=128", "rounds.metric=macro_f1", "data.labeled_fraction=0.5",
        "rounds.max_rounds=1", "rounds.accept_se=99", *words,
    )  # fmt: skip
    whole = semi.self_train(config, progress=False)
    ledger = pd.read_csv(whole.path / "ledger.csv")
    mark_begun(whole.path)
    shutil.rmtree(whole.path / "round-01")
    shutil.rmtree(whole.path / "model")
    (whole.path / "result.json").unlink()
    again = semi.self_train(config, resume=True, progress=False)
    pd.testing.assert_frame_equal(pd.read_csv(again.path / "ledger.csv"), ledger)
    assert json.dumps(again.metrics) == json.dumps(whole.metrics)  # NaN equals itself as text


def test_a_tree_of_kemdy20_goes_through_reader_and_recipe(tmp_path):
    table, _ = corpus_manifest("kemdy20", kemdy20(tmp_path / "k"), biosignals=str(tmp_path / "b"))
    write_manifest(table, tmp_path / "k.csv")
    words = ["data.test_fold=2", "train.batch=128", "name=kemdy"]
    result = run(tmp_path, "etri_concat_total", *words, manifest="k.csv")
    assert record(result)["metrics_oof"]["rows"] >= 3


def test_rounds_of_several_labels_and_of_affect_pseudo_label_the_pool(home):
    half = ["data.labeled_fraction=0.5", "rounds.max_rounds=1", "rounds.accept_se=99"]
    several = run(
        home, "etri_concat_class", "name=several", *half, "select.rule=threshold",
        "select.threshold=0.5", "data.test_fold=2",
    )  # fmt: skip
    ledger = pd.read_csv(several.path / "ledger.csv")
    assert ledger["chosen"].any() and not ledger["chosen"].all()
    assert set(";".join(ledger["label"]).split(";")) <= set(FEELING)
    facts = json.loads((several.path / "round-01" / "round.json").read_text())
    assert 0 <= facts["pseudo"]["precision"] <= 1
    affect = run(
        home, "etri_speech_affect", "name=affect", *half, "select.rule=spread", "train.members=2",
        "train.batch=128", "data.test_fold=2",
    )  # fmt: skip
    ledger = pd.read_csv(affect.path / "ledger.csv")
    assert ledger["chosen"].any() and {"valence", "arousal_spread"} <= set(ledger)
    assert "p_anger" not in ledger and ledger["label"].isna().all()
