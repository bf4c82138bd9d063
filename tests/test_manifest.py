"""Manifests: every encoding and kind of table loads alike, every problem is listed at once."""

import json
import time

import numpy as np
import pandas as pd
import pytest

from semi.data.config import DataConfig
from semi.data.manifest import COLUMNS, load_manifest, write_manifest
from semi.errors import ManifestError

TEXT = "id,text,label\na,안녕하세요,기쁨\nb,괜찮아요,슬픔\n"


def put(folder, content, name="m.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error_of(path, config=None):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, config)
    return str(caught.value)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be"]
)
def test_every_encoding_gives_the_same_table(tmp_path, encoding):
    manifest = load_manifest(put(tmp_path, TEXT.encode(encoding)))
    assert manifest.table["text"].tolist() == ["안녕하세요", "괜찮아요"]
    assert manifest.table["id"].tolist() == ["a", "b"]
    assert manifest.classes == ["기쁨", "슬픔"]


def test_western_european_text_is_read_as_such_and_said_so(tmp_path):
    manifest = load_manifest(put(tmp_path, "id;text\na;Ärger für dich, schön\n".encode("cp1252")))
    assert manifest.table["text"].tolist() == ["Ärger für dich, schön"]
    assert "Windows-1252" in manifest.notes[0]


def test_undecodable_bytes_are_refused_with_the_remedy(tmp_path):
    assert "save the file as UTF-8" in error_of(put(tmp_path, b"id,text\na,\xff\xff\x81\xfe\xff\n"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    lines = [["id", "text", "valence"], ["a", "x y", "3.5"]]
    path = put(tmp_path, "\n".join(delimiter.join(line) for line in lines))
    assert load_manifest(path).table["valence"].tolist() == [3.5]


def test_semicolon_tables_may_write_decimal_commas(tmp_path):
    path = put(tmp_path, "id;text;valence\na;eins, zwei;3,5\n")
    assert load_manifest(path).table["valence"].tolist() == [3.5]


def test_parquet_jsonl_and_csv_agree(tmp_path):
    rows = {"id": ["1", "2"], "text": ["x", None], "label": ["0", "1"], "speaker": ["03", "4"]}
    rows["audio"] = [None, str(put(tmp_path, b"x", "a.wav"))]
    frame = pd.DataFrame(rows)
    tables = []
    for name in ("m.csv", "m.parquet", "m.jsonl", "m.tsv"):
        write_manifest(frame, tmp_path / name)
        tables.append(load_manifest(tmp_path / name).table)
    for other in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], other)
    assert tables[0]["speaker"].tolist() == ["03", "4"]
    assert tables[0]["audio"].tolist() == [None, str(tmp_path / "a.wav")]


def test_numbers_in_jsonl_and_parquet_become_the_text_a_person_would_write(tmp_path):
    frame = pd.DataFrame({"id": [1, 2, 3], "text": ["x", "y", "z"], "label": [0.0, 1.0, np.nan]})
    frame.to_parquet(tmp_path / "m.parquet")
    table = load_manifest(tmp_path / "m.parquet").table
    assert table["id"].tolist() == ["1", "2", "3"]
    assert table["label"].tolist() == ["0", "1", None]
    path = put(tmp_path, '{"id": 7, "text": "x", "label": 2}\n\n', "m.jsonl")
    assert load_manifest(path).table[["id", "label"]].values.tolist() == [["7", "2"]]


@pytest.mark.parametrize(
    ("header", "canonical"),
    [
        ("path", "audio"),
        ("WAV", "audio"),
        ("File Name", "audio"),
        ("Transcript", "text"),
        ("sentence", "text"),
        ("Emotion", "label"),
        ("Speaker_ID", "speaker"),
        ("utterance-id", "id"),
        ("subset", "split"),
        ("duration", "seconds"),
    ],
)
def test_common_headers_are_understood(tmp_path, header, canonical):
    put(tmp_path, b"x", "1.wav")
    value = {"audio": "1.wav", "split": "test", "seconds": "1"}.get(canonical, "x")
    rest = "id,text" if canonical not in ("id", "text") else {"id": "text", "text": "id"}[canonical]
    path = put(tmp_path, f"{rest},{header}\n{'a,' * rest.count(',')}b,{value}\n")
    got = load_manifest(path).table[canonical].iloc[0]
    assert got == (
        str(tmp_path / "1.wav") if canonical == "audio" else 1.0 if value == "1" else value
    )


def test_the_exact_header_wins_and_extra_columns_stay_untouched(tmp_path):
    put(tmp_path, b"x", "1.wav")
    path = put(tmp_path, "id,path,audio,video\na, kept ,1.wav,v/1.npy\n")
    table = load_manifest(path).table
    assert table["audio"].iloc[0] == str(tmp_path / "1.wav")
    assert table["path"].iloc[0] == " kept "
    assert table["video"].iloc[0] == "v/1.npy"
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)


def test_every_problem_is_listed_at_once_with_row_column_value_and_remedy(tmp_path):
    put(tmp_path, b"x", "here.wav")
    path = put(
        tmp_path,
        "id,audio,text,label,split,valence\n"
        "a,none.wav,x,happy,train,1\n"
        "a,,nan,hapy,,x\n"
        ",here.wav,z,happy,pool,inf\n"
        "\n"
        "d,HERE.wav,z,Happy,trian,2\n"
        "e,one,two,happy,train,1,too,many\n",
    )
    message = error_of(path, DataConfig(classes=["happy", "sad"]))
    expected = [
        "m.csv row 2, audio 'none.wav': no such file; looked for",
        "m.csv row 3, id 'a': the id is already used in row 2; make every id unique",
        "m.csv row 3: neither audio nor text; fill in at least one",
        "m.csv row 3, valence 'x': not a number; write a plain number",
        "m.csv row 3, label 'hapy': not one of the classes happy, sad; did you mean 'happy'?",
        "m.csv row 4, id: the id is empty; give every row an id",
        "m.csv row 4, valence 'inf': not a number",
        "m.csv row 4, label 'happy': a label on a row whose split is unlabeled; empty the label",
        "m.csv row 6, audio 'HERE.wav': no such file; looked for",
        "m.csv row 6, label 'Happy': not one of the classes happy, sad; did you mean 'happy'?",
        "m.csv row 6, split 'trian': unknown split; did you mean 'train'?",
        "m.csv row 7: 8 fields where the header has 6; put double quotes around texts",
    ]
    for sentence in expected:
        assert sentence in message
    assert "did you mean 'here.wav'?" in message
    assert message.startswith("13 problems in ")  # the last row's audio 'one' is missing too


def test_a_long_list_is_capped_with_a_count_of_the_rest(tmp_path):
    rows = "".join(f"{i},{i}.wav\n" for i in range(120))
    with pytest.raises(ManifestError) as caught:
        load_manifest(put(tmp_path, "id,audio\n" + rows))
    assert "... and 70 more (70 x audio: no such file)" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 52
    assert len(caught.value.problems) == 120
    assert caught.value.problems[5].row == 7


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("id,text\n", "a header but no rows"),
        ("id,text,text\na,x,y\n", "m.csv row 1, text 'text': the column appears twice"),
        ('id,text\na,"never closed\n', "a double quote that is never closed"),
    ],
)
def test_tables_without_content_are_refused_by_sentence(tmp_path, content, sentence):
    assert sentence in error_of(put(tmp_path, content))


def test_missing_files_folders_and_foreign_kinds_are_refused_by_sentence(tmp_path):
    put(tmp_path, TEXT, "manifest.csv")
    assert "did you mean 'manifest.csv'?" in error_of(tmp_path / "manifset.csv")
    assert "is a folder" in error_of(tmp_path)
    assert "export the sheet as CSV" in error_of(put(tmp_path, "x", "m.xls"))
    assert "not a readable Parquet file" in error_of(put(tmp_path, "x", "m.parquet"))
    message = error_of(put(tmp_path, '{"id": 1, "text": "x"}\noops\n[1]\n', "m.jsonl"))
    assert "m.jsonl row 2 'oops': not JSON" in message
    assert "m.jsonl row 3 '[1]': not a JSON object" in message


def test_paths_with_backslashes_blanks_and_capitals_are_found(tmp_path):
    (tmp_path / "sub").mkdir()
    wav = put(tmp_path / "sub", b"x", "A b.WAV")
    path = put(tmp_path, f"audio\nsub\\A b.WAV\n ./sub/../sub/A b.WAV \n{wav}\n")
    error = error_of(
        path
    )  # ids default to the stem, so these three clash, and nothing else is wrong
    assert error.startswith("2 problems") and "'A b': the id is already used in row 2" in error
    rooted = put(tmp_path, "audio,text\nA b.WAV,x\n", "r.csv")
    table = load_manifest(rooted, DataConfig(audio_root=str(tmp_path / "sub"))).table
    assert table[["id", "audio"]].values.tolist() == [["A b", str(wav)]]


def test_a_missing_folder_points_at_audio_root(tmp_path):
    assert "does not exist: correct the path or set data.audio_root" in error_of(
        put(tmp_path, "id,audio,text\na,gone/a.wav,still has a text\n")
    )


def test_what_spells_nothing_is_missing_but_a_text_may_say_none(tmp_path):
    path = put(tmp_path, "id,text,speaker,label\na,None,None,nan\nb,NA,nan,sad\nc, x ,<NA>,sad\n")
    table = load_manifest(path).table
    assert table["text"].tolist() == ["None", "NA", "x"]
    assert table["speaker"].tolist() == [None] * 3
    assert table["label"].tolist() == [None, "sad", "sad"]


def test_label_map_renames_and_drops_and_case_twins_are_pointed_out(tmp_path):
    path = put(tmp_path, "id,text,label\na,x,disqust\nb,x,other\nc,x,Happy\nd,x,happy\n")
    config = DataConfig(label_map={"disqust": "disgust", "other": ""})
    manifest = load_manifest(path, config)
    assert manifest.table["label"].tolist() == ["disgust", None, "Happy", "happy"]
    assert manifest.classes == ["Happy", "disgust", "happy"]
    assert any("differ only in case" in note for note in manifest.notes)


def test_tied_labels_are_dropped_or_become_votes(tmp_path):
    path = put(tmp_path, "id,text,label\na,x,happy;sad\nb,x,sad\nc,x,happy;happy\n")
    dropped = load_manifest(path)
    assert dropped.table["label"].tolist() == [None, "sad", "happy"]
    assert dropped.table["votes"].tolist() == [None] * 3
    kept = load_manifest(path, DataConfig(ties="votes"))
    assert kept.table["votes"].tolist() == [{"happy": 1.0, "sad": 1.0}, None, None]


def test_votes_are_read_in_all_three_spellings(tmp_path):
    expected = [{"happy": 2.0, "sad": 1.0}, {"sad": 1.0}]
    as_json = json.dumps({"happy": 2, "sad": 1}).replace('"', '""')
    for content in (
        f'id,text,votes\na,x,"{as_json}"\nb,x,sad\n',
        "id,text,votes\na,x,happy;happy;sad\nb,x,sad\n",
        "id,text,votes_happy,votes_sad\na,x,2,1\nb,x,0,1\n",
    ):
        manifest = load_manifest(put(tmp_path, content))
        assert manifest.table["votes"].tolist() == expected
        assert manifest.table["label"].tolist() == ["happy", "sad"]
    message = error_of(put(tmp_path, "id,text,votes,votes_sad\na,x,{bad,-1\n"))
    assert "row 2, votes '{bad': not readable as votes; write {" in message
    assert "row 2, votes_sad '-1': not a number of votes" in message


def test_votes_survive_being_written_and_read_again(tmp_path):
    both = DataConfig(classes=["happy", "sad"])
    manifest = load_manifest(put(tmp_path, "id,text,votes\na,x,happy;sad;sad\n"), both)
    for name in ("again.csv", "again.jsonl", "again.parquet"):
        write_manifest(manifest.table, tmp_path / name)
        again = load_manifest(tmp_path / name, both).table
        pd.testing.assert_frame_equal(again, manifest.table)
    assert manifest.table["votes"].tolist() == [{"happy": 1.0, "sad": 2.0}]
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]


def test_votes_for_a_class_that_is_nobodys_label_are_left_out_and_said_so(tmp_path):
    manifest = load_manifest(put(tmp_path, "id,text,votes\na,x,happy;sad;sad\n"))
    assert manifest.classes == ["sad"] and manifest.table["votes"].tolist() == [{"sad": 2.0}]
    assert "votes for happy are left out" in manifest.notes[0]


def test_an_array_counts_as_content_and_precomputed_tables_need_neither(tmp_path):
    path = put(tmp_path, "id,text,video\na,x,\nb,,v/b.npy\n")
    assert len(load_manifest(path)) == 2
    assert len(load_manifest(put(tmp_path, "id,label\na,x\nb,y\n"))) == 2
    assert "neither audio nor text" in error_of(put(tmp_path, "id,text,sex\na,x,f\nb,,m\n"))


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"ties": "keep"}, "ties must be drop or votes, got 'keep'"),
        ({"group": "speker"}, "group must be one of auto, speaker"),
        ({"allow_leaks": ["words"]}, "allow_leaks may name utterance, audio"),
        ({"labeled_fraction": 0.0}, "labeled_fraction must be in (0, 1], got 0.0"),
        ({"labeled_fraction": 0.1, "labeled_count": 3}, "cannot both be set"),
        ({"test_fraction": 1.0}, "test_fraction must be in [0, 1), got 1.0"),
        ({"max_seconds": 0.05}, "max_seconds must be greater than min_seconds"),
        ({"classes": ["a", "a"]}, "classes must not repeat"),
    ],
)
def test_settings_name_the_field_that_is_wrong(kwargs, sentence):
    with pytest.raises(ValueError, match=r".") as caught:
        DataConfig(**kwargs)
    assert sentence in str(caught.value)


def test_a_hundred_thousand_rows_take_what_five_times_as_few_take_five_times(tmp_path):
    put(tmp_path, b"x", "a.wav")

    def seconds(count):
        rows = "".join(f"u{i},a.wav,t {i},{'hs'[i % 2]},s{i % 99}\n" for i in range(count))
        path = put(tmp_path, "id,audio,text,label,speaker\n" + rows)
        start = time.process_time()
        assert len(load_manifest(path)) == count
        return time.process_time() - start

    assert seconds(100_000) < 12 * seconds(20_000)  # pairs of rows would make it 25


def test_a_manifest_that_is_not_there_names_the_folder_it_was_looked_for_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError) as caught:
        load_manifest("f/m.csv")
    assert str(caught.value) == (
        f"f/m.csv: no such manifest in the current folder {tmp_path}; correct the path "
        "(data.manifest), or call semi from the folder where it starts"
    )


def test_a_file_named_in_another_unicode_form_is_found(tmp_path):
    (tmp_path / "Tu\u0308r.wav").write_bytes(b"x")  # u and dots apart, as macOS writes it
    (tmp_path / "m.csv").write_text("id,audio\na,T\u00fcr.wav\n", encoding="utf-8")
    found = load_manifest(tmp_path / "m.csv").table["audio"][0]
    assert found == str(tmp_path / "Tu\u0308r.wav")


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"'])
def test_the_line_in_which_excel_names_the_delimiter_is_no_header(tmp_path, line):
    rows = "id;text;label\na;one, two, three;x\na;three;x\n"
    (tmp_path / "m.csv").write_text(f"{line}\n{rows}")
    with pytest.raises(ManifestError, match="row 4, id 'a': the id is already used in row 3"):
        load_manifest(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_text(f"{line}\n{rows}".replace("\na;three", "\nb;three"))
    assert load_manifest(tmp_path / "m.csv").table["text"][0] == "one, two, three"


def test_old_encodings_are_told_apart_and_the_guess_is_told(tmp_path):
    german, short, korean = "Größe übergroß, Tür für Tür", "an der größten", "정말 기뻐, 슬퍼요"
    cases = [(t, "cp1252", "Windows-1252") for t in (german, short)]
    for text, encoding, name in [*cases, (korean, "cp949", "CP949")]:
        (tmp_path / "m.csv").write_bytes(f'id,text\na,"{text}"\n'.encode(encoding))
        read = load_manifest(tmp_path / "m.csv")
        assert read.table["text"][0] == text
        assert any(f"was read as {name} " in note for note in read.notes)


def test_who_only_looks_reads_a_table_whose_sounds_are_gone(tmp_path):
    write = tmp_path / "m.csv"
    write.write_text("id,audio,label\na,gone.wav,x\nb,also/gone.wav,y\nc,gone.wav,\n")
    with pytest.raises(ManifestError, match="no such file"):
        load_manifest(write)
    table = load_manifest(write, sounds=False).table
    assert table["audio"].tolist() == [
        str(tmp_path / name) for name in ("gone.wav", "also/gone.wav", "gone.wav")
    ]
    write.write_text("id,audio,label\na,gone.wav,x\na,gone.wav,y\n")
    with pytest.raises(ManifestError, match="1 problem"):  # all else is checked
        load_manifest(write, sounds=False)
