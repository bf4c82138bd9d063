"""The model card of each kind of task: several labels, valence and arousal, both and one label."""

import json
import re
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import yaml

import semi
from semi.data.corpora import bundled_emodb
from semi.runs.card_answers import several_answers
from semi.runs.card_metadata import CardWords
from semi.runs.hub_upload import card_of

# Where the emotions lie on the circumplex, from 1 to 5; the recordings have no such values.
FELT = {"happiness": (4.3, 4.0), "anger": (1.6, 4.4), "neutral": (3.0, 2.2), "sadness": (1.8, 1.6),
        "boredom": (2.3, 1.5), "fear": (1.7, 3.9), "disgust": (1.8, 3.2)}  # fmt: skip
KINDS = {
    "affect": ["rounds.metric=ccc", "select.rule=spread", "rounds.max_rounds=1"],
    "multi_label": ["data.ties=votes", "select.rule=threshold", "select.threshold=0.6",
                    "rounds.max_rounds=1"],
    "joint": ["rounds.metric=macro_f1", "select.rule=class_topk", "rounds.max_rounds=1"],
    "joint_multi_label": ["data.ties=votes", "rounds.max_rounds=0"],
}  # fmt: skip


def write_table(folder):
    """Writes m.csv: 240 real recordings; every third is of anger and fear, too."""
    whole = pd.read_csv(bundled_emodb(), dtype=str, keep_default_na=False)
    table = whole.groupby("speaker", group_keys=False).head(24).reset_index(drop=True)
    table["audio"] = [str(bundled_emodb().parent / name) for name in table["audio"]]
    felt = np.array([FELT[name] for name in table["label"]])
    felt += np.random.default_rng(0).normal(0, 0.2, felt.shape)
    table["valence"], table["arousal"] = felt.round(2).T
    two = table.index % 3 == 0
    table["label"] = [
        ";".join(dict.fromkeys([name, "anger", "fear"] if both else [name]))
        for name, both in zip(table["label"], two, strict=True)
    ]
    table.drop(columns=["split"], errors="ignore").to_csv(folder / "m.csv", index=False)


@pytest.fixture(scope="module")
def cards(tmp_path_factory, store):
    """Returns run and card by kind of task."""
    folder = tmp_path_factory.mktemp("cards")
    write_table(folder)
    found = {}
    for kind, words in KINDS.items():
        config = semi.load_config(None, [
            "recipe=none", f"name={kind}", f"runs_dir={folder}/runs", f"features.store={store}",
            f"data.manifest={folder}/m.csv", "encoders.speech.model=acoustic",
            "encoders.text.model=none", "data.test_fraction=0.3", "data.labeled_fraction=0.9",
            "model.kind=concat",
            "model.hidden=16", "train.folds=2", "train.members=2", "train.steps=40",
            "train.batch=128", "train.lr=0.03", "train.imbalance=none", "noise.steps=0",
            "noise.impulse=0", "tracking=false", "threads=1", "data.workers=1",
            f"task.kind={kind}", *words,
        ])  # fmt: skip
        run = semi.self_train(config, progress=False).path
        found[kind] = (Path(run), card_of(run, CardWords(license="mit")))
    return found


def tables_of(card):
    """Returns the Markdown tables of a card, each as rows of cells; a broken one fails."""
    found = []
    for block in re.findall(r"(?m)(?:^\|.*\n)+", card):
        rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()]
        assert set(rows[1]) == {"---"}, f"no line of dashes below the head of:\n{block}"
        assert {len(row) for row in rows} == {len(rows[0])}, f"cells are missing in:\n{block}"
        found.append([rows[0], *rows[2:]])
    return found


def record(run):
    """Returns round.json of the round that ships."""
    best = json.loads((run / "result.json").read_text())["best_round"]
    return json.loads((run / f"round-{best:02d}/round.json").read_text())


def section(card, title):
    return card.partition(f"# {title}\n")[2].partition("\n#")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_of_each_task_is_whole(cards, kind):
    run, card = cards[kind]
    _, top, text = card.split("---\n", 2)
    assert huggingface_hub.ModelCard(card).data.eval_results
    assert ("calibrated" in yaml.safe_load(top)["tags"]) == (kind != "affect")
    tables = tables_of(text)
    assert len(tables) >= (4 if kind == "affect" else 6)
    for title in ("How to use it", "Data", "How it was judged", "Scores", "Limits", "Licence",
                  "What was pseudo-labelled", "What the gate said"):  # fmt: skip
        assert section(text, title).strip(), title
    assert "None" not in text and "nan" not in text and "{" not in text.replace("arrays={", "")
    assert "No plain model was trained on the labels alone" in text
    ids = pd.read_csv(run.parents[1] / "m.csv", dtype=str)["id"]
    assert [name for name in ids if name in text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_names_the_columns_that_predict_gives(cards, kind):
    run, card = cards[kind]
    sound = str(bundled_emodb().parent / pd.read_csv(bundled_emodb())["audio"][0])
    columns = semi.load(run).predict([sound]).columns
    named = re.search(r"model.predict\(.*\)  # (.*)", card)
    assert named is not None
    for name in named[1].split(", "):
        assert name in columns or (name == "p_<class>" and "p_anger" in columns)
    for name in ("label", "valence"):
        assert (name in columns) == (name in named[1])


@pytest.mark.parametrize("kind", ["affect", "joint", "joint_multi_label"])
def test_values_are_said_with_their_scale_and_scores(cards, kind):
    run, card = cards[kind]
    table = pd.read_csv(run / "answers.csv")
    for name in ("valence", "arousal"):
        low, high = table[name].min(), table[name].max()
        assert f"{name} from {low:.4g} to {high:.4g}" in card
        scores = record(run)["metrics_test"]["affect"][name]
        assert f"| {name}: RMSE | | {scores['rmse']:.3f} |" in card
    assert "CCC is the concordance correlation coefficient" in section(card, "Scores")
    assert "RMSE is in units of the scale" in section(card, "Scores")


@pytest.mark.parametrize("kind", ["multi_label", "joint_multi_label"])
def test_several_labels_have_confusion_and_calibration(cards, kind):
    run, card = cards[kind]
    measured = record(run)["metrics_test"]
    classes = measured["classes"]
    (confusion,) = tables_of(section(card, "Confusion"))
    assert confusion[0] == ["", *classes, "none"]
    table = pd.read_csv(run / "answers.csv", keep_default_na=False)
    held_out = table[table["role"] == "test"]
    probs = held_out[[f"p_{name}" for name in classes]].to_numpy(float)
    for k, (row, name) in enumerate(zip(confusion[1:], classes, strict=True)):
        given = held_out["label"].str.split(";").map(lambda names, name=name: name in names)
        expected = [int((given & (probs[:, j] >= 0.5)).sum()) for j in range(len(classes))]
        expected.append(int((given & (probs < 0.5).all(1)).sum()))
        assert row == [f"**{name}**", *map(str, expected)]
        if measured["support"][k]:
            assert expected[k] == round(measured["recall"][k] * measured["support"][k])
    said = section(card, "Calibration")
    assert re.search(r"calibration error \d+\.\d %, negative log-likelihood \d\.\d{3}", said)
    none = int((probs < 0.5).all(1).sum())
    assert none and f"No class reaches 0.5 in {none} of the {len(probs)} rows." in said


def test_calibration_of_several_labels_by_hand():
    answers = [{"role": "test", "label": "a;b", "p_a": 0.8, "p_b": 0.4},
               {"role": "test", "label": "b", "p_a": 0.2, "p_b": 0.9},
               {"role": "labeled", "label": "a", "p_a": 0.0, "p_b": 1.0}]  # fmt: skip
    found = several_answers(answers, "test", ["a", "b"])
    assert found is not None and found.confusion == [[1, 0, 0], [1, 1, 0]]
    assert found.none_predicted == 0
    right = [0.8, 0.4, 0.8, 0.9]  # probability of the true answer
    assert found.calibration[1] == f"{-np.log(right).mean():.3f}"
    # every probability is a bin of its own: .8 - 1, .4 - 1, .2 - 0, .9 - 1
    assert found.calibration[0] == f"{100 * (0.2 + 0.6 + 0.2 + 0.1) / 4:.1f}"
    assert several_answers(answers, "dev", ["a", "b"]) is None


def test_what_was_pseudo_labelled_is_told_in_the_words_of_the_task(cards, tmp_path):
    run, card = cards["multi_label"]
    told = section(card, "What was pseudo-labelled")
    assert f"It learned from {record(run)['added']} labels of its own" in told
    assert "by the rule `threshold` from" in told and "right, %" not in told
    run = shutil.copytree(cards["affect"][0], tmp_path / "affect")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "best_round": 1}))  # as if it shipped
    best, told = record(run), section(card_of(run, CardWords()), "What was pseudo-labelled")
    assert f"It learned from {best['added']} values of its own" in told and best["added"]
    pseudo = best["pseudo"]
    assert f"- Seen: CCC {100 * pseudo['ccc']:.1f} % of {pseudo['checked']} of them whose" in told


def test_a_run_of_earlier_versions_has_a_card_without_them(cards, tmp_path):
    """Such runs have no answers.csv: what is counted from it is left out or marked."""
    run, _ = cards["joint_multi_label"]
    copy = shutil.copytree(run, tmp_path / "old")
    (copy / "answers.csv").unlink()
    card = card_of(copy, CardWords())
    assert "learned from: [More information needed]." in card
    assert "### Confusion" not in card and tables_of(card.split("---\n", 2)[2])
