"""What real trees also hold: other titles, other encodings, frames in single files, films."""

import numpy as np
import pytest
from corpus_trees import HEAD20, kemdy19, kemdy20, put, raters, wav

from models.encoders import ArrayConfig, build_array_encoder
from semi.data.config import DataConfig
from semi.data.corpora import corpus_manifest
from semi.data.corpora.files import decode_korean
from semi.data.manifest import load_manifest, write_manifest
from semi.data.splits import make_splits
from semi.errors import ManifestError

NAME = "Sess01_script01_User001F_001"


def told(notes, words):
    return any(words in note for note in notes)


@pytest.mark.parametrize("encoding", ["cp949", "utf-8", "utf-8-sig", "utf-16"])
def test_korean_of_any_length_and_encoding_is_korean(encoding):
    """Some CP949 words are also valid UTF-8 of two Latin letters."""
    for said in ("치킨", "커", "카카 텐", "네.", "아 그래 l/"):
        assert decode_korean(said.encode(encoding)).strip("\ufeff") == said


def test_plain_ascii_stays_as_it_is():
    assert decode_korean(b"n/ OK") == "n/ OK"


def test_raters_titled_by_their_own_names_still_vote(tmp_path):
    wav(tmp_path / "wav" / f"{NAME}.wav")
    head = HEAD20.replace("Eval", "Rater")
    put(tmp_path / "Sess01_eval.csv", head + f"1,0,1,{NAME},happy;neutral,3.1,2.9,"
        f"{raters('nnnnnhhhhh')}")  # fmt: skip
    row = corpus_manifest("kemdy20", tmp_path)[0].iloc[0]
    assert row["votes"] == {"neutral": 5.0, "happy": 5.0} and row["label"] == "happy;neutral"


def test_a_total_alone_has_no_votes(tmp_path):
    wav(tmp_path / f"{NAME}.wav")
    put(tmp_path / "Sess01_eval.csv", "Segment ID,Total Evaluation,,\n,Emotion,Valence,Arousal\n"
        f"{NAME},sad,2,2\n")  # fmt: skip
    row = corpus_manifest("kemdy20", tmp_path)[0].iloc[0]
    assert row["label"] == "sad" and row["votes"] is None


def test_sheets_of_unequal_length_go_by_their_ids_and_ecg_is_named(tmp_path):
    root = kemdy19(tmp_path) / "KEMDy19"
    sheet = root / "annotation" / "Session01_M_res.csv"
    lines = sheet.read_text(encoding="utf-8").splitlines()
    sheet.write_text("\n".join(lines[:-1]), encoding="utf-8")
    put(root / "ECG" / "Session01" / "Original" / "Sess01F.csv", "0.1,0.0,10:00:00\n")
    table, notes = corpus_manifest("kemdy19", tmp_path)
    assert told(notes, "Sess01: the two sheets have 3 and 2 rows; rows go by their ids")
    assert told(notes, "1 ECG recording named in column ecg")
    mine = table[table["speaker"] == "Sess01F"]
    assert mine["ecg"].notna().all() and mine["label"].notna().all()
    assert table.loc[table["speaker"] == "Sess01M", "ecg"].isna().all()


def video(root):
    put(root / "스크립트.csv", "번호,스크립트,감정\n1,오늘 왜 이래,분노\n2,너무 좋다,기쁨\n"
        "3,그냥 그래,Neutral\n", "cp949")  # fmt: skip
    for name in ("actor01_f_001", "actor01_f_002", "actor02_m_002"):
        wav(root / "audio" / f"{name}.wav", channels=2)
    wav(root / "audio" / "slate_999.wav")
    return root


def test_the_video_set_of_ai_hub_is_labelled_by_the_number_in_the_name(tmp_path):
    table, notes = corpus_manifest("aihub", video(tmp_path))
    by = table.set_index("id")
    assert by["label"].to_dict() == {
        "actor01_f_001": "angry", "actor01_f_002": "happy", "actor02_m_002": "happy"
    }  # fmt: skip
    assert by.loc["actor02_m_002", "text"] == "너무 좋다" and by.loc["actor01_f_001", "script"] == 1
    assert told(notes, "1 sound left out as ending in no number of a sentence (slate_999.wav)")
    assert told(notes, "1 sentence without a recording dropped")
    assert told(notes, "text gives the label away")
    write_manifest(table, tmp_path / "m.csv")
    assert len(load_manifest(tmp_path / "m.csv")) == 3
    kept, _ = corpus_manifest("aihub", tmp_path, missing="keep")
    assert kept["audio"].isna().sum() == 1


def test_films_without_sound_are_told_apart_from_an_empty_folder(tmp_path):
    put(tmp_path / "script.csv", "1,x,happy\n2,y,sad\n")
    put(tmp_path / "a_001.m2ts", "film")
    with pytest.raises(ManifestError, match="cut the sound out of 1 film first"):
        corpus_manifest("aihub", tmp_path)
    (tmp_path / "script.csv").unlink()
    with pytest.raises(ManifestError, match=r"no CSV with a column wav_id.*스크립트\.csv"):
        corpus_manifest("aihub", tmp_path)


def test_features_of_one_file_a_frame_are_stacked_in_the_order_of_their_numbers(tmp_path):
    root = tmp_path / "mer"
    put(root / "label-disdim.csv", "name,discrete\na,happy\nb,sad\n")
    put(root / "transcription-merge.csv", "name,chinese\na,好\n")
    put(root / "label-transcription.csv", "name,chinese\na,旧\nb,不\n")
    for k in (1, 2, 10):
        folder = root / "features" / "manet_FRA" / "a"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{k}.npy", np.full(3, float(k), dtype=np.float32))
    table, notes = corpus_manifest("mer2024", root)
    assert told(notes, "not read: the option frames=DIR") and "manet_FRA" not in table
    assert table.set_index("id")["text"].to_dict() == {"a": "好", "b": "不"}
    table, notes = corpus_manifest("mer2024", root, frames=str(tmp_path / "stacked"))
    assert told(notes, "stacked in")
    path = table.set_index("id").loc["a", "manet_FRA"]
    np.testing.assert_array_equal(np.load(path)[:, 0], [1, 2, 10])
    encoder = build_array_encoder(ArrayConfig(column="manet_FRA"), modality="v", root=str(tmp_path))
    assert encoder.encode([path]).shape == (1, 3)
    np.save(root / "features" / "manet_FRA" / "a" / "3.npy", np.zeros(4))
    with pytest.raises(ManifestError, match="frames cannot be stacked"):
        corpus_manifest("mer2024", root, frames=str(tmp_path / "stacked"))


def test_sessions_of_two_corpora_are_never_taken_for_one(tmp_path):
    write_manifest(corpus_manifest("kemdy20", kemdy20(tmp_path))[0], tmp_path / "a.csv")
    both, notes = corpus_manifest("kemdy19", kemdy19(tmp_path), add=str(tmp_path / "a.csv"))
    assert told(notes, "sessions and dialogues of kemdy19 are called kemdy19/..., both")
    by = both.groupby("session")["source"].nunique()
    assert (by == 1).all() and {"Sess01", "kemdy19/Sess01"} <= set(by.index)
    speakers = both.groupby("speaker")["source"].nunique()
    assert (speakers == 1).all() and "Sess01F" in speakers.index  # no clash: left as it is
    write_manifest(both, tmp_path / "both.csv")
    config = DataConfig(group="session", allow_leaks=["text"], ties="votes")
    splits = make_splits(load_manifest(tmp_path / "both.csv", config), config, folds=2, seed=0)
    held = set(splits.group[splits.role == "test"])
    assert held and not held & set(splits.group[splits.role == "labeled"])


def test_a_class_of_a_few_votes_is_no_class_without_rows(tmp_path):
    """'surprise' with one vote in a tied row: nobody's label, so nothing to learn or to refuse."""
    rows = [("happy;neutral", "nnnnhhhhua"), ("neutral", "nnnnnnnnnu"), ("happy", "hhhhhhhhhu"),
            ("sad;happy", "sssshhhhuu")] * 3  # fmt: skip
    lines = []
    for k, (label, votes) in enumerate(rows):
        name = f"Sess01_script01_User00{k % 4}F_{k:03d}"
        wav(tmp_path / f"{name}.wav", seed=k)
        lines.append(f"{k},0,1,{name},{label},3,3,{raters(votes)}")
    put(tmp_path / "Sess01_eval.csv", HEAD20 + "\n".join(lines))
    write_manifest(corpus_manifest("kemdy20", tmp_path)[0], tmp_path / "m.csv")
    manifest = load_manifest(tmp_path / "m.csv", DataConfig(ties="votes"))
    assert manifest.classes == ["happy", "neutral", "sad"]  # sad is known from ties alone


def test_a_transcript_of_no_known_encoding_is_told(tmp_path):
    wav(tmp_path / f"{NAME}.wav")
    put(tmp_path / "Sess01_eval.csv", HEAD20 + f"1,0,1,{NAME},sad,2,2,{raters('ssssssssss')}")
    (tmp_path / f"{NAME}.txt").write_bytes(b"\xb3\xd7 \xff\xff")
    _, notes = corpus_manifest("kemdy20", tmp_path)
    assert told(notes, "1 transcript holds bytes that are neither UTF-8 nor CP949")
