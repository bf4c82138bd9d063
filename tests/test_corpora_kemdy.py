"""KEMDy19 and KEMDy20 as they are distributed: nothing silently lost, doubled or mislabelled."""

import math

import numpy as np
import pytest
from corpus_trees import HEAD20, kemdy19, kemdy20, put, raters, wav

from semi.cli import main
from semi.data.config import DataConfig
from semi.data.corpora import corpus_manifest
from semi.data.corpora.transcripts import strip_tags
from semi.data.manifest import load_manifest, write_manifest
from semi.data.splits import make_splits
from semi.errors import ManifestError


def rows(table):
    return {row["id"]: row for row in table.to_dict("records")}


def told(notes, words):
    return any(words in note for note in notes)


def test_kemdy20_reads_sheets_texts_and_sounds_and_says_what_it_left_out(tmp_path):
    table, notes = corpus_manifest("kemdy20", kemdy20(tmp_path))
    by = rows(table)
    assert len(table) == 6
    first = by["Sess01_script01_User001F_001"]
    assert first["label"] == "neutral" and first["votes"] == {"neutral": 9.0, "happy": 1.0}
    assert (first["valence"], first["arousal"]) == (3.1, 2.9)
    assert (first["speaker"], first["gender"]) == ("User001F", "f")
    assert (first["session"], first["dialogue"]) == ("Sess01", "Sess01_script01")
    assert first["text"] == "n/ o/ u/ l/"
    assert math.isnan(by["Sess01_script02_User002M_001"]["arousal"])
    assert by["Sess01_script01_User001F_002"]["audio"].endswith("User001F_002.WAV")
    assert by["Sess17_script01_User033F_001"]["label"] == "angry"
    assert "그래" in by["Sess01_script01_User001F_002"]["text"]  # CP949
    assert "그래" in by["Sess01_script01_User002M_001"]["text"]  # UTF-8
    assert told(notes, "1 utterance without a wav dropped (Sess01_script02_User002M_009)")
    assert told(notes, "1 sound without a rating left out")
    assert told(notes, "6 utterances of 4 speakers in 2 sessions")


def test_defect_000_disqust_and_disgust_are_one_class(tmp_path):
    by = rows(corpus_manifest("kemdy20", kemdy20(tmp_path))[0])
    row = by["Sess01_script01_User001F_002"]
    assert row["label"] == "disgust" and row["votes"] == {"disgust": 6.0, "neutral": 4.0}


def test_ties_in_any_order_are_one_label_and_the_manifest_decides(tmp_path):
    table, notes = corpus_manifest("kemdy20", kemdy20(tmp_path))
    assert sorted(table["label"])[2:4] == ["happy;neutral"] * 2
    assert told(notes, "2 labels are ties")
    write_manifest(table, tmp_path / "m.csv")
    dropped = load_manifest(tmp_path / "m.csv").table
    assert dropped["label"].isna().sum() == 2 and dropped["votes"].isna().sum() == 2
    voted = load_manifest(tmp_path / "m.csv", DataConfig(ties="votes"))
    tie = voted.table.set_index("id").loc["Sess01_script01_User002M_001"]
    assert tie["label"] is None and tie["votes"] == {"neutral": 5.0, "happy": 5.0}


def test_session_17_carries_a_wrong_prefix_and_is_still_found(tmp_path):
    table, notes = corpus_manifest("kemdy20", kemdy20(tmp_path))
    row = rows(table)["Sess17_script01_User034M_001"]
    assert row["label"] == "sad" and row["session"] == "Sess17" and row["text"]
    assert told(notes, "Sess17_eval.csv: 1 id carried another session's prefix")


def test_tags_are_kept_or_stripped(tmp_path):
    root = kemdy20(tmp_path)
    kept = rows(corpus_manifest("kemdy20", root)[0])
    stripped, notes = corpus_manifest("kemdy20", root, tags="strip")
    stripped = rows(stripped)
    name = "Sess01_script01_User002M_001"
    assert kept[name]["text"].startswith("b/ 아 (웃음) 그래+ 네.")
    assert stripped[name]["text"].startswith("아 그래 네.")
    assert stripped["Sess01_script01_User001F_001"]["text"] is None  # tags alone
    assert told(notes, "1 transcript of tags alone")


@pytest.mark.parametrize(
    "given, words",
    [
        ("b/ n/ o/ u/ l/ c/ s/", ""),
        ("c/아 그래서/ 네", "아 그래서/ 네"),
        ("(3개)/(세 개) 줘요", "3개 줘요"),
        ("TV/ 봐+ 봐요 N/", "TV/ 봐 봐요"),
        ("아무 표시 없음.", "아무 표시 없음."),
    ],
)
def test_only_marks_are_stripped(given, words):
    assert strip_tags(given) == words


def test_headers_may_drift_and_vanish(tmp_path):
    """Another column order, one header row, none at all: the same ratings."""
    name, cells = "Sess01_script01_User001F_001", raters("nnnnnnnnnh")
    wav(tmp_path / "a" / f"{name}.wav")
    variants = {
        "none": f"1,0,1,{name},neutral,3.1,2.9,{cells}\n",
        "single": HEAD20.split("\r\n")[0] + f"\n1,0,1,{name},neutral,3.1,2.9,{cells}\n",
        "order": "Total Evaluation,,,Segment ID,Eval01F,,\nValence,Arousal,Emotion,,Emotion,"
        f"Valence,Arousal\n3.1,2.9,neutral,{name},happy,4,4\n",
        "pandas": HEAD20.replace(", ,", ",Unnamed: 2,") + f"1,0,1,{name},neutral,3.1,2.9,{cells}",
    }
    for sheet in variants.values():
        put(tmp_path / "Sess01_eval.csv", sheet)
        row = corpus_manifest("kemdy20", tmp_path)[0].iloc[0]
        assert (row["label"], row["valence"], row["arousal"]) == ("neutral", 3.1, 2.9)
        assert row["votes"] in ({"neutral": 9.0, "happy": 1.0}, {"happy": 1.0})


def test_defect_001_5_every_kemdy19_utterance_stands_once_with_its_speakers_own_rating(tmp_path):
    table, notes = corpus_manifest("kemdy19", kemdy19(tmp_path))
    by = rows(table)
    assert len(table) == 5 == table["id"].nunique()
    row = by["Sess01_impro02_F001"]
    assert row["label"] == "happy" and row["valence"] == 4.5
    assert row["listener_label"] == "angry" and row["listener_valence"] == 2.0
    assert by["Sess01_script01_M001"]["label"] == "angry;sad"  # from M_res
    assert (row["speaker"], row["session"], row["gender"]) == ("Sess01F", "Sess01", "f")
    assert row["dialogue"] == "Sess01_impro02" and row["text"] == "c/ 안녕하세요 F001 s/"
    assert told(notes, "the same in 0 of 5 utterances")


def test_defect_001_3_disgust_is_one_label_and_not_all_of_them(tmp_path):
    table, _ = corpus_manifest("kemdy19", kemdy19(tmp_path))
    write_manifest(table, tmp_path / "m.csv")
    classes = ["angry", "disgust", "happy", "neutral", "sad"]
    manifest = load_manifest(tmp_path / "m.csv", DataConfig(ties="votes", classes=classes))
    row = manifest.table.set_index("id").loc["Sess01_script01_F001"]
    assert row["label"] == "disgust" and row["votes"] == {"disgust": 7.0, "neutral": 3.0}


def test_kemdy19_ratings_merged_or_of_the_listener(tmp_path):
    root = kemdy19(tmp_path)
    merged = rows(corpus_manifest("kemdy19", root, ratings="merged")[0])
    row = merged["Sess01_script01_F001"]
    assert row["votes"] == {"disgust": 7.0, "neutral": 13.0} and row["label"] == "neutral"
    assert row["valence"] == 2.5 and sum(row["votes"].values()) == 20
    listener, notes = corpus_manifest("kemdy19", root, ratings="listener")
    assert rows(listener)["Sess01_script01_F001"]["label"] == "neutral"
    assert told(notes, "the listener's state")


def test_a_row_of_session_3_gets_its_id_back(tmp_path):
    table, notes = corpus_manifest("kemdy19", kemdy19(tmp_path), ratings="merged")
    row = rows(table)["Sess03_impro02_F001"]
    assert row["votes"] == {"sad": 10.0, "neutral": 10.0}
    assert told(notes, "a row called Sess03_impro02_M001 is Sess03_impro02_F001")


def test_a_missing_sheet_leaves_its_speakers_unlabelled(tmp_path):
    root = kemdy19(tmp_path)
    (root / "KEMDy19" / "annotation" / "Session01_M_res.csv").unlink()
    table, notes = corpus_manifest("kemdy19", root)
    assert rows(table)["Sess01_script01_M001"]["label"] is None and len(table) == 5
    assert told(notes, "no sheet Session01_M_res.csv") and told(notes, "stay without a label")


def test_unknown_words_lose_the_label_with_a_note_and_never_the_row(tmp_path):
    """Defect 003-3: an unexpected spelling must not become NaN in silence."""
    name = "Sess01_script01_User001F_001"
    wav(tmp_path / f"{name}.wav")
    put(tmp_path / "Sess01_eval.csv", HEAD20 + f"1,0,1,{name},hapy,3,3,{raters('nnnnnnnnnn')}")
    table, notes = corpus_manifest("kemdy20", tmp_path)
    assert table["label"].tolist() == [None] and told(notes, "'hapy' in 1 place")


def test_wrong_folders_options_and_values_are_refused_by_sentence(tmp_path):
    with pytest.raises(ManifestError, match=r"no rating sheet such as annotation/Sess01_eval\.csv"):
        corpus_manifest("kemdy20", tmp_path)
    with pytest.raises(ManifestError, match=r"no rating sheet such as annotation/Session01_F_res"):
        corpus_manifest("kemdy19", tmp_path)
    with pytest.raises(ManifestError, match=r"no option 'tag'; did you mean 'tags'\?; its options"):
        corpus_manifest("kemdy20", tmp_path, tag="strip")
    with pytest.raises(ManifestError, match=r"ratings=merge: ratings is one of own, listener, "
                       r"merged; did you mean 'merged'\?"):  # fmt: skip
        corpus_manifest("kemdy19", tmp_path, ratings="merge")
    name = "Sess01_script01_User001F_001"
    put(tmp_path / "Sess01_eval.csv", HEAD20 + f"1,0,1,{name},sad,3,3,{raters('nnnnnnnnnn')}")
    with pytest.raises(ManifestError, match="1 rated utterance, but no sound of any of them"):
        corpus_manifest("kemdy20", tmp_path)
    put(tmp_path / "Sess01_eval.csv", HEAD20)
    with pytest.raises(ManifestError, match="no cell holds a segment id"):
        corpus_manifest("kemdy20", tmp_path)


def test_the_command_takes_options_anywhere_and_its_manifest_splits_by_session(tmp_path, capsys):
    root, out = kemdy20(tmp_path), tmp_path / "m.csv"
    assert main(["manifest", "kemdy20", str(root), "tags=strip", "-o", str(out), "votes=none"]) == 0
    assert "6 utterances" in capsys.readouterr().out
    manifest = load_manifest(out)
    assert manifest.table["votes"].isna().all()
    assert main(["manifest", "kemdy20", str(root), "strip", "-o", str(out)]) == 2
    assert "options of a corpus are written option=value" in capsys.readouterr().err
    config = DataConfig(group="session", test_groups=["Sess17"], classes=["disgust", "neutral"],
                        label_map={"angry": "disgust", "sad": "neutral"})  # fmt: skip
    splits = make_splits(load_manifest(out, config), config, folds=2, seed=0)
    held = np.array(load_manifest(out, config).table["session"] == "Sess17")
    assert (splits.role[held] == "test").all() and (splits.role[~held] != "test").all()
