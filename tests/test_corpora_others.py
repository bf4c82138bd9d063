"""MELD, IEMOCAP, RAVDESS and AI Hub as they are distributed."""

from pathlib import Path

import pytest
from corpus_trees import kemdy19, kemdy20, put, wav

from semi.data.config import DataConfig
from semi.data.corpora import corpus_manifest
from semi.data.manifest import load_manifest, write_manifest
from semi.data.splits import make_splits
from semi.errors import ManifestError

MELD = Path(__file__).resolve().parents[2] / "shared" / "data" / "meld_text"
HEAD_MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode"
HEAD_AIHUB = (
    "wav_id,발화문,상황,1번 감정,1번 감정세기,2번 감정,2번 감정세기,3번 감정,3번 감정세기,4번 감정,"
    "4번감정세기,5번 감정,5번 감정세기,나이,성별"
)


def rows(table):
    return {row["id"]: row for row in table.to_dict("records")}


def told(notes, words):
    return any(words in note for note in notes)


def meld(root):
    for split, folder in (
        ("train", "train_splits"),
        ("dev", "dev_splits_complete"),
        ("test", "output_repeated_splits_test"),
    ):
        lines = [
            f'1,"Oh, it\u0092s {split}.",Monica,joy,positive,0,0,4,7',
            "2,What?,Chandler,Surprise,negative,0,1,4,7",
            "3,Hi.,Monica,neutral,neutral,1,0,4,8",
        ]
        put(root / f"{split}_sent_emo.csv", "\n".join([HEAD_MELD, *lines]))
        wav(root / "MELD.Raw" / folder / "dia0_utt0.wav")
        wav(root / "MELD.Raw" / folder / "dia1_utt0.wav")
    return root


def test_meld_keeps_the_official_split_although_ids_repeat_in_it(tmp_path):
    table, notes = corpus_manifest("meld", meld(tmp_path))
    by = rows(table)
    assert len(by) == 9 and table["split"].value_counts().to_dict() == dict.fromkeys(
        ("train", "dev", "test"), 3
    )
    row = by["dev_dia0_utt0"]
    assert row["text"] == "Oh, it’s dev." and row["label"] == "joy"
    assert "dev_splits_complete" in row["audio"]
    assert by["train_dia0_utt1"]["label"] == "surprise" and by["train_dia0_utt1"]["audio"] is None
    assert by["train_dia0_utt0"]["dialogue"] != by["test_dia0_utt0"]["dialogue"]
    assert told(notes, "3 utterances without sound kept for the text alone")
    dropped, _ = corpus_manifest("meld", tmp_path, missing="drop")
    assert len(dropped) == 6
    write_manifest(table, tmp_path / "m.csv")
    config = DataConfig(group="dialogue", allow_leaks=["speaker", "text"])
    splits = make_splits(load_manifest(tmp_path / "m.csv", config), config, folds=2, seed=0)
    assert sorted(set(splits.role)) == ["dev", "labeled", "test"]


@pytest.mark.skipif(not MELD.is_dir(), reason="the transcripts of MELD are not here")
def test_the_real_sentences_of_meld(tmp_path):
    table, notes = corpus_manifest("meld", MELD)
    assert table["split"].value_counts().to_dict() == {"train": 9989, "dev": 1109, "test": 2610}
    assert table["label"].notna().all() and table["label"].nunique() == 7
    assert told(notes, "no sound beneath the folder")
    write_manifest(table, tmp_path / "m.csv")
    assert len(load_manifest(tmp_path / "m.csv")) == 13_708


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Anger;\t()
C-E4:\tNeutral;\t()
C-F1:\tAnger;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\txxx\t[2.5000, 3.0000, 2.5000]
C-E2:\tFrustration;\t()
C-E3:\tAnger;\t()

[14.8872 - 18.0175]\tSes01F_impro01_F001\texc\t[4.0000, 4.0000, 3.0000]
C-E2:\tExcited;\t(very)

[20.0 - 21.0]\tSes01F_impro01_M001\tfru\t[2.0, 3.0, 3.0]
[22.0 - 23.0]\tSes01F_impro01_M009\thap\t[4.0, 3.0, 3.0]
"""


def iemocap(root):
    session = root / "IEMOCAP_full_release" / "Session1"
    put(session / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt", EVALUATION)
    put(session / "dialog" / "EmoEvaluation" / "._Ses01F_impro01.txt", "x")
    put(session / "dialog" / "EmoEvaluation" / "Categorical" / "Ses01F_impro01_e2_cat.txt", "x")
    spoken = "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\nM: [BREATHING]\n"
    spoken += "Ses01F_impro01_M000: Do you have your forms?\n"
    put(session / "dialog" / "transcriptions" / "Ses01F_impro01.txt", spoken)
    for name in ("F000", "M000", "F001", "M001"):
        wav(session / "sentences" / "wav" / "Ses01F_impro01" / f"Ses01F_impro01_{name}.wav")
    return root


def test_iemocap_reads_labels_raters_dimensions_and_words(tmp_path):
    table, notes = corpus_manifest("iemocap", iemocap(tmp_path))
    by = rows(table)
    row = by["Ses01F_impro01_F000"]
    assert row["label"] == "neutral" and row["text"] == "Excuse me."
    assert row["votes"] == {"neutral": 2.5, "angry": 0.5}  # the actor's own C-F1 does not count
    assert (row["valence"], row["arousal"], row["speaker"]) == (2.5, 2.5, "Ses01F")
    assert (row["session"], row["dialogue"], row["gender"]) == ("Ses01", "Ses01F_impro01", "f")
    assert by["Ses01F_impro01_M000"]["label"] == "angry;frustrated"  # xxx
    assert by["Ses01F_impro01_M000"]["text"] == "Do you have your forms?"
    assert by["Ses01F_impro01_F001"]["label"] == "excited"
    assert told(notes, "1 utterance without a wav dropped (Ses01F_impro01_M009)")
    four, notes = corpus_manifest("iemocap", tmp_path, classes="4")
    assert rows(four)["Ses01F_impro01_F001"]["label"] == "happy"
    assert "Ses01F_impro01_M001" not in rows(four) and told(notes, "classes=4 drops")
    with pytest.raises(ManifestError, match="classes is one of all, 4, 6"):
        corpus_manifest("iemocap", tmp_path, classes="5")


def test_ravdess_is_read_from_its_names_each_once(tmp_path):
    for folder in ("Actor_01", "audio_speech_actors_01-24/Actor_01"):  # the usual double copy
        wav(tmp_path / folder / "03-01-06-02-02-01-01.wav")
    wav(tmp_path / "Actor_12" / "03-02-03-01-01-01-12.wav")  # song
    wav(tmp_path / "Actor_12" / "notes.wav")
    table, notes = corpus_manifest("ravdess", tmp_path)
    row = table.iloc[0]
    assert len(table) == 1 and row["label"] == "fearful" and row["speaker"] == "actor01"
    assert row["text"].startswith("Dogs") and (row["gender"], row["intensity"]) == ("m", "strong")
    assert told(notes, "1 sound of the other channel") and told(notes, "1 sound does not follow")
    both, _ = corpus_manifest("ravdess", tmp_path, channel="all")
    assert sorted(both["gender"]) == ["f", "m"]


def test_a_take_of_ravdess_that_is_sound_and_film_counts_once(tmp_path):
    wav(tmp_path / "Actor_01" / "01-01-06-01-02-01-01.wav")  # cut out of the film
    wav(tmp_path / "Actor_01" / "03-01-06-01-02-01-01.wav")
    wav(tmp_path / "Actor_01" / "sub_03-01-05-01-02-01-01.wav")
    put(tmp_path / "Video" / "01-01-05-01-02-01-01.mp4", "film")
    put(tmp_path / "Video" / "01-01-03-01-02-01-01.mp4", "film")  # no sound of its own
    put(tmp_path / "Video" / "02-01-03-01-02-01-01.mp4", "mute film")
    table, notes = corpus_manifest("ravdess", tmp_path)
    assert table["id"].tolist() == [
        "01-01-03-01-02-01-01", "03-01-06-01-02-01-01", "sub_03-01-05-01-02-01-01"
    ]  # fmt: skip
    assert told(notes, "2 takes are there as sound (03-...) and as the film's sound (01-...)")
    assert told(notes, "1 film without sound (02-...) left out")


def aihub(root):
    lines = [
        "5e2588,오늘 정말, Sadness ,Sadness,2,sad,1,NEUTRAL,0,Neutral,1,Sadness,0,30,female",
        "5e2599,안녕,happiness,Happiness,1,Neutral,1,angry,0,fear,0,disgust,0,27,남",
        "5e2588,다시,Angry,Angry,1,Angry,1,Angry,1,Angry,1,Angry,1,30,female",
        "5e0000,소리 없음,fear,Fear,1,Fear,1,Fear,1,Fear,1,Fear,1,30,male",
    ]
    put(root / "5차년도_2차.csv", "\r\n".join([HEAD_AIHUB, *lines]), "cp949")
    put(root / "readme.csv", "a,b\n1,2\n")
    wav(root / "5차년도_2차" / "5e2588.wav")
    wav(root / "5차년도_2차" / "5e2599.WAV")
    return root


def test_aihub_reads_mixed_case_labels_and_the_strengths_of_the_raters(tmp_path):
    """Defect 003-3: no label may become NaN because of its spelling."""
    table, notes = corpus_manifest("aihub", aihub(tmp_path))
    by = rows(table)
    assert len(table) == 2 and table["label"].tolist() == ["sad", "happy"]
    assert by["5e2588"]["votes"] == {"sad": 6.0, "neutral": 3.0}  # strength + 1 of each rater
    assert (by["5e2588"]["gender"], by["5e2599"]["gender"]) == ("f", "m")
    assert by["5e2588"]["text"] == "오늘 정말" and by["5e2588"]["age"] == "30"
    assert told(notes, "1 row left out as repeating a wav_id")
    assert told(notes, "1 utterance without a wav")
    raters, _ = corpus_manifest("aihub", tmp_path, label="raters")
    assert raters["label"].tolist() == ["sad", "happy;neutral"]
    with pytest.raises(ManifestError, match="no CSV with a column wav_id"):
        corpus_manifest("aihub", tmp_path / "5차년도_2차")


def test_two_corpora_become_one_table_with_one_spelling(tmp_path):
    first, _ = corpus_manifest("kemdy20", kemdy20(tmp_path / "k"))
    write_manifest(first, tmp_path / "k" / "kemdy20.csv")  # its audio is relative to that folder
    folder = aihub(tmp_path / "a")
    add = str(tmp_path / "k" / "kemdy20.csv")
    both, notes = corpus_manifest("aihub", folder, add=add)
    assert len(both) == 8 and told(notes, "6 rows of kemdy20.csv first")
    write_manifest(both, tmp_path / "both.csv")
    config = DataConfig(ties="votes")
    manifest = load_manifest(tmp_path / "both.csv", config)
    table = manifest.table.set_index("id")
    assert set(manifest.classes) == {"angry", "disgust", "happy", "neutral", "sad"}
    assert table["source"].value_counts().to_dict() == {"kemdy20": 6, "aihub": 2}
    assert table.loc["5e2588", "votes"] == {"sad": 6.0, "neutral": 3.0}
    tie = table.loc["Sess01_script01_User002M_001"]
    assert tie["votes"] == {"neutral": 5.0, "happy": 5.0} and tie["valence"] == 3.5
    with pytest.raises(ManifestError, match="6 ids are in both"):
        corpus_manifest("kemdy20", tmp_path / "k", add=add)
    with pytest.raises(ManifestError, match=r"gone\.csv: no such manifest"):
        corpus_manifest("aihub", folder, add="gone.csv")


@pytest.mark.parametrize("name", ["meld", "iemocap", "ravdess", "mer2024", "aihub", "kemdy19"])
def test_an_empty_folder_is_refused_by_a_sentence_that_names_a_file(tmp_path, name):
    with pytest.raises(ManifestError, match=r"beneath it"):
        corpus_manifest(name, tmp_path)


def test_films_of_meld_say_what_hears_them(tmp_path):
    meld(tmp_path)
    put(tmp_path / "MELD.Raw" / "train_splits" / "dia0_utt1.mp4", "film")
    table, notes = corpus_manifest("meld", tmp_path)
    assert table["audio"].dropna().str.endswith(".mp4").sum() == 1
    assert told(notes, "1 utterance has a film and no sound file; the film's sound is used")


@pytest.mark.parametrize("name", ["meld", "iemocap", "aihub", "kemdy19", "kemdy20"])
def test_every_reader_accounts_for_its_folder(tmp_path, name):
    make = {"meld": meld, "iemocap": iemocap, "aihub": aihub, "kemdy19": kemdy19,
            "kemdy20": kemdy20}[name]  # fmt: skip
    make(tmp_path)
    put(tmp_path / "faces" / "a.jpg", "a picture")
    put(tmp_path / ".DS_Store", "hidden")
    table, notes = corpus_manifest(name, tmp_path)
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.name[0] != "."]
    read = int(next(n for n in notes if n.startswith("read ")).split()[1])
    assert table["audio"].nunique() <= read < len(files)
    assert told(notes, f"read {read} of {len(files)} files beneath {tmp_path}")
    assert told(notes, "roles: ") and told(notes, ".jpg 1") and told(notes, "labels")
