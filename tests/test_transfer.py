"""`semi transfer`: from one corpus to another, on real speech and on arrays of known answers."""

import json

import numpy as np
import pandas as pd
import pytest

from semi.cli import main
from semi.data.alike import synonyms
from semi.data.corpora import bundled_emodb
from semi.errors import ConfigError, RunError
from semi.experiments.transfer.config import load_transfer
from semi.experiments.transfer.corpora import parts_of
from semi.experiments.transfer.labels import harmonised, map_sentence
from semi.experiments.transfer.transfer import load_pairs, transfer

GERMAN = {"anger": "Wut", "happiness": "Freude", "sadness": "Trauer", "neutral": "neutral",
          "fear": "Angst", "boredom": "Langeweile", "disgust": "Ekel"}  # fmt: skip
QUICK = ["recipe=none", "model.hidden=8", "model.projection=4", "train.folds=2", "train.members=1",
         "train.steps=20", "train.batch=16", "contrast.pretrain_steps=0", "rounds.max_rounds=1",
         "select.rule=soft_allocation"]  # fmt: skip


def _arrays(folder, name, labels, speakers=6, rows=10, seed=0, width=6, **more):
    """Writes an .npz: the mean of each class is the same in every corpus, its offset is not."""
    rng = np.random.default_rng(seed)
    label = np.array([labels[k % len(labels)] for k in range(speakers * rows)])
    means = 4 * np.eye(8)[:, :width]
    place = {letter: i for i, letter in enumerate("ahsftj")}  # angry lies where anger lies
    speech = np.stack([means[place[c[0].lower()]] for c in label]) + seed
    speech = speech + rng.standard_normal(speech.shape)
    path = folder / f"{name}.npz"
    arrays = {"label": label, "speaker": np.repeat([f"s{k}" for k in range(speakers)], rows)}
    np.savez(path, speech=speech.astype(np.float32), **arrays, **more)
    return str(path)


@pytest.fixture
def corpora(tmp_path):
    """Returns a.npz with English names and b.npz with others for the same, each with one more."""
    a = _arrays(tmp_path, "a", ["anger", "happiness", "sadness", "fear"])
    return a, _arrays(tmp_path, "b", ["angry", "happy", "sad", "tired"], seed=3)


def _words(folder, corpora, *words):
    return [f"train={corpora[0]}", f"test={corpora[1]}", "outer_folds=2",
            f"output={folder}/out", *QUICK, *words]  # fmt: skip


def test_real_speech_of_other_people_in_another_tongues_labels(tmp_path, store, capsys):
    """Five bundled speakers teach, five whose emotions have German names are tested."""
    whole = pd.read_csv(bundled_emodb(), dtype=str, keep_default_na=False)
    whole = whole.groupby(["speaker", "label"]).head(2).copy()
    whole["audio"] = [str(bundled_emodb().parent / name) for name in whole["audio"]]
    speakers = sorted(set(whole["speaker"]))
    for name, people in (("hier", speakers[:5]), ("dort", speakers[5:])):
        part = whole[whole["speaker"].isin(people)].copy()
        part["label"] = part["label"].map(GERMAN) if name == "dort" else part["label"]
        part.drop(columns="split").to_csv(tmp_path / f"{name}.csv", index=False)
    words = ["transfer", f"train={tmp_path}/hier.csv", f"test={tmp_path}/dort.csv",
             f"features.store={store}", "encoders.speech.model=acoustic", "data.workers=1",
             "encoders.text.model=none", "outer_folds=2", f"output={tmp_path}/out",
             *QUICK]  # fmt: skip
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "- dort: Angst is read as fear, Ekel is read as disgust, Freude is read as" in out
    assert "## hier->dort" in out and "classes: anger, boredom, disgust, fear, happiness" in out
    for line in ("| source: source only", "| inductive: ", "| transductive: ", "| target: "):
        assert line in out
    assert "| inductive - source |" in out and "| target - source |" in out
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert runs["arm"].value_counts().to_dict() == {
        "source": 2, "inductive": 2, "target": 2, "transductive": 1,
    }  # fmt: skip
    assert main(["verify", str(tmp_path / "out")]) == 0


def test_no_test_speaker_is_in_the_pool(tmp_path, corpora):
    """Every target row is tested once by each arm, and what an arm learns from is what it says."""
    config = load_transfer(None, _words(tmp_path, corpora))
    (pair,), _ = (list(p.values()) if isinstance(p, dict) else p for p in load_pairs(config))
    group = pair.corpus.group
    tested = []
    for fold in range(2):
        parts = {
            arm: parts_of(pair, arm, fold, "corpus") for arm in ("source", "inductive", "target")
        }
        for arm, part in parts.items():
            assert not set(group[part.test]) & set(group[[*part.gold, *part.pool]]), arm
            assert not set(part.test) & set(part.learn), arm  # nor do they scale anything
        assert not len(parts["source"].pool) and not len(parts["target"].pool)
        assert (parts["inductive"].gold < pair.sources).all()
        assert (parts["inductive"].pool >= pair.sources).all()
        assert (parts["target"].gold >= pair.sources).all()
        tested += parts["source"].test.tolist()
    every = parts_of(pair, "transductive", 0, "corpus")
    assert sorted(tested) == every.test.tolist() == every.pool.tolist()


def test_scaling_by_corpus_takes_an_offset_away(tmp_path, corpora):
    """Vectors that lie elsewhere as a whole are no obstacle, where scaling knows the corpus."""
    scores = {}
    for mode in ("corpus", "global"):
        folder = transfer(
            load_transfer(None, _words(tmp_path / mode, corpora, f"standardize={mode}",
                                       "arms=[source]", "train.steps=150",
                                       "train.lr=0.01")), progress=False,
        )  # fmt: skip
        table = pd.read_csv(folder / "summary.csv")
        scores[mode] = table[table["arm"] == "source"]["macro_f1"].item()
    assert scores["corpus"] > 0.8 > scores["global"]


def test_it_goes_on_after_a_kill(tmp_path, corpora):
    """A line that is there is not computed again, one that is cut off is; the end is the same."""
    config = load_transfer(None, _words(tmp_path, corpora))
    folder = transfer(config, progress=False)
    runs, whole = folder / "runs.csv", (folder / "summary.md").read_bytes()
    lines = runs.read_text().splitlines(keepends=True)
    runs.write_text("".join(lines[:4]) + lines[4][:25])
    (folder / "summary.md").unlink()
    transfer(config, progress=False)
    assert (folder / "summary.md").read_bytes() == whole
    assert runs.read_text().splitlines()[:4] == [x.rstrip("\n") for x in lines[:4]]
    with pytest.raises(RunError, match=r"standardize was corpus, is none; choose another output="):
        transfer(load_transfer(None, _words(tmp_path, corpora, "standardize=none")))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("b: {tired: fear}", "b: {tired: anger}", "a->b.sides.b.labels.tired was fear, is anger"),
        ("a: {fear: null}", "a: {fear: fear}", "a->b.sides.a.labels.fear was None, is fear"),
    ],
)
def test_a_label_map_that_was_changed_reuses_no_result(tmp_path, corpora, before, after, told):
    """Arms of another map, of the sources' too, learned and were tested on other classes."""
    maps = tmp_path / "map.yaml"
    words = _words(tmp_path, corpora, "arms=[source]", f"labels={maps}")
    maps.write_text(before)
    folder = transfer(load_transfer(None, words), progress=False)
    runs = (folder / "runs.csv").read_bytes()
    maps.write_text(after)
    with pytest.raises(RunError, match="holds runs of other settings") as caught:
        transfer(load_transfer(None, words), progress=False)
    assert told in str(caught.value)
    maps.write_text(f"# said again\n{before}")
    transfer(load_transfer(None, words), progress=False)
    assert (folder / "runs.csv").read_bytes() == runs


def test_a_source_that_is_read_otherwise_reuses_no_result(tmp_path, corpora):
    """What a YAML file says of a source binds the folder as what it says of a target does."""
    path = tmp_path / "t.yaml"
    for pca in (3, 2):
        lab = {"features": corpora[0], "pca": pca}
        told = {"datasets": {"lab": lab}, "source": ["lab"], "target": [corpora[1]]}
        path.write_text(json.dumps(told))
        words = ["outer_folds=2", f"output={tmp_path}/out", "arms=[source]", *QUICK]
        if pca == 3:
            transfer(load_transfer(path, words), progress=False)
    with pytest.raises(RunError, match=r"sides\.lab\.dataset\.pca was 3, is 2; choose another"):
        transfer(load_transfer(path, words), progress=False)


def test_words_of_the_field_have_one_table():
    """What a table of labels takes for one emotion, a transfer does, too."""
    words = ["Wütend", "怒り", "радость", "Pleasant Surprise", "fru", "felicidad", "ira"]
    assert list(harmonised(words, {}).values()) == [
        *("anger", "anger", "happiness", "surprise", "frustration", "happiness", "anger")
    ]
    assert synonyms(["bored", "boredom", "calm"]) == [["bored", "boredom"]]


def test_processes_come_to_the_same(tmp_path, corpora):
    """Wherever the pieces are done, the answers are the same."""
    alone = transfer(load_transfer(None, _words(tmp_path, corpora, "arms=[inductive]")))
    words = _words(tmp_path / "two", corpora, "arms=[inductive]", "processes=2")
    both = transfer(load_transfer(None, words), progress=False)
    key = ["arm", "fold", "answers"]
    tables = [pd.read_csv(f / "runs.csv", dtype=str)[key].sort_values(key) for f in (alone, both)]
    assert tables[0].to_numpy().tolist() == tables[1].to_numpy().tolist()


@pytest.mark.parametrize(("foreign", "pool"), [("drop", 22 + 23), ("keep", 60)])
def test_rows_of_classes_that_only_the_target_has(tmp_path, corpora, foreign, pool):
    """They leave the pool, or stay in it without a label, as they would in practice."""
    pairs, notes = load_pairs(load_transfer(None, _words(tmp_path, corpora, f"foreign={foreign}")))
    (pair,) = pairs.values()
    assert pair.corpus.classes == ["anger", "happiness", "sadness"]
    assert len(parts_of(pair, "transductive", 0, "corpus").pool) == pool
    assert (pair.corpus.label[: pair.sources] >= 0).all() and pair.sources == 45
    assert notes == [
        "b: angry is read as anger, happy is read as happiness, sad is read as sadness"
    ]
    what = "left out" if foreign == "drop" else "in the pool, unlabelled"
    assert f"b: 15 rows of tired {what}: only one side has them" in pair.notes
    assert "a: 15 rows of fear left out: only one side has them" in pair.notes


def test_a_map_of_ones_own_wins(tmp_path, corpora):
    """What it names is renamed or left out, the rest is as the field calls it."""
    maps = tmp_path / "map.yaml"
    maps.write_text("b: {tired: fear, sad: null}\n")
    pairs, notes = load_pairs(load_transfer(None, _words(tmp_path, corpora, f"labels={maps}")))
    (pair,) = pairs.values()
    assert pair.corpus.classes == ["anger", "fear", "happiness"]
    assert notes == [
        "b: angry is read as anger, happy is read as happiness, tired is read as fear; "
        "sad left out by the map"
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("c: {x: y}", "names the corpus c, which is no source or target; these are a, b"),
        ("b: {Tired: fear}", r"b has no class Tired; did you mean 'tired'\?; it has angry"),
        ("b: [tired]", "it must hold corpora with their classes"),
        ("b: {tired: [fear]}", "it must hold corpora with their classes"),
        ("b: {tired", "is damaged or not a YAML file"),
        (
            "b: {happy: x, sad: y, angry: z}",
            r"0 classes in common \(anger, fear, hap",
        ),
    ],
)
def test_a_map_that_is_none_is_one_sentence(tmp_path, corpora, text, sentence):
    """What is wrong, where, and what there is."""
    (tmp_path / "map.yaml").write_text(text)
    config = load_transfer(None, _words(tmp_path, corpora, f"labels={tmp_path}/map.yaml"))
    with pytest.raises((ConfigError, RunError), match=sentence):
        load_pairs(config)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "source: required, but not set; name corpora, as in semi transfer train=a.csv"),
        (["train=nowhere.csv", "test=b.npz"], "nowhere.csv: no such file or folder"),
        (["train=a.npz", "test=a.npz"], "a is both source and target"),
        (["train=a.npz", "test=b.npz,b.npz"], "target: b.npz is named twice"),
        (["train=a.npz", "test=b.npz", "standardize=speeker"], "standardize must be one of"),
        (["train=a.npz", "test=b.npz", "task.kind=affect"], "task.kind must be single"),
        (["train=a.npz", "test=b.npz", "task.kind=multi_label"], "several labels, valence and"),
        (
            ["train=values_a.csv", "test=values_b.csv", "encoders.speech.model=none"],
            "no row of values_a, values_b has a label; a transfer compares one label a row",
        ),
        (["train=a.npz", "test=b.npz", "sedes=3"], "sedes: no such setting; did you mean 'seeds'"),
        (["train=a.npz", "test=wide.npz"], "view speech has other widths (6 in a, 7 in wide)"),
        (["train=a.npz", "test=b.npz", "views=[text]"], "has no array 'text'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path, corpora, monkeypatch, capsys, words, sentence
):
    """Nothing is trained, and the status is 2."""
    _arrays(tmp_path, "wide", ["angry", "sad"], width=7)
    for name in "ab":
        rows = [f"{name}{k},text {k},{k},s{k % 3}\n" for k in range(6)]
        (tmp_path / f"values_{name}.csv").write_text("id,text,valence,speaker\n" + "".join(rows))
    monkeypatch.chdir(tmp_path)
    assert main(["transfer", *words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_two_sources_and_names_of_datasets(tmp_path, corpora):
    """Sources are learned together; a YAML file may say what a corpus is."""
    third = _arrays(tmp_path, "c", ["joy", "sad"], seed=5)
    path = tmp_path / "t.yaml"
    path.write_text(
        json.dumps({"datasets": {"lab": {"features": third}}, "target": [corpora[1]],
                    "source": [corpora[0], "lab"], "outer_folds": 2})
    )  # fmt: skip
    pairs, notes = load_pairs(load_transfer(path, QUICK))
    (pair,) = pairs.values()
    assert pair.name == "a+lab->b" and pair.sources == 45 + 60
    assert set(pair.home) == {"a", "lab", "b"} and "lab: joy is read as happiness" in notes[0]


def test_the_words_of_the_field_are_one():
    """Case does not matter; what only some would put together stays apart."""
    found = harmonised(["Angry", "joy", "excited", "calm", "Neutral"], {})
    assert list(found.values()) == ["anger", "happiness", "excited", "calm", "neutral"]
    assert map_sentence("x", harmonised(["anger"], {})) == ""
