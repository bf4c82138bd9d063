"""Parquet, JSON and class folders as other programs leave them: no label, id or sound goes lost."""

import json
import shlex
import shutil

import pandas as pd
import pytest
from speech_files import save, speech

from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.errors import ManifestError

ROWS = [
    {"id": f"u{k}", "text": f"hello {k}", "label": ("joy", "anger")[k % 2], "speaker": f"s{k % 3}"}
    for k in range(12)
]


def parquet(tmp_path, **columns):
    frame = pd.DataFrame(ROWS)
    for name, cells in columns.items():
        frame[name] = pd.Series(cells, dtype=object)
    frame.to_parquet(tmp_path / "m.parquet")
    return load_manifest(tmp_path / "m.parquet", DataConfig(ties="votes"))


def test_ids_that_pandas_keeps_as_an_index_without_a_name_are_ids(tmp_path):
    frame = pd.DataFrame(ROWS).drop(columns="id")
    frame.index = [f"x{k}" for k in range(12)]
    frame.to_parquet(tmp_path / "m.parquet")
    table = load_manifest(tmp_path / "m.parquet").table
    assert table["id"].tolist() == [f"x{k}" for k in range(12)]


def test_text_that_a_column_of_bytes_holds_is_text(tmp_path):
    said = [f"안녕 {k}".encode() for k in range(12)]
    found = parquet(tmp_path, text=said, label=[b"joy", b"calm"] * 6)
    assert found.classes == ["calm", "joy"] and found.table["text"].tolist()[3] == "안녕 3"


def test_lists_and_objects_as_labels_are_ties_votes_or_refused(tmp_path):
    lists = parquet(tmp_path, label=[["joy"], ["anger"], ["joy", "anger"]] * 4)
    assert lists.classes == ["anger", "joy"] and lists.table["label"].tolist().count(None) == 4
    shares = parquet(tmp_path, label=[{"joy": 0.7, "anger": 0.3}, {"joy": 0.2, "anger": 0.8}] * 6)
    assert shares.table["label"].tolist()[:2] == ["joy", "anger"]
    assert shares.table["votes"].tolist()[0] == {"joy": 0.7, "anger": 0.3}
    with pytest.raises(ManifestError, match=r"rows 2, .*label .*: an object in place of a label"):
        parquet(tmp_path, label=[{"name": "joy"}, {"name": "anger"}] * 6)


def test_a_damaged_parquet_file_is_one_sentence(tmp_path):
    pd.DataFrame(ROWS).to_parquet(tmp_path / "m.parquet")
    data = (tmp_path / "m.parquet").read_bytes()
    (tmp_path / "m.parquet").write_bytes(data[:-30] + bytes(26) + b"PAR1")
    with pytest.raises(ManifestError) as error:
        load_manifest(tmp_path / "m.parquet")
    assert "\n" not in str(error.value) and "export it once more" in str(error.value)


def put(tmp_path, content, name="m.json"):
    (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path / name


def test_lists_of_rows_under_the_names_of_splits_keep_them(tmp_path):
    path = put(tmp_path, json.dumps({"train": ROWS[:8], "validation": ROWS[8:]}))
    table = load_manifest(path).table
    assert table["split"].tolist() == ["train"] * 8 + ["dev"] * 4 and len(table) == 12


def test_an_object_of_sounds_and_their_labels_is_a_table(tmp_path):
    for k in range(4):
        save(tmp_path / f"{k}.wav", speech())
    path = put(tmp_path, json.dumps({f"{k}.wav": ("joy", "calm")[k % 2] for k in range(4)}))
    manifest = load_manifest(path)
    assert manifest.table["id"].tolist() == list("0123") and manifest.classes == ["calm", "joy"]


def test_a_key_that_stands_twice_in_a_row_is_refused(tmp_path):
    twice = '{"id": "b", "text": "ho", "label": "joy", "label": "sad"}'
    lines = f'{{"id": "a", "text": "hi", "label": "joy"}}\n{twice}\n'
    with pytest.raises(ManifestError, match=r"m.jsonl row 2 .*'label' stands twice"):
        load_manifest(put(tmp_path, lines, "m.jsonl"))
    with pytest.raises(ManifestError, match="'label' stands twice in one object"):
        load_manifest(put(tmp_path, f"[{twice}]"))


def folders(tmp_path, *names):
    sound = save(tmp_path / "one.wav", speech())
    for name in names:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sound, tmp_path / "set" / name)
    return load_manifest(tmp_path / "set")


@pytest.mark.parametrize("spoke", ["Actor_{}", "spk{}", "speaker-{}", "0{}", "F{}", "subject {}"])
def test_speakers_that_folders_name_are_speakers_above_or_below_the_class(tmp_path, spoke):
    people = [spoke.format(k) for k in range(3)]
    above = folders(tmp_path, *[f"{p}/{c}/{p}{c}.wav" for p in people for c in ("angry", "happy")])
    assert sorted(set(above.table["speaker"])) == sorted(people)
    assert any("speakers by folder" in note for note in above.notes)
    shutil.rmtree(tmp_path / "set")
    below = folders(tmp_path, *[f"{c}/{p}/{p}{c}.wav" for p in people for c in ("angry", "happy")])
    assert sorted(set(below.table["speaker"])) == sorted(people)
    assert below.classes == ["angry", "happy"]


def test_a_sound_of_any_kind_in_a_class_folder_is_a_row(tmp_path):
    kinds = [".sph", ".w64", ".caf", ".voc", ".amr", ".3gp", ".mka", ".aif", ".snd"]
    names = [f"{c}/{k[1:]}{k}" for c in ("angry", "happy") for k in kinds]
    assert len(folders(tmp_path, *names)) == len(names)


def kaldi(tmp_path, **files):
    for k in range(3):
        save(tmp_path / f"{k}.wav", speech())
    lines = {"wav.scp": "a 0.wav\nb 1.wav\nc 2.wav\n", "utt2emo": "a joy\nb sad\nc joy\n", **files}
    for name, content in lines.items():
        (tmp_path / name).write_text(content)
    return load_manifest(tmp_path)


def test_two_lines_of_kaldi_that_contradict_each_other_are_named(tmp_path):
    with pytest.raises(ManifestError, match="row 4, utt2emo 'a sad': a line above says something"):
        kaldi(tmp_path, utt2emo="a joy\nb sad\nc joy\na sad\n")
    kaldi(tmp_path, utt2emo="a joy\nb sad\nc joy\na joy\n")  # twice the same is no contradiction
    twice = {"wav.scp": "a 0.wav\nb 1.wav\na 2.wav\n", "segments": "s a 0.1 0.5\nt b 0 1\n"}
    with pytest.raises(ManifestError, match=r"row 3, wav.scp 'a': a line above"):
        kaldi(tmp_path, **twice)


def test_speakers_of_kaldi_are_read_either_way(tmp_path):
    read = kaldi(tmp_path, spk2utt="anna a c\nben b\n")
    assert read.table["speaker"].tolist() == ["anna", "ben", "anna"]


def test_shards_that_are_missing_are_a_warning_and_one_configuration_can_be_given(tmp_path):
    for folder in (tmp_path / "d", tmp_path / "d" / "other one"):
        folder.mkdir()
        frame = pd.DataFrame(ROWS)
        sound = save(tmp_path / "a.wav", speech()).read_bytes()
        frame["audio"] = [{"bytes": sound, "path": "a.wav"} for _ in ROWS]
        frame.to_parquet(folder / "train-00000-of-00002.parquet")
    with pytest.raises(ManifestError, match="2 configurations of a dataset") as error:
        load_manifest(tmp_path / "d")
    (word,) = [w for w in shlex.split(str(error.value)) if w.startswith("data.manifest=")]
    read = load_manifest(word.partition("=")[2])
    assert any(n.startswith("warning: only 1 of 2 shards") for n in read.reading.notes)
