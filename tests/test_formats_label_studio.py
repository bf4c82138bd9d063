"""Label Studio exports: JSON, JSON-MIN and CSV, several annotators, segments, where sound is."""

import base64
import json
from pathlib import Path

import pytest
from format_trees import place, utterances

from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.errors import ManifestError


def choices(*names, control="emotion", **span):
    value = {"choices": list(names), **span}
    return {"from_name": control, "to_name": "audio", "type": "choices", "value": value}


def region(start, end, *labels, control="emotion"):
    value = {"start": start, "end": end, "channel": 0, "labels": list(labels)}
    return {"from_name": control, "to_name": "audio", "type": "labels", "value": value}


def task(number, sound, *annotations, **data):
    given = [{"id": 10 * number + i, "result": result} for i, result in enumerate(annotations)]
    return {"id": number, "data": {"audio": sound, **data}, "annotations": given}


def export(folder, content, name="export.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def sounds(tmp_path):
    """Three sounds a.opus, b.opus, c.opus beneath the folder wav."""
    for name, row in zip("abc", utterances(1), strict=True):
        place(row, tmp_path / "wav" / f"{name}.opus")
    return tmp_path


def load(path, **settings):
    return load_manifest(path, DataConfig(**settings))


def refusal(path):
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_tasks_are_rows_and_annotators_votes(sounds):
    tasks = [
        task(1, "wav/a.opus", [choices("angry")], text="Nein!"),
        task(2, "wav/b.opus", [choices("angry")], [choices("sad")], [choices("sad")]),
        task(3, "wav/c.opus"),
    ]
    manifest = load(export(sounds, tasks))
    table = manifest.table
    assert table["id"].tolist() == ["1", "2", "3"]
    assert table["label"].tolist() == ["angry", "sad", None]
    assert table["votes"].tolist() == [None, {"angry": 1.0, "sad": 2.0}, None]
    assert table["text"].tolist() == ["Nein!", None, None]
    assert manifest.notes[0] == (
        "read as a Label Studio export (JSON): 3 tasks, 1 with votes of several annotators, "
        "1 skipped or not annotated, without a label"
    )


def test_skipped_annotations_do_not_count(sounds):
    tasks = [task(1, "wav/a.opus", [choices("angry")], [choices("sad")])]
    tasks[0]["annotations"][1]["was_cancelled"] = True
    tasks.append(task(2, "wav/b.opus", []))
    assert load(export(sounds, tasks)).table["label"].tolist() == ["angry", None]


def test_several_choices_of_one_annotator_are_a_tie(sounds):
    path = export(sounds, [task(1, "wav/a.opus", [choices("angry", "sad")])])
    assert load(path, ties="votes").table["votes"].tolist() == [{"angry": 1.0, "sad": 1.0}]


def test_segments_are_rows_with_times(sounds):
    result = [region(0, 0.5, "angry"), region(0.5, 1.25, "sad")]
    path = export(sounds, [task(1, "wav/a.opus", result), task(2, "wav/b.opus", [])])
    manifest = load(path)
    table = manifest.table
    assert table["id"].tolist() == ["1-1", "1-2", "2"]
    assert table["label"].tolist() == ["angry", "sad", None]
    assert table["end"].tolist()[:2] == [0.5, 1.25]
    assert "2 tasks, 3 rows" in manifest.notes[0]


def test_choices_of_a_region_stay_with_it_and_those_of_the_whole_reach_all(sounds):
    result = [
        region(0, 0.5, "Speech", control="what"),
        choices("angry", start=0, end=0.5),
        region(0.5, 1, "Speech", control="what"),
        choices("sad", start=0.5, end=1),
        choices("good", control="quality"),
    ]
    manifest = load(export(sounds, [task(1, "wav/a.opus", result)]))
    assert manifest.table["label"].tolist() == ["angry", "sad"]
    assert manifest.table["quality"].tolist() == ["good", "good"]
    assert "the control emotion gives the label; quality, what carried along" in manifest.notes


def test_numbers_are_means_and_words_marked_in_a_text_are_no_times(sounds):
    def rating(value):
        return {"from_name": "valence", "type": "rating", "value": {"rating": value}}

    words = {"start": 0, "end": 4, "text": "Nein", "labels": ["PER"]}
    marked = {"from_name": "names", "type": "labels", "value": words}
    path = export(sounds, [task(1, "wav/a.opus", [rating(2), marked], [rating(5)])])
    table = load(path).table
    assert len(table) == 1 and table["valence"].tolist() == [3.5]


def test_which_of_several_controls_is_the_label_is_not_guessed(sounds):
    result = [choices("x", control="one"), choices("y", control="two")]
    manifest = load(export(sounds, [task(1, "wav/a.opus", result)]))
    assert manifest.table["label"].isna().all()
    assert (
        "several controls hold choices (one, two), none called label or emotion" in manifest.notes
    )


MIN = {"annotator": 1, "annotation_id": 7, "created_at": "x", "updated_at": "x", "lead_time": 3.1}


def test_json_min_joins_the_annotations_of_a_task(sounds):
    records = [
        {"audio": "wav/a.opus", "id": 1, "emotion": "angry", **MIN},
        {"audio": "wav/b.opus", "id": 2, "emotion": {"choices": ["angry", "sad"]}, **MIN},
        {"audio": "wav/a.opus", "id": 1, "emotion": "angry", **MIN, "annotator": 2},
        {"audio": "wav/c.opus", "id": 3, **MIN},
    ]
    manifest = load(export(sounds, records))
    assert manifest.table["id"].tolist() == ["1", "2", "3"]
    assert manifest.table["label"].tolist() == ["angry", None, None]
    assert manifest.notes[0].startswith("read as a Label Studio export (JSON-MIN): 3 tasks")
    assert "annotator" not in manifest.table and "lead_time" not in manifest.table


def test_csv_with_choices_and_regions_within_cells(sounds):
    lines = [
        "audio,id,emotion,annotator,annotation_id,created_at,updated_at,lead_time",
        "wav/a.opus,1,angry,1,1,x,x,1.0",
        'wav/b.opus,2,"{""choices"": [""angry"", ""sad""]}",1,2,x,x,1.0',
        'wav/c.opus,3,"[{""start"": 0, ""end"": 0.5, ""labels"": [""sad""]}]",1,3,x,x,1.0',
    ]
    manifest = load(export(sounds, "\n".join(lines), "export.csv"), ties="votes")
    table = manifest.table
    assert table["id"].tolist() == ["1", "2", "3-1"]
    assert table["label"].tolist() == ["angry", None, "sad"]
    assert table["end"].tolist()[2] == 0.5
    assert manifest.notes[0].startswith("read as a Label Studio export (CSV): 3 tasks")


def test_choices_of_regions_that_json_min_no_longer_tells_apart_are_refused(sounds):
    spans = [{"start": at, "end": at + 1, "labels": ["Speech"]} for at in (0, 1)]
    record = {"audio": "wav/a.opus", "id": 1, "what": spans, "emotion": ["angry", "sad"], **MIN}
    assert "export the project as JSON, not JSON-MIN or CSV" in refusal(export(sounds, [record]))


def encoded(address):
    return base64.b64encode(address.encode()).decode()


@pytest.mark.parametrize(
    "address",
    [
        "/data/local-files/?d=wav/a.opus",
        "/data/local-files/?d=project%2Fwav%2Fa.opus",
        "http://localhost:8080/data/local-files/?d=wav/a.opus",
        "/data/upload/1/0123abcd-a.opus",
        "s3://bucket/project/wav/a.opus",
        "gs://bucket/wav/a.opus",
        "https://example.com/sounds/a.opus?X-Signature=1",
        f"/tasks/1/resolve/?fileuri={encoded('s3://bucket/wav/a.opus')}",
        "wav\\a.opus",
    ],
)
def test_addresses_lead_to_the_file_beneath_the_root(sounds, address):
    place(utterances(1)[0], sounds / "a.opus")
    table = load(export(sounds, [task(1, address, [choices("angry")])])).table
    assert Path(table["audio"][0]).name == "a.opus"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://bucket/gone.wav", "an address on a network, which is never opened; download it"),
        ("https://example.com/gone.wav", "an address on a network"),
        ("/data/upload/1/0123abcd-gone.wav", "a file uploaded to Label Studio"),
        ("/data/local-files/?d=gone.wav", "no such file"),
    ],
)
def test_sounds_that_are_not_here_are_named_by_row(sounds, address, said):
    tasks = [task(1, "wav/a.opus", [choices("angry")]), task(2, address, [choices("sad")])]
    told = refusal(export(sounds, tasks))
    assert told.startswith("1 problem") and "row 2, audio" in told and said in told


def test_an_export_of_which_no_sound_is_here(sounds):
    tasks = [task(i, f"s3://bucket/{i}.wav", [choices("angry")]) for i in range(3)]
    assert refusal(export(sounds, tasks)).startswith("3 problems")


def test_sound_within_the_export(sounds, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = (sounds / "wav" / "a.opus").read_bytes()
    address = f"data:audio/ogg;base64,{base64.b64encode(data).decode()}"
    table = load(export(sounds, [task(1, address, [choices("angry")])])).table
    assert Path(table["audio"][0]).read_bytes() == data


def test_an_export_cut_in_half_is_refused_in_one_sentence(sounds):
    whole = json.dumps([task(i, "wav/a.opus", [choices("angry")]) for i in range(9)])
    said = refusal(export(sounds, whole[: len(whole) // 2]))
    assert "not a readable JSON export of Label Studio" in said and "\n" not in said


def test_tasks_are_known_before_anybody_annotated_and_behind_long_texts(sounds):
    bare = [{"id": 1, "data": {"audio": "wav/a.opus"}}]
    assert load(export(sounds, bare)).table["audio"].notna().all()
    long = {"data": {"text": "y" * 100_000, "audio": "wav/a.opus"}, "id": 5}
    long["annotations"] = [{"result": [choices("angry")]}]
    assert load(export(sounds, [{"meta": {}, **long}])).table["label"].tolist() == ["angry"]


def test_a_choice_may_hold_a_semicolon_and_a_task_an_id_of_its_own(sounds):
    tasks = [task(1, ["wav/a.opus"], [choices("a;b")], id="utt7")]
    table = load(export(sounds, tasks)).table
    assert table["label"].tolist() == ["a;b"] and table["data_id"].tolist() == ["utt7"]


def test_json_min_with_a_control_of_any_name_is_not_guessed(sounds):
    path = export(sounds, [{"audio": "wav/a.opus", "id": 1, "Laune": "x", **MIN}])
    manifest = load(path)
    assert manifest.table["label"].isna().all() and manifest.table["Laune"].tolist() == ["x"]
    assert "which control is the label cannot be told (Laune): export it as JSON" in manifest.notes
