"""What is understood of a table, and what is said of it: columns, labels, times, ids, letters."""

import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from semi.config.schema import load_config
from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.data.wording import setting, shown
from semi.errors import ManifestError
from semi.training.rows import read_rows

ROOT = Path(__file__).resolve().parents[1]


def put(folder, content, name="m.csv"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error_of(path, config=None, **words):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, config, **words)
    return str(caught.value)


def pasted(message, key="data.columns"):
    """Returns the first setting that a message tells one to paste, as the shell and we read it."""
    start = message.index(f"'{key}=")
    word = shlex.split(message[start : message.index("}'", start) + 2])[0]
    return load_config(None, [word, "data.manifest=m.csv"]).data


# --- columns --------------------------------------------------------------------------------------


def test_the_block_says_what_was_read_renamed_carried_and_counted(tmp_path):
    rows = "".join(f"u{i},t {i},{['joy', 'NA', ''][i % 3]},pos,s{i % 2}\n" for i in range(9))
    path = put(tmp_path, "utt_id,transcript,emotion,sentiment,agent\n" + rows)
    reading = load_manifest(path).reading
    assert str(reading) == (
        f"read {path} (comma, utf-8): 9 of 9 rows\n"
        "  columns: utt_id -> id, transcript -> text, emotion -> label; carried along: sentiment, "
        "agent\n"
        "  label <- emotion (also there: sentiment; choose with "
        "'data.columns={label: sentiment}')\n"
        "  labels: joy 3\n"
        "  unlabelled: 6 rows (NA 3, empty 3)"
    )
    assert str(load_manifest(path, gold=False).reading).splitlines()[1:] == [
        "  columns: utt_id -> id, transcript -> text; carried along: sentiment, agent; "
        "ignored: emotion"
    ]


def test_columns_of_equal_right_are_not_chosen_between_and_the_remedy_works(tmp_path):
    head = "name,text,category,sentiment\n"
    path = put(tmp_path, head + "a,x,billing,Angry\nb,y,sales,Happy\n")
    message = error_of(path)
    assert (
        "2 columns could be the label, 'category' (billing, sales) and 'sentiment' (Angry"
        in message
    )
    for word, first in (("category", "billing"), ("sentiment", "Angry")):
        told = message[message.index(f"'data.columns={{label: {word}}}'") :]
        table = load_manifest(path, pasted(told)).table
        assert table["label"].tolist()[0] == first
    assert load_manifest(path, gold=False).table["id"].tolist() == ["a", "b"]


def test_data_columns_wins_over_names_and_a_wrong_one_lists_what_is_there(tmp_path):
    path = put(tmp_path, "id,text,label,Gefühl\na,x,u,froh\nb,y,v,traurig\n")
    manifest = load_manifest(path, DataConfig(columns={"label": "gefühl"}))
    assert manifest.classes == ["froh", "traurig"]
    assert manifest.table["label_in_file"].tolist() == ["u", "v"]
    message = error_of(path, DataConfig(columns={"label": "Gefuhl"}))
    assert (
        "no column 'Gefuhl', which data.columns names as label; did you mean 'Gefühl'?" in message
    )
    assert "its columns are 'id', 'text', 'label', 'Gefühl'" in message
    none = load_manifest(path, DataConfig(columns={"label": ""}))
    assert none.table["label"].tolist() == [None, None]
    with pytest.raises(ValueError, match=r"columns may name id, audio, .*, got 'labels'"):
        DataConfig(columns={"labels": "x"})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("x,y\n1,2\n", "none of its columns is known; it has 2 columns: 'x', 'y'. Say what they"),
        ("recording,mood_x\na.wav,b\n", "'data.columns={audio: recording}'"),
        ("a/1.wav,Angry\na/2.wav,Sad\n", "the first line looks like a row, not like names"),
        ("a/1.wav,Angry\na/2.wav,Sad\n", "write a first line above it, such as audio,label"),
        ("0.5,1.5\n2,3\n", "(it has 2 columns: '0.5', '1.5')"),
        ("id audio label\na a.wav joy\n", "blanks seem to stand between its columns (id, audio"),
    ],
)
def test_tables_of_unknown_columns_say_what_was_found(tmp_path, content, told):
    assert told in error_of(put(tmp_path, content))
    assert told in error_of(put(tmp_path, content), gold=False)


def test_a_table_delimited_by_bars_is_read(tmp_path):
    manifest = load_manifest(put(tmp_path, "id|text|label\na|one, two|joy\nb|x|sad\n", "m.txt"))
    assert manifest.table["text"].tolist() == ["one, two", "x"]
    assert manifest.reading.kind == "bar, utf-8"


def test_an_error_after_reading_still_carries_what_was_understood(tmp_path):
    path = put(tmp_path, "id,text,valence,arousal\n" + "a,x,1,2\nb,y,3,4\n" * 1)
    config = load_config(None, [f"data.manifest={path}", "encoders.speech.model=none"])
    with pytest.raises(ManifestError, match="no labelled row is left") as caught:
        read_rows(config)
    assert "no row has a label, but 2 have valence or arousal: add task.kind=affect" in str(
        caught.value.reading
    )


def test_where_no_column_is_the_sound_the_others_are_named(tmp_path):
    path = put(tmp_path, "id,text,label,recording_x\na,x,joy,a.wav\nb,y,sad,b.wav\n")
    config = load_config(None, [f"data.manifest={path}"])
    with pytest.raises(ManifestError, match=r"as in 'data.columns=.audio: recording_x.' \(there"):
        read_rows(config)


# --- labels ---------------------------------------------------------------------------------------

MISSING = [
    "NA",
    "#N/A",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "null",
    "NULL",
    "None",
    "<NA>",
    "-nan",
    "",
    " ",
]


@pytest.mark.parametrize("word", MISSING)
def test_every_spelling_of_missing_is_missing_in_every_column(tmp_path, word):
    put(tmp_path, b"x", "a.wav")
    head = "id,audio,label,speaker,session,dialogue,split,valence,start,votes\n"
    cells = ",".join([word] * 8)
    rows = f"a,a.wav,{cells}\nb,a.wav,joy{',' * 7}\n"
    table = load_manifest(put(tmp_path, head + rows)).table
    first = table.iloc[0]
    for name in ("label", "speaker", "session", "dialogue", "split", "votes"):
        assert first[name] is None, name
    assert np.isnan(first["valence"]) and np.isnan(first["start"])


def test_a_spelling_of_missing_that_the_settings_name_is_a_label(tmp_path):
    path = put(tmp_path, "id,text,label\na,x,None\nb,y,joy\nc,z,NA\n")
    named = load_manifest(path, DataConfig(classes=["None", "joy"]))
    assert named.table["label"].tolist() == ["None", "joy", None]
    mapped = load_manifest(path, DataConfig(label_map={"NA": "neutral"}))
    assert mapped.table["label"].tolist() == [None, "joy", "neutral"]


@pytest.mark.parametrize("word", ["unlabeled", "Unlabelled", "?", "no label", "TBD", "-", "-1"])
def test_labels_that_say_no_label_are_refused_and_both_remedies_work(tmp_path, word):
    path = put(tmp_path, f"id,text,label\na,x,joy\nb,y,{word}\nc,z,sad\nd,z,{word}\n")
    message = error_of(path)
    assert f"m.csv row 3, label '{word}': reads like 'no label' (2 rows); " in message
    dropped = load_manifest(path, pasted(message, "data.label_map"))
    assert dropped.classes == ["joy", "sad"]
    assert dropped.table["label"].tolist() == ["joy", None, "sad", None]
    assert dropped.reading.unlabelled == {word: 2}
    kept = message[message.index("; 'data.label_map", message.index("unlabelled")) :]
    assert word in load_manifest(path, pasted(kept, "data.label_map")).classes


@pytest.mark.parametrize("word", ["unknown", "xxx", "none", "Undefined"])
def test_labels_that_may_say_no_label_are_noted_with_the_remedy(tmp_path, word):
    path = put(tmp_path, f"id,text,label\na,x,joy\nb,y,{word}\nc,z,sad\n")
    manifest = load_manifest(path)
    assert word in manifest.classes
    note = next(n for n in manifest.notes if "counts as a class; if it says 'no label'" in n)
    assert load_manifest(path, pasted(note, "data.label_map")).classes == ["joy", "sad"]


@pytest.mark.parametrize(
    "labels", [["-1", "0", "1"], ["-1", "1"], ["1", "2", "3"], ["-2", "-1", "0", "1"]]
)
def test_numbers_that_are_classes_pass_without_a_word(tmp_path, labels):
    rows = "".join(f"u{i},t,{label}\n" for i, label in enumerate(labels * 5))
    manifest = load_manifest(put(tmp_path, "id,text,label\n" + rows))
    assert manifest.classes == sorted(labels) and not manifest.notes


def test_decimal_labels_and_a_label_a_row_are_noted(tmp_path):
    rows = "".join(f"u{i},t,{i / 7:.3f}\n" for i in range(1, 30))
    note = load_manifest(put(tmp_path, "id,text,label\n" + rows)).notes[0]
    assert "labels are decimal numbers" in note
    table = load_manifest(tmp_path / "m.csv", pasted(note)).table
    assert np.isfinite(table["valence"].tolist()).all()
    assert set(table["label"].tolist()) == {None}
    rows = "".join(f"u{i},t,word{i}\n" for i in range(30))
    assert "30 labels on 30 rows" in load_manifest(put(tmp_path, "id,text,label\n" + rows)).notes[0]


# --- letters --------------------------------------------------------------------------------------


def test_one_word_in_two_unicode_forms_is_one_label_id_speaker_and_class(tmp_path):
    words = ["분노", "기쁨", "colère"]
    rows = [
        f"u{i},t,{unicodedata.normalize(('NFC', 'NFD')[i % 2], words[i // 2])},"
        f"{unicodedata.normalize(('NFC', 'NFD')[i % 2], 'José')},train"
        for i in range(6)
    ]
    path = put(tmp_path, "id,text,label,speaker,split\n" + "\n".join(rows) + "\n")
    manifest = load_manifest(path)
    assert manifest.classes == sorted(words) and set(manifest.table["speaker"]) == {"José"}
    config = DataConfig(classes=[unicodedata.normalize("NFD", w) for w in words])
    assert load_manifest(path, config).classes == words
    config = DataConfig(label_map={unicodedata.normalize("NFD", "분노"): "anger"})
    assert "anger" in load_manifest(path, config).classes
    twice = "id,text\nÉ,x\n" + unicodedata.normalize("NFD", "É,y\n")
    assert "the id is already used in row 2" in error_of(put(tmp_path, twice))


def test_variants_of_case_width_and_blanks_are_named(tmp_path):
    labels = ["happy", "Happy", "ｓａｄ", "sad", "no way", "no_way"]
    rows = "".join(f"u{i},t,{label},{'AaBbCD'[i]}\n" for i, label in enumerate(labels))
    notes = load_manifest(put(tmp_path, "id,text,label,speaker\n" + rows)).notes
    told = " ".join(notes)
    for pair in (
        "'Happy' and 'happy'",
        "'sad' and 'ｓａｄ'",
        "'no way' and 'no_way'",
        "'A' and 'a'",
    ):
        assert pair in told, pair
    fixed = load_manifest(tmp_path / "m.csv", pasted(notes[0], "data.label_map"))
    assert len(fixed.classes) == 5


# --- times and ids --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("90.5", 90.5),
        ("1:30.5", 90.5),
        ("0:01:30.5", 90.5),
        ("00:01:30,500", 90.5),
        ("0 days 00:01:30.500000", 90.5),
        ("90500ms", 90.5),
        ("90.5s", 90.5),
        ("PT1M30.5S", 90.5),
        ("P0DT0H1M30.5S", 90.5),
        ("NaT", np.nan),
    ],
)
def test_times_are_read_in_every_common_spelling(tmp_path, cell, seconds):
    put(tmp_path, b"x", "a.wav")
    path = put(tmp_path, f"id;audio;end\na;a.wav;{cell}\nb;a.wav;120\n".replace(";", "\t"), "m.tsv")
    ends = load_manifest(path).table["end"].tolist()
    assert ends == pytest.approx([seconds, 120.0], nan_ok=True)
    message = error_of(put(tmp_path, "id,text,start\na,x,soon\nb,y,-1\n"))
    assert "row 2, start 'soon': not a time; write seconds such as 3.5, a time such as" in message
    assert "row 3, start '-1.0': a time before 0" in message


def test_milliseconds_are_noticed_and_the_remedy_reads_them(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 160_000), 16_000)
    rows = "".join(f"u{i},a.wav,{i * 1000},{i * 1000 + 900}\n" for i in range(9))
    for head in ("start,end", "begin,end_time"):
        path = put(tmp_path, f"id,audio,{head}\n{rows}")
        message = error_of(path)
        assert "half of the segments are longer than 900 s" in message
        table = load_manifest(path, pasted(message)).table
        assert table["start"].tolist()[3] == 3.0 and table["end"].tolist()[3] == 3.9
    table = load_manifest(put(tmp_path, f"id,audio,start_ms,end_ms\n{rows}")).table
    assert table["end"].tolist()[0] == 0.9
    samples = "".join(f"u{i},a.wav,0,{9_000_000 + i}\n" for i in range(9))
    assert "write seconds from the beginning" in error_of(
        put(tmp_path, f"id,audio,start,end\n{samples}")
    )


def test_ids_from_stems_that_collide_are_paths_and_segments_have_their_times(tmp_path):
    for name in ("a/1.flac", "b/1.flac", "b/2.flac"):
        put(tmp_path, b"x", name)
    path = put(tmp_path, "path,label\na/1.flac,x\nb/1.flac,y\n./b/2.flac,y\n")
    assert load_manifest(path).table["id"].tolist() == ["a/1", "b/1", "b/2"]
    path = put(tmp_path, "path,start,end\na/1.flac,0,1.5\na/1.flac,1.5,\n")
    assert load_manifest(path).table["id"].tolist() == ["1_0-1.5", "1_1.5"]
    path = put(tmp_path, "path\na/1.flac\nb/2.flac\n")
    assert load_manifest(path).table["id"].tolist() == ["1", "2"]


# --- words ----------------------------------------------------------------------------------------


def test_no_message_prints_more_than_200_characters_of_a_cell(tmp_path):
    long = "x" * 5000
    frame = pd.DataFrame(
        {
            "id": ["a", "a", long, long],
            "audio": [{"bytes": b"z" * 5000}, long, long + ".wav", None],
            "text": ["t", None, None, None],
            "label": [long, "joy", long + "y", "?"],
            "split": [long, "train", "test", "dev"],
            "valence": [long] * 4,
            "start": [long] * 4,
            "votes": [long + "|"] * 4,
            "speaker": [long, long.upper(), "s", "s"],
            long: ["1", "2", "3", "4"],
        }
    ).astype(object)
    frame["audio"] = [str(v) if v is not None else None for v in frame["audio"]]
    for name in ("m.parquet", "m.jsonl", "m.csv"):
        path = tmp_path / name
        if name == "m.csv":
            frame.to_csv(path, index=False)
        elif name == "m.jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_parquet(path)
        for config in (DataConfig(), DataConfig(classes=["joy", "long" * 500])):
            with pytest.raises(ManifestError) as caught:
                load_manifest(path, config)
            for text in (str(caught.value), str(caught.value.reading)):
                for letter in ("x", "z", "X"):
                    assert letter * 201 not in text


@pytest.mark.parametrize(
    "label", ["it's", 'a "b"', "$HOME", "`ls`", "a: b", "{x}", "#1", "yes", "é ü"]
)
def test_settings_to_paste_survive_the_shell(label):
    word = setting("data.label_map", {label: "other one"})
    echo = [sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.argv[1].encode())"]
    done = subprocess.run(f"{shlex.join(echo)} {word}", shell=True, capture_output=True, text=True)
    assert load_config(None, [done.stdout, "data.manifest=m.csv"]).data.label_map == {
        label: "other one"
    }


def test_a_cell_is_shown_on_one_line_and_cut():
    assert shown("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert len(shown("y" * 500)) == 80 and shown("한글 é") == "한글 é"
