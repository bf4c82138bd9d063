"""From a challenge's folder to the file that is handed in: who is trained on, who is answered."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from corpus_trees import put
from mer_trees import mer2023, mer2024, mer2025, sheet

import semi
from semi.cli import main
from semi.data.config import DataConfig
from semi.data.corpora import corpus_manifest
from semi.data.manifest import load_manifest, write_manifest
from semi.data.splits import make_splits
from semi.errors import ManifestError, RunError
from semi.runs.submit import submit

TINY = ["encoders.speech.model=acoustic", "encoders.text.model=none", "model.hidden=8",
        "model.projection=4", "train.folds=2", "train.members=1", "train.steps=10",
        "train.batch=16", "contrast.pretrain_steps=0", "rounds.max_rounds=1", "tracking=false",
        "threads=1", "data.allow_leaks=[text]"]  # fmt: skip


def told(notes, words):
    return any(words in note for note in notes)


def train(folder, store, *words):
    """Trains on folder/m.csv and returns the run's path."""
    settings = [f"data.manifest={folder}/m.csv", f"runs_dir={folder}/runs", "name=r",
                f"features.store={store}", *TINY, *words]  # fmt: skip
    semi.self_train(semi.load_config(None, settings), progress=False)
    return folder / "runs" / "r"


def roles(run):
    splits = pd.read_csv(run / "splits.csv", dtype=str)
    return dict(zip(splits["id"], splits["role"], strict=True))


def names(part):
    return [name for name, *_ in part]


def test_mer2025_from_its_folder_to_a_submission(tmp_path, store, capsys):
    gold, candidates, pool = mer2025(tmp_path / "mer")
    manifest, out = str(tmp_path / "m.csv"), tmp_path / "submission.csv"
    assert main(["manifest", "mer2025", str(tmp_path / "mer"), "-o", manifest]) == 0
    said = capsys.readouterr().out
    assert "ignored submission.csv: a model's answers, never gold" in said
    assert "track2_train_ovmerd.csv: labels of another track" in said
    assert "roles: train 36, test 12, unlabeled 12" in said
    assert "read 63 of 67 files" in said and "ignored beside them: .npy 1" in said
    run = train(tmp_path, store)
    side = roles(run)
    assert {side[n] for n in names(gold)} == {"labeled"}
    assert {side[n] for n in names(pool)} == {"pool"}
    assert {side[n] for n in names(candidates)} == {"unused"}  # neither learned from nor scored
    ledger = pd.read_csv(run / "ledger.csv", dtype=str)
    assert not set(ledger["id"]) & set(names(candidates))
    assert main(["submit", str(run), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "12 rows of name,discrete" in said and "(candidates 12)" in said
    answer = pd.read_csv(out, dtype=str)
    assert list(answer["name"]) == names(candidates)  # in the order of the challenge's own list
    assert set(answer["discrete"]) <= {"neutral", "angry", "happy", "sad", "worried", "surprise"}


def test_mer2024_with_fillers_is_never_trained_on_its_tests(tmp_path, store):
    gold, tests, _ = mer2024(tmp_path / "mer")
    table, notes = corpus_manifest("mer2024", tmp_path / "mer")
    assert told(notes, "the 12 labels in label-6way.npz are all alike, thus fillers: never gold")
    by = table.set_index("id")
    assert by.loc[names(tests), "label"].isna().all() and len(table) == 60
    assert (by.loc[names(gold), "valence"] == 1.5).all()  # of label-disdim.csv, beside the .npz
    write_manifest(table, tmp_path / "m.csv")
    run = train(tmp_path, store)
    done = submit(run, tmp_path / "s.csv")
    assert list(pd.read_csv(tmp_path / "s.csv")["name"]) == names(tests)
    assert done.rows == 12 and told(done.notes, "declares as test (test1_corpus 12); its other 48")
    # the whole manifest by hand: the same rows, no training row among them
    assert submit(run, tmp_path / "t.csv", manifest=tmp_path / "m.csv").rows == 12
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()


def test_unlabelled_tests_may_be_learned_from_without_their_labels_and_are_answered(
    tmp_path, store
):
    _, tests, _ = mer2024(tmp_path / "mer", 36, 9, 0)
    assert told(
        corpus_manifest("mer2024", tmp_path / "mer")[1], "tests=pool lets them learn from these"
    )
    table, notes = corpus_manifest("mer2024", tmp_path / "mer", tests="pool")
    assert (
        told(notes, "without a label, 9 of the tests and candidates")
        and table["split"].isna().all()
    )
    write_manifest(table, tmp_path / "m.csv")
    run = train(tmp_path, store)
    assert {roles(run)[n] for n in names(tests)} == {"pool"}
    done = submit(run, tmp_path / "s.csv")
    assert list(pd.read_csv(tmp_path / "s.csv")["name"]) == names(tests)
    assert told(done.notes, "(test1_corpus 9); its other 36 rows")


def test_a_part_of_the_unlabelled_that_is_answered_later_is_a_test_of_its_own(tmp_path):
    _, tests, _ = mer2024(tmp_path, 12, 6, 2)
    sheet(tmp_path / "reference-noise.csv", "name,discrete", [row[:2] for row in tests[:4]])
    by = corpus_manifest("mer2024", tmp_path)[0].set_index("id")
    assert by.loc[names(tests)[:4], "corpus"].eq("test2_corpus").all()
    assert by.loc[names(tests)[:4], "label"].tolist() == [row[1] for row in tests[:4]]
    assert by.loc[names(tests)[4:], "corpus"].eq("test1_corpus").all()


def test_answers_given_out_later_score_the_tests_and_train_nothing(tmp_path, store):
    _, tests, _ = mer2024(tmp_path / "mer", answers=True)
    table, _ = corpus_manifest("mer2024", tmp_path / "mer")
    by = table.set_index("id")
    assert by.loc[names(tests), "label"].tolist() == [label for _, label, _ in tests]
    write_manifest(table, tmp_path / "m.csv")
    run = train(tmp_path, store)
    assert {roles(run)[n] for n in names(tests)} == {"test"}
    assert semi.evaluate(run).metrics["accuracy"] <= 1
    assert submit(run, tmp_path / "s.csv").rows == 12


def test_mer2023_declares_its_tests_by_folders(tmp_path, store):
    _, tests = mer2023(tmp_path / "mer")
    table, notes = corpus_manifest("mer2023", tmp_path / "mer")
    assert table["corpus"].value_counts().to_dict() == {
        "train_corpus": 36, "test1_corpus": 4, "test2_corpus": 4, "test3_corpus": 4
    }  # fmt: skip
    assert told(notes, "test3_corpus: 4 names from the folder test3")
    write_manifest(table, tmp_path / "m.csv")
    done = submit(train(tmp_path, store), tmp_path / "s.csv")
    assert sorted(pd.read_csv(tmp_path / "s.csv")["name"]) == sorted(names(tests))
    assert told(done.notes, "test1_corpus 4, test2_corpus 4, test3_corpus 4")


def test_mer2023_with_its_label_file_says_fillers_and_valence(tmp_path):
    corpora = {
        "train_corpus": {"a": {"emo": "happy", "val": 2.5}, "b": {"emo": "sad", "val": -1}},
        "test1_corpus": {"c": {"emo": "neutral", "val": -10}},
        "test2_corpus": {"d": {"emo": "angry", "val": -3.0}, "e": {"emo": "sad", "val": ""}},
        "test3_corpus": {"f": {"emo": "neutral", "val": -10}, "g": {"emo": "neutral", "val": -10}},
    }
    np.savez_compressed(tmp_path / "label-6way.npz", **corpora)
    sheet(tmp_path / "transcription.csv", "name,sentence", [(n, "好") for n in "abcdefg"])
    by = corpus_manifest("mer2023", tmp_path)[0].set_index("id")
    assert by["split"].to_dict() == {n: "train" if n in "ab" else "test" for n in "abcdefg"}
    assert by["label"].dropna().to_dict() == {"a": "happy", "b": "sad", "d": "angry", "e": "sad"}
    assert by["valence"].dropna().to_dict() == {"a": 2.5, "b": -1, "d": -3}


DECOYS = ["submission.csv", "answers.csv", "my_labels.csv", "test1_features_f1_0.63.csv",
          "candidates.csv", "label-disdim_old.csv", "predictions.csv", "track1.csv"]  # fmt: skip


@pytest.mark.parametrize("name", DECOYS)
def test_a_table_of_another_name_is_never_gold(tmp_path, name):
    mer2025(tmp_path, 6, 2, 0)
    head, rows = "name,discrete", [("sample_00000006", "sad"), ("sample_99", "happy")]
    sheet(tmp_path / name, head, rows)
    table, notes = corpus_manifest("mer2025", tmp_path)
    assert len(table) == 8 and table["label"].notna().sum() == 6
    assert told(notes, f"ignored {name}: ")


def test_labels_beside_the_candidates_are_never_read(tmp_path):
    _, candidates, _ = mer2025(tmp_path, 6, 4, 0)
    sheet(tmp_path / "mer2025-dataset" / "track_all_candidates.csv", "name,discrete",
          [(n, ["neutral", "sad"][k % 2]) for k, n in enumerate(names(candidates))])  # fmt: skip
    by = corpus_manifest("mer2025", tmp_path)[0].set_index("id")
    assert by.loc[names(candidates), "label"].isna().all()


def test_parts_drawn_by_number_leave_unlabelled_tests_out_of_the_pool(tmp_path):
    _, tests, _ = mer2024(tmp_path / "mer", 36, 6, 3)
    write_manifest(corpus_manifest("mer2024", tmp_path / "mer")[0], tmp_path / "m.csv")
    config = DataConfig(test_fold=1, test_folds=3, group="none", allow_leaks=["text"])
    manifest = load_manifest(tmp_path / "m.csv", config)
    splits = make_splits(manifest, config, folds=2, seed=0)
    side = dict(zip(manifest.table["id"], splits.role, strict=True))
    assert {side[n] for n in names(tests)} == {"unused"}
    assert (splits.role == "test").sum() == 12 and (splits.role == "pool").sum() == 3


def test_a_folder_without_known_labels_says_what_is_there_and_what_is_looked_for(tmp_path):
    sheet(tmp_path / "labels.csv", "name,discrete", [("a", "sad")])
    with pytest.raises(ManifestError, match=r"track1_train_disdim\.csv \(MER2025\).*labels\.csv"):
        corpus_manifest("mer2025", tmp_path)
    sheet(tmp_path / "train-label.csv", "id,feeling", [("a", "sad")])
    with pytest.raises(ManifestError, match=r"no column name in it \(its columns are id, feel"):
        corpus_manifest("mer2023", tmp_path)


def test_a_name_on_both_sides_is_held_out_and_told(tmp_path):
    gold, candidates, _ = mer2025(tmp_path, 12, 3, 0)
    sheet(tmp_path / "mer2025-dataset" / "track_all_candidates.csv", "name",
          [(n,) for n in [*names(candidates), names(gold)[0]]])  # fmt: skip
    table, notes = corpus_manifest("mer2025", tmp_path)
    row = table.set_index("id").loc[names(gold)[0]]
    assert row["split"] == "test" and row["label"] is None and len(table) == 15
    assert told(notes, "1 name in train_corpus and among the tests or candidates too")


def test_tests_of_which_nothing_is_there_are_refused_or_dropped_when_asked(tmp_path):
    _, candidates, _ = mer2025(tmp_path, 12, 3, 0)
    lost = names(candidates)[1]
    top = tmp_path / "mer2025-dataset"
    (top / "audio" / f"{lost}.wav").unlink()
    kept = corpus_manifest("mer2025", tmp_path)  # its transcript is there
    assert told(kept[1], "audio: 14 of 15") and lost in set(kept[0]["id"])
    (top / "subtitle_chieng.csv").unlink()
    with pytest.raises(ManifestError, match=f"1 of 3 rows of candidates have neither.*{lost}"):
        corpus_manifest("mer2025", tmp_path)
    dropped, notes = corpus_manifest("mer2025", tmp_path, missing="drop")
    assert lost not in set(dropped["id"]) and told(notes, "and are dropped")


def test_a_challenge_without_tests_has_nothing_to_submit(tmp_path, store):
    mer2025(tmp_path, 36, 0, 6)
    (tmp_path / "mer2025-dataset" / "track_all_candidates.csv").unlink()
    table, notes = corpus_manifest("mer2025", tmp_path)
    assert told(notes, "semi submit has nothing to answer")
    write_manifest(table, tmp_path / "m.csv")
    run = train(tmp_path, store)
    with pytest.raises(RunError, match=r"no tests and no candidates \(train_corpus 36, pool 6\)"):
        submit(run, tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()


def test_a_test_that_cannot_be_heard_is_named_and_all_of_them_are_refused(tmp_path, store):
    _, tests, _ = mer2024(tmp_path / "mer", 36, 3, 0)
    write_manifest(corpus_manifest("mer2024", tmp_path / "mer")[0], tmp_path / "m.csv")
    run = train(tmp_path, store)
    audio = tmp_path / "mer" / "mer2024-dataset-process" / "audio"
    put(audio / f"{names(tests)[1]}.wav", "no sound")
    done = submit(run, tmp_path / "s.csv")
    assert list(done.guessed) == [names(tests)[1]] and done.rows == 3
    assert list(pd.read_csv(tmp_path / "s.csv")["name"]) == names(tests)
    for name in names(tests):
        put(audio / f"{name}.wav", "no sound")
    with pytest.raises(RunError, match="none of the 3 rows to submit can be read"):
        submit(run, tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_films_alone_are_listed_and_say_what_hears_them(tmp_path):
    mer2025(tmp_path, 6, 2, 1)
    top = tmp_path / "mer2025-dataset"
    for path in sorted((top / "audio").iterdir()):
        put(top / "video" / f"{path.stem}.mp4", "a film")
        path.unlink()
    table, notes = corpus_manifest("mer2025", tmp_path)
    assert len(table) == 9 and table["audio"].str.endswith(".mp4").all()
    assert told(notes, "9 utterances have a film and no sound file; the film's sound is used")
    if importlib.util.find_spec("av") is None:
        assert told(notes, "which needs PyAV, not installed here: pip install 'semi-emotion[m4a]'")


@pytest.mark.extras("av")
def test_the_sound_of_films_is_read(tmp_path, store):
    import av

    mer2025(tmp_path, 36, 3, 0)
    top = tmp_path / "mer2025-dataset"
    (top / "video").mkdir()
    for k, path in enumerate(sorted((top / "audio").iterdir())):
        film = top / "video" / f"{path.stem}.{'avi' if k % 2 else 'mp4'}"
        with av.open(str(path)) as source, av.open(str(film), "w") as target:
            stream = target.add_stream("aac" if film.suffix == ".mp4" else "pcm_s16le", 16_000)
            for frame in source.decode(audio=0):
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
        path.unlink()
    table, notes = corpus_manifest("mer2025", tmp_path)
    assert not told(notes, "pip install")
    write_manifest(table, tmp_path / "m.csv")
    done = submit(train(tmp_path, store), tmp_path / "s.csv")
    assert done.rows == 3 and not done.guessed
