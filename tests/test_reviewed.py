"""What reviews do to the rows of a manifest: gold, votes, out of the pool, held out, refused."""

import pandas as pd
import pytest

from semi.config.schema import load_config
from semi.data.gold import gold_table, left_out
from semi.data.reviews import Review, append_reviews
from semi.errors import ConfigError, ManifestError
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import load_corpus
from semi.self_training.tasks.multi_label import several_labels
from semi.training.rows import read_rows

CLASSES = ("anger", "calm", "joy")


@pytest.fixture
def table(tmp_path):
    """60 texts by 6 speakers, the last 12 of them unlabelled, speaker s5 held out by name."""
    rows = [
        {"id": f"u{k:02}", "text": f"w{k}", "label": CLASSES[k % 3] if k < 48 else "",
         "speaker": f"s{k % 6}"}
        for k in range(60)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    return tmp_path


def said(folder, *lines, name="r.csv"):
    path = folder / name
    append_reviews(path, [Review(*line) for line in lines])
    return f"data.reviews={path}"


def rows(folder, *words):
    """Returns the manifest, its sides, and the places of ids."""
    config = load_config(None, [
        f"data.manifest={folder}/m.csv", "encoders.speech.model=none", "data.test_groups=[s5]",
        "train.folds=2", *words,
    ])  # fmt: skip
    manifest, splits = read_rows(config)
    place = {name: i for i, name in enumerate(manifest.table["id"])}
    return manifest, splits, place


def role(folder, name, *words):
    manifest, splits, place = rows(folder, *words)
    i = place[name]
    return splits.role[i], manifest.table["label"].iat[i], splits.target[i].tolist()


def test_a_label_is_gold_in_place_of_the_tables_own_and_of_none(table):
    word = said(table, ("u48", "label", "joy", "x"), ("u00", "label", "calm", "x"))
    assert role(table, "u48", word) == ("labeled", "joy", [0, 0, 1])
    assert role(table, "u00", word) == ("labeled", "calm", [0, 1, 0])
    assert "2 rows labelled by people" in rows(table, word)[1].notes


def test_labels_that_are_hidden_come_back_and_the_others_stay_as_drawn(table):
    few = "data.labeled_count=9"
    before = rows(table, few)[1].role
    hidden = [f"u{i:02}" for i in range(48) if before[i] == "pool"][:3]
    word = said(table, *((name, "label", "joy", "x") for name in hidden))
    after = rows(table, few, word)[1].role
    assert [k for k in range(60) if before[k] != after[k]] == [int(n[1:]) for n in hidden]
    assert (after == "labeled").sum() == 12


def test_reviewers_who_differ_are_votes(table):
    two = [("u48", "label", "joy", "x"), ("u48", "label", "calm", "y")]
    word = said(table, *two)
    assert role(table, "u48", word)[0] == "pool"
    assert role(table, "u48", word, "data.ties=votes")[::2] == ("labeled", [0, 0.5, 0.5])
    third = said(table, *two, ("u48", "label", "joy", "z"), name="three.csv")
    got = role(table, "u48", third)
    assert got[:2] == ("labeled", "joy") and got[2] == pytest.approx([0, 1 / 3, 2 / 3])
    agreed = said(table, ("u48", "label", "joy", "x"), ("u48", "label", "joy", "y"), name="a.csv")
    assert role(table, "u48", agreed) == ("labeled", "joy", [0, 0, 1])


def test_the_last_word_of_a_reviewer_counts_and_undo_takes_it_back(table):
    word = said(
        table, ("u48", "label", "joy", "x"), ("u48", "label", "calm", "x"),
        ("u49", "label", "calm", "x"), ("u49", "undo", "", "x"),
    )  # fmt: skip
    assert role(table, "u48", word)[:2] == ("labeled", "calm")
    assert role(table, "u49", word)[0] == "pool"


def test_several_labels_are_a_tie_or_several_classes(table):
    word = said(table, ("u48", "label", "joy;calm", "x"), ("u00", "label", "joy; anger", "x"))
    assert role(table, "u48", word)[0] == "pool"
    assert role(table, "u00", word)[0] == "pool"  # gold of the table, but people say it is tied
    got = role(table, "u48", word, "task.kind=multi_label", "data.ties=votes")
    assert got[0] == "labeled" and got[2] == [0, 0.5, 0.5]
    manifest, _, place = rows(table, word, "task.kind=multi_label", "data.ties=votes")
    assert several_labels(manifest)[[place["u48"], place["u00"]]].tolist() == [[0, 1, 1], [1, 0, 1]]


@pytest.mark.parametrize("verdict", ["unsure", "bad_audio"])
@pytest.mark.parametrize("name", ["u48", "u00"])
def test_what_most_call_unusable_leaves_and_is_named(table, verdict, name):
    word = said(table, (name, verdict, "", "x"), (name, verdict, "", "y"),
                (name, "label", "joy", "z"))  # fmt: skip
    manifest, splits, place = rows(table, word)
    i = place[name]
    assert splits.role[i] == "unused" and splits.label[i] == -1 and not splits.target[i].any()
    told = verdict.replace("_", " ")
    assert [(q.id, q.reason) for q in left_out(manifest)] == [(name, f"reviewed as {told} by x, y")]
    assert f"1 row left out, which most reviewers call {told}: {name}" in splits.notes
    half = said(table, (name, verdict, "", "x"), (name, "label", "joy", "z"), name="half.csv")
    assert role(table, name, half)[:2] == ("labeled", "joy")


def test_held_out_rows_stay_held_out(table):
    held = ("u05", "u59")  # a test row, and an unlabelled one of its speaker
    word = said(table, *((name, "label", "joy", "x") for name in held), ("u11", "bad_audio", ""))
    plain, (manifest, splits, _) = rows(table)[1], rows(table, word)
    assert plain.role.tolist() == splits.role.tolist()
    assert plain.label.tolist() == splits.label.tolist()
    assert (
        "warning: the reviews of 2 held-out rows are refused as training gold; semi evaluate RUN "
        "--reviews FILE scores the run on what people said of them"
    ) in splits.notes
    assert (
        "warning: the review of 1 unused row is refused as training gold: it stands beside the "
        "held-out rows without one label, or is of a held-out group; semi evaluate RUN --reviews "
        "FILE scores the run on it, too"
    ) in splits.notes
    gold = gold_table(manifest, splits).set_index("id")
    assert gold.loc["u59", ["role", "use", "source"]].tolist() == ["unused", "unused", "review"]
    assert manifest.reviewed is not None
    assert manifest.reviewed.use == {"u05": "held_out", "u59": "unused", "u11": "held_out"}


def test_a_split_column_keeps_its_rows(table):
    frame = pd.read_csv(table / "m.csv", keep_default_na=False)
    frame["split"] = ["test" if speaker == "s5" else "train" for speaker in frame["speaker"]]
    frame.loc[frame["label"].eq(""), "split"] = "unlabeled"
    frame.to_csv(table / "m.csv", index=False)
    word = said(table, ("u04", "label", "joy", "x"), ("u48", "label", "joy", "x"))
    drop = "data.test_groups=[]"
    assert role(table, "u04", word, drop)[:2] == ("labeled", "joy")
    assert role(table, "u48", word, drop)[:2] == ("labeled", "joy")


def test_strange_rows_and_classes_are_refused_and_told(table):
    word = said(table, ("nobody", "label", "joy", "x"), ("u48", "label", "Joy", "x"),
                ("u49", "label", "calm", "x"))  # fmt: skip
    _, splits, place = rows(table, word)
    assert splits.role[place["u48"]] == "pool" and splits.role[place["u49"]] == "labeled"
    notes = "\n".join(splits.notes)
    assert "warning: 1 reviewed row is not in the manifest, and nothing is learned of it: " in notes
    assert "none of the classes anger, calm, joy refused: 'Joy' (1); did you mean 'joy'?" in notes
    renamed = rows(table, word, "data.label_map={Joy: joy}")[1]
    assert renamed.role[place["u48"]] == "labeled"


def test_a_class_may_be_known_by_reviews_alone(table):
    classes = "data.classes=[anger, calm, joy, surprise]"
    with pytest.raises(ManifestError, match="no labelled training row of 'surprise'"):
        rows(table, classes)
    word = said(table, *((f"u{k}", "label", "surprise", "x") for k in (48, 49, 50, 51)))
    assert role(table, "u48", word, classes)[:2] == ("labeled", "surprise")


def test_a_table_without_labels_is_taught_by_people_alone(table):
    frame = pd.read_csv(table / "m.csv").assign(label="")
    frame.to_csv(table / "m.csv", index=False)
    given = [(f"u{k:02}", "label", CLASSES[k % 3], "x") for k in range(30)]
    words = (said(table, *given), "data.classes=[anger, calm, joy]", "data.labeled_count=5")
    assert (rows(table, *words)[1].role == "labeled").sum() == 25  # those of s5 are held out


def test_files_are_joined_by_time_and_lines_in_both_count_once(table):
    early = ("u48", "label", "joy", "x", "2026-01-01T12:00:00+02:00")
    later = ("u48", "label", "calm", "x", "2026-01-01T11:00:00+00:00")
    first = said(table, later, name="b.csv").partition("=")[2]
    second = said(table, early, later, name="c.csv").partition("=")[2]
    manifest, _, place = rows(table, f"data.reviews=[{first},{second}]")
    assert manifest.table["label"].iat[place["u48"]] == "calm"
    assert manifest.reviewed is not None and len(manifest.reviewed.lines) == 2


@pytest.mark.parametrize("name, told", [
    ("none.csv", "none.csv: no such file of reviews; semi review RUN writes RUN/reviews.csv"),
    ("", "is a folder; name the file of reviews in it, such as .*reviews.csv"),
    ("other.csv", "none of the 1 reviewed row of .*other.csv is in .*m.csv"),
])  # fmt: skip
def test_a_file_that_cannot_be_meant_is_refused(table, name, told):
    said(table, ("strange", "label", "joy", "x"), name="other.csv")
    with pytest.raises(ManifestError, match=told):
        rows(table, f"data.reviews={table / name}")


def test_a_file_without_a_review_is_told(table):
    (table / "r.csv").write_text("id,verdict,label\n")
    assert any(
        "r.csv holds no review" in n for n in rows(table, f"data.reviews={table}/r.csv")[1].notes
    )


def test_reviews_teach_no_valence(table):
    with pytest.raises(ConfigError, match=r"data\.reviews: people's reviews name classes, which"):
        load_config(None, ["task.kind=affect", "data.reviews=r.csv", "data.manifest=m.csv"])


def test_who_said_what_is_written_down(table):
    machine = ("a", "calm", "0.7", "next")
    word = said(
        table, ("u48", "label", "joy", "x", "2026-01-01T00:00:00+00:00", *machine),
        ("u48", "label", "calm", "y"), ("u48", "label", "joy", "z"),
        ("u00", "bad_audio", "", "x"), ("u05", "label", "joy", "x"),
    )  # fmt: skip
    manifest, splits, _ = rows(table, word)
    found = gold_table(manifest, splits).set_index("id")
    first = found.loc["u48"].iloc[0].to_dict()
    assert first == {
        "role": "labeled", "use": "gold", "label": "joy", "source": "review", "verdict": "label",
        "said": "joy", "reviewer": "x", "time": "2026-01-01T00:00:00+00:00",
        "machine_label": "calm", "machine_confidence": "0.7", "run": "a", "pick": "next",
    }  # fmt: skip
    assert found.loc["u48", "said"].tolist() == ["joy", "calm", "joy"]
    assert found.loc["u00", ["source", "use", "said"]].values.tolist() == [
        ["manifest", "replaced", "anger"], ["review", "bad_audio", ""]]  # fmt: skip
    assert found.loc["u05", ["source", "use", "label"]].values.tolist() == [
        ["manifest", "test", "joy"], ["review", "held_out", "joy"]]  # fmt: skip
    assert found.loc["u01", ["source", "use"]].tolist() == ["manifest", "gold"]
    assert found["role"].tolist().count("labeled") == 40 - 1 + 3


def test_a_label_that_was_hidden_is_written_down_nowhere(table):
    kept = rows(table, "data.labeled_count=6")[1].role
    ids = pd.read_csv(table / "m.csv")["id"].tolist()
    labelled = [i for i, r in zip(ids, kept, strict=True) if r == "labeled"]
    hidden = [i for i in ids[:40] if kept[ids.index(i)] == "pool"]
    assert labelled and len(hidden) > 5
    verdicts = [("label", "joy"), ("unsure", ""), ("bad_audio", "")]
    given = [(i, *verdicts[k % 3], "x") for k, i in enumerate(hidden)]
    given += [(hidden[0], "label", "calm", "y"), (labelled[0], "label", "calm", "x")]  # one tie
    manifest, splits, _ = rows(table, said(table, *given), "data.labeled_count=6")
    found = gold_table(manifest, splits)
    assert set(found["use"]) >= {"gold", "tied", "unsure", "bad_audio", "replaced"}
    of_table = set(found.loc[found["source"] == "manifest", "id"])
    assert of_table == set(labelled)
    assert found.loc[found["use"] == "replaced", "id"].tolist() == [labelled[0]]


def test_a_benchmark_draws_its_labels_itself(table):
    (table / "run.yaml").write_text(f"data: {{manifest: {table}/m.csv, reviews: [r.csv]}}\n")
    with pytest.raises(ConfigError, match=r"datasets\.toy: the benchmark draws which labels are"):
        load_corpus("toy", DatasetConfig(config=str(table / "run.yaml")))


def test_one_file_needs_no_brackets():
    def reviews(word):
        return load_config(None, ["data.manifest=m.csv", word]).data.reviews

    assert reviews("data.reviews=runs/a/reviews.csv") == ["runs/a/reviews.csv"]
    assert reviews("data.reviews=2024") == ["2024"]
    assert reviews("data.reviews=[a.csv,b.csv]") == ["a.csv", "b.csv"]
    for word in ("a.csv,b.csv", "", "null"):
        with pytest.raises(ConfigError, match=r"data\.reviews: (takes a list such as|is empty)"):
            reviews(f"data.reviews={word}")
