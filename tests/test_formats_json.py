"""SpeechBrain's JSON and CSV, and other JSON files whose top is one object."""

import json

import pandas as pd
import pytest
from format_trees import place, utterances

from semi.data.audio import load_audio
from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.errors import ManifestError


def write(folder, content, name="data.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def refusal(path):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def speechbrain(folder, prefix="{data_root}/"):
    content = {}
    for row in utterances():
        place(row, folder / "wav" / f"{row['id']}.opus")
        cells = {"length": 1.5, "emo": row["label"], "wrd": row["text"]}
        content[row["id"]] = {"wav": f"{prefix}{row['id']}.opus", **cells}
    return content


@pytest.mark.parametrize("indent", [None, 2])
def test_speechbrain_json(tmp_path, indent):
    content = json.dumps(speechbrain(tmp_path, "{data_root}/wav/"), indent=indent)
    manifest = load_manifest(write(tmp_path, content))
    table, rows = manifest.table, utterances()
    for column in ("id", "label", "text"):
        assert table[column].tolist() == [row[column] for row in rows]
    assert table["seconds"].tolist() == [1.5] * 6
    assert manifest.notes[0] == "read as a SpeechBrain JSON: 6 rows"
    assert f"{{data_root}} stands for {tmp_path}" in manifest.notes[1]


def test_the_placeholder_stands_for_audio_root(tmp_path):
    path = write(tmp_path / "..", speechbrain(tmp_path, "{data_folder}/"), f"{tmp_path.name}.json")
    table = load_manifest(path, DataConfig(audio_root=str(tmp_path / "wav"))).table
    assert table["audio"].tolist()[0] == str(tmp_path / "wav" / f"{utterances()[0]['id']}.opus")


def test_spans_in_samples_become_seconds(tmp_path):
    import soundfile

    row = utterances(1)[0]
    soundfile.write(tmp_path / "a.wav", load_audio(row["audio"])[:16000], 16000)
    span = {"file": "{data_root}/a.wav", "start": 4000, "stop": 12000}
    table = load_manifest(write(tmp_path, {"u": {"wav": span, "emo": "sad"}})).table
    assert (table["start"][0], table["end"][0]) == (0.25, 0.75)
    many = {"u": {"wav": {"files": ["a.wav", "b.wav"]}, "emo": "sad"}}
    assert "row 1, wav" in refusal(write(tmp_path, many))


def test_speechbrain_csv(tmp_path):
    rows = utterances(1)
    lines = ["ID,duration,wav,wav_format,wav_opts,spk_id,emo"]
    for row in rows:
        place(row, tmp_path / f"{row['id']}.opus")
        lines.append(
            f"{row['id']},1.5,$data_root/{row['id']}.opus,wav,,{row['speaker']},{row['label']}"
        )
    manifest = load_manifest(write(tmp_path, "\n".join(lines), "train.csv"))
    assert manifest.table["label"].tolist() == [row["label"] for row in rows]
    assert manifest.table["speaker"].tolist() == [row["speaker"] for row in rows]
    assert manifest.table["seconds"].tolist() == [1.5] * 3
    assert manifest.notes[0] == "read as a SpeechBrain CSV: 3 rows"


ROWS = [{"id": "a", "text": "x", "label": "l"}, {"id": "b", "text": "y", "label": "m"}]
FRAME = pd.DataFrame(ROWS)


@pytest.mark.parametrize(
    "content",
    [
        {"data": ROWS},
        {"version": "1", "utterances": ROWS},
        {"a": {"text": "x", "label": "l"}, "b": {"text": "y", "label": "m"}},
        {"id": ["a", "b"], "text": ["x", "y"], "label": ["l", "m"]},
        *[FRAME.to_json(orient=orient) for orient in ("columns", "split", "table", "records")],
        FRAME.to_json(orient="records", lines=True),
        FRAME.to_json(orient="columns", indent=2),
    ],
)
def test_every_shape_of_json_gives_the_same_rows(tmp_path, content):
    table = load_manifest(write(tmp_path, content)).table
    for column in ("id", "text", "label"):
        assert table[column].tolist() == FRAME[column].tolist()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"version": 1, "model": {"a": 1}},
            "'version' (int), 'model' (dict), in which no rows",
        ),
        ({"one": ROWS, "two": ROWS}, "'one' (list), 'two' (list)"),
        ({}, "with nothing, in which no rows are found"),
        ('{\n "id": "a"\n', "not a readable JSON file"),
        ("5", "row 1 '5': not a JSON object"),
        ('[["a", "x"]]', "not a JSON object"),
        ("hello", "row 1 'hello': not JSON"),
        ('{"a":' * 5000, "nested too deeply"),
        ("[" * 50000, "nested too deeply"),
        ('{"a": {"text": "x"}, "a": {"text": "y"}}', "'a' stands twice in one object"),
        ('{"data": [{"id": "a", "text": "x"}, 5]}', "row 2 '5': not a JSON object"),
    ],
)
def test_other_objects_are_refused_by_what_they_hold(tmp_path, content, said):
    assert said in refusal(write(tmp_path, content))


def test_json_lines_are_read_as_before(tmp_path):
    manifest = load_manifest(write(tmp_path, '{"id": "a", "text": "x"}'))
    assert manifest.table["id"].tolist() == ["a"] and manifest.notes == []
    assert "nested too deeply" in refusal(write(tmp_path, '{"a":' * 5000, "m.jsonl"))
    said = refusal(write(tmp_path, '{"id": "a", "text": "x"}\n{"id": "b"'))
    assert "row 2" in said and "not JSON" in said
