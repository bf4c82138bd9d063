"""CREMA-D, MSP-Podcast, ESD, EmoDB 2, TESS and SAVEE in the layouts they are given out in."""

import json

import pandas as pd
import pytest
from corpus_trees import cremad, emodb2, esd, msp_podcast, put, savee, tess, wav

from semi.data.config import DataConfig
from semi.data.corpora import corpus_manifest
from semi.data.manifest import load_manifest, write_manifest
from semi.data.splits import make_splits
from semi.errors import ManifestError


def told(notes, words):
    return any(words in note for note in notes)


def read(name, root, **options):
    table, notes = corpus_manifest(name, root, **options)
    write_manifest(table, root / "m.csv")
    assert len(load_manifest(root / "m.csv")) == len(table)
    (root / "m.csv").unlink()
    return table.set_index("id"), notes


TREES = {"cremad": (cremad, 4), "msp_podcast": (msp_podcast, 8), "esd": (esd, 36),
         "emodb2": (emodb2, 4), "tess": (tess, 6), "savee": (savee, 14)}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_every_reader_accounts_for_its_folder(tmp_path, name):
    make, rows = TREES[name]
    by, notes = read(name, make(tmp_path))
    files = sum(path.is_file() for path in tmp_path.rglob("*"))
    assert len(by) == rows and by["audio"].notna().all() and by.index.is_unique
    assert notes[0].startswith(f"{rows} utterances of ") and "; labels: " in notes[0]
    assert told(notes, f" of {files} files beneath {tmp_path}") and told(notes, "roles: ")


@pytest.mark.parametrize("name", TREES)
def test_a_folder_of_something_else_says_what_is_looked_for(tmp_path, name):
    wav(tmp_path / "hello.wav")
    with pytest.raises(ManifestError, match=r"such as|labels_consensus\.csv|no Emo-DB file"):
        corpus_manifest(name, tmp_path)


def test_cremad_has_what_was_acted_and_what_was_heard(tmp_path):
    by, notes = read("cremad", cremad(tmp_path))
    first = by.loc["1001_DFA_ANG_XX"]
    assert first["label"] == "angry" and first["votes"] == {"angry": 2.0, "neutral": 1.0}
    assert first["audio"].endswith(".wav") and first["text"] == "Don't forget a jacket."
    assert (first["speaker"], first["gender"], first["age"]) == ("1001", "m", "51")
    assert by.loc["1001_IEO_HAP_HI", "intensity"] == "high" and first["intensity"] is None
    assert by.loc["1040_ITH_SAD_X", "label"] == "sad"  # the one file named so
    assert told(notes, "1 sound does not follow the naming and is left out (1001_notes.wav)")
    assert told(notes, "votes on voice of 3 of 4 utterances from finishedResponses.csv")
    assert told(notes, ".flv 1")


def test_cremad_by_the_raters_from_each_table_that_has_them(tmp_path):
    by, _ = read("cremad", cremad(tmp_path), label="voted")
    assert by["label"].to_dict() == {
        "1001_DFA_ANG_XX": "angry", "1001_IEO_HAP_HI": "happy;neutral",
        "1002_IEO_SAD_LO": "neutral", "1040_ITH_SAD_X": None,
    }  # fmt: skip
    by, _ = read("cremad", tmp_path, label="voted", votes="face")
    assert by.loc["1001_DFA_ANG_XX", "label"] == "disgust"
    (tmp_path / "finishedResponses.csv").unlink()
    by, notes = read("cremad", tmp_path)
    assert by.loc["1001_DFA_ANG_XX", "votes"] == {"angry": 2.0, "neutral": 1.0}
    assert told(notes, "from tabulatedVotes.csv")
    (tmp_path / "processedResults" / "tabulatedVotes.csv").unlink()
    by, notes = read("cremad", tmp_path, label="voted")
    assert by.loc["1001_IEO_HAP_HI", "label"] == "happy;neutral"
    assert told(notes, "summaryTable.csv, the majority alone")
    (tmp_path / "processedResults" / "summaryTable.csv").unlink()
    with pytest.raises(ManifestError, match="label=voted, but no finishedResponses"):
        corpus_manifest("cremad", tmp_path, label="voted")


def test_a_corpus_may_be_spelled_as_its_authors_do(tmp_path):
    assert len(corpus_manifest("CREMA-D", cremad(tmp_path))[0]) == 4
    with pytest.raises(ManifestError, match="unknown corpus 'cremat'; did you mean 'cremad'"):
        corpus_manifest("cremat", tmp_path)


def test_pointers_of_git_lfs_are_told(tmp_path):
    path = cremad(tmp_path) / "AudioWAV" / "1001_DFA_ANG_XX.wav"
    put(path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 72880\n")
    assert told(corpus_manifest("cremad", tmp_path)[1], "1 of them are Git LFS pointers in place")


def test_msp_podcast_reads_classes_dimensions_and_the_official_split(tmp_path):
    by, notes = read("msp_podcast", msp_podcast(tmp_path))
    name = "MSP-PODCAST_{}".format
    labels = {i[12:]: x for i, x in by["label"].to_dict().items() if isinstance(x, str)}
    assert labels == {
        "0001_0008": "neutral", "0002_0033": "happy", "0003_0002": "contempt",
        "0004_0007": "sad", "0005_0001": "angry",
    }  # fmt: skip
    assert by.loc[name("0004_0007"), "split"] == "dev" and by["split"].notna().all()
    assert (by.loc[name("test3_0001"), "split"], by.loc[name("test3_0001"), "label"]) == (
        "test", None
    )  # fmt: skip
    row = by.loc[name("0002_0033")]
    assert (row["arousal"], row["valence"], row["dominance"]) == (5.0, 5.8, 4.4)
    assert row["votes"] == {"happy": 2.0} and row["text"] == "So this is MSP-PODCAST_0002_0033."
    assert told(notes, "no agreement (X) on 1 turn, without a label; other (O) on 1")
    assert told(notes, "1 turn without a sound dropped (MSP-PODCAST_0005_0002)")
    kept, _ = read("msp_podcast", tmp_path, other="keep")
    assert kept.loc[name("0003_0001"), "label"] == "other"


def test_unknown_speakers_of_msp_podcast_are_not_one_speaker(tmp_path):
    table, notes = corpus_manifest("msp_podcast", msp_podcast(tmp_path))
    assert told(notes, "3 turns of an unknown speaker: no speaker, not one and the same")
    write_manifest(table, tmp_path / "m.csv")
    config = DataConfig(allow_leaks=["text", "speaker"])
    manifest = load_manifest(tmp_path / "m.csv", config)
    splits = make_splits(manifest, config, folds=2, seed=0)
    unknown = manifest.table["speaker"].isna().to_numpy()
    assert len(set(splits.group[unknown])) == 3


@pytest.mark.parametrize("listed", [False, True])
def test_msp_podcast_from_json(tmp_path, listed):
    msp_podcast(tmp_path)
    labels = tmp_path / "Labels"
    by, _ = read("msp_podcast", tmp_path)
    lines = (labels / "labels_consensus.csv").read_text(encoding="utf-8").splitlines()
    head, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    cells = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    (labels / "labels_consensus.csv").unlink()
    put(labels / "labels.json", json.dumps({k: [v] if listed else v for k, v in cells.items()}))
    again, _ = read("msp_podcast", tmp_path)
    assert again["label"].tolist() == by["label"].tolist() and len(again) == 8
    put(labels / "labels.json", "{broken")
    with pytest.raises(ManifestError, match="not a JSON of labels by file name"):
        corpus_manifest("msp_podcast", tmp_path)


@pytest.mark.parametrize("split", [False, True])
def test_esd_in_every_encoding_and_with_the_folders_of_parts(tmp_path, split):
    by, notes = read("esd", esd(tmp_path, split=split))
    assert by.loc["0001_000351", "text"] == "打远一看，它们的确很是漂亮，"
    assert by.loc["0003_000701", "text"] == "打远一看，它们的确很是漂亮，"
    assert by.loc["0016_000001", "text"] == "The café is closed, Tom."
    assert by.loc["0003_000701", "label"] == "happy" and by.loc["0001_000001", "label"] == "neutral"
    assert by.loc["0011_000351", "text"] == "The nine the eggs, I keep."
    assert by.loc["0011_000351", "label"] == "surprise"  # the text file's word counts
    assert told(notes, "1 utterance lies in the folder of another emotion")
    assert by.groupby("language").size().to_dict() == {"en": 18, "zh": 18}
    assert by.loc["0016_000001", "gender"] == "f" and by.loc["0011_000001", "gender"] == "m"
    if split:
        assert by["split"].value_counts().to_dict() == {"train": 12, "dev": 12, "test": 12}
    else:
        assert by["split"].isna().all()
    only, notes = read("esd", tmp_path, language="zh")
    assert set(only["speaker"]) == {"0001", "0003"} and told(notes, "leaves out 18 sounds")


def test_esd_without_its_text_files_goes_by_the_folders(tmp_path):
    for path in esd(tmp_path).rglob("*.txt"):
        path.unlink()
    by, notes = read("esd", tmp_path)
    assert by["label"].value_counts().to_dict() == {"angry": 12, "happy": 12, "neutral": 12}
    assert told(notes, "36 utterances have no sentence")


def test_emodb2_of_audb_has_its_split_and_its_doubts(tmp_path):
    by, notes = read("emodb2", emodb2(tmp_path))
    assert by["label"].to_dict() == {
        "03a01Fa": "happiness", "03a02Wc": "anger", "08a01Nd": "neutral", "08a02Tb": None
    }  # fmt: skip
    assert by["split"].to_dict() == {
        "03a01Fa": "train", "03a02Wc": "train", "08a01Nd": "test", "08a02Tb": None
    }  # fmt: skip
    assert by.loc["08a02Tb", "ambiguous"] == "sadness" and by.loc["08a01Nd", "sex"] == "f"
    assert by.loc["03a01Fa", "speaker"] == "03" and by.loc["03a01Fa", "confidence"] == 0.9
    assert by.loc["03a01Fa", "text"] == "Der Lappen liegt auf dem Eisschrank."
    assert told(notes, "1 file of the tables missing (wav/14a05Lx.wav)")
    kept, _ = read("emodb2", tmp_path, ambiguous="keep")
    assert kept.loc["08a02Tb", "label"] == "sadness"


def test_emodb2_with_its_tables_as_parquet_reads_alike(tmp_path):
    by, _ = read("emodb2", emodb2(tmp_path))
    for path in tmp_path.glob("db.*.csv"):
        table = pd.read_csv(path)
        table = table.set_index("file") if "file" in table else table.set_index("speaker")
        table.to_parquet(path.with_suffix(".parquet"))
        path.unlink()
    again, _ = read("emodb2", tmp_path)
    pd.testing.assert_frame_equal(again, by)


def test_emodb2_as_a_plain_folder_goes_by_the_names(tmp_path):
    for path in emodb2(tmp_path).glob("db.*"):
        path.unlink()
    by, _ = read("emodb2", tmp_path)
    assert by["label"].tolist() == ["happiness", "anger", "neutral", "sadness"]


def test_tess_counts_the_copy_inside_the_tree_once(tmp_path):
    by, notes = read("tess", tess(tmp_path))
    assert by["label"].to_dict() == {
        "OAF_back_angry": "angry", "OAF_back_ps": "surprise", "OAF_bar_angry": "angry",
        "OAF_bite_neutral": "neutral", "YAF_back_sad": "sad", "YAF_nice_sad": "sad",
    }  # fmt: skip
    assert by.loc["OAF_back_ps", "text"] == "Say the word back."
    assert by["audio"].str.count("TESS Toronto").eq(1).all()
    assert told(notes, "6 sounds are there twice") and told(notes, "(readme_voice.wav)")


@pytest.mark.parametrize("flat", [False, True])
def test_savee_by_folders_and_flat(tmp_path, flat):
    by, notes = read("savee", savee(tmp_path, flat))
    assert sorted(by.index)[:2] == ["DC_a01", "DC_d02"] and set(by["speaker"]) == {"DC", "KL"}
    assert by.loc["KL_sa06", "label"] == "sad" and by.loc["KL_su07", "label"] == "surprise"
    assert told(notes, "(calibration.wav)") and told(notes, "no text (encoders.text.model=none)")


def test_savee_of_films_alone_is_listed(tmp_path):
    put(tmp_path / "AudioVisualClip" / "DC" / "a01.avi", "film")
    by, notes = read("savee", tmp_path)
    assert by.loc["DC_a01", "audio"].endswith("a01.avi") and told(notes, "1 utterance has a film")
