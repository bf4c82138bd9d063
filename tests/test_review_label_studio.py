"""Label Studio both ways, without Label Studio: what is written, and exports as it writes them."""

import json
import shutil
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from spoken_table import trained_spoken

from semi.cli import main
from semi.data.config import DataConfig
from semi.data.corpora import bundled_emodb
from semi.data.manifest import load_manifest
from semi.data.reviews import read_reviews, standing
from semi.review.batch import BatchRow
from semi.review.importing import import_reviews
from semi.review.label_studio import interface, write_tasks
from semi.review.round_trip import export_reviews


@pytest.fixture(scope="module")
def spoken(tmp_path_factory, store):
    """Returns the finished run `spoken` on bundled recordings."""
    return trained_spoken(tmp_path_factory.mktemp("spoken"), store)


@pytest.fixture
def run(spoken, tmp_path):
    """A copy of it that nobody reviewed."""
    shutil.copytree(spoken, tmp_path / "spoken")
    return tmp_path / "spoken"


def tasks_of(run, *options):
    path = run.parent / "tasks.json"
    export_reviews(run, "label-studio", path, *options)
    return json.loads(path.read_text()), path


def choice(*labels, control="label"):
    value = {"choices": list(labels)}
    return {"from_name": control, "to_name": "audio", "type": "choices", "value": value}


def annotated(task, number, *annotations):
    """Returns a task as Label Studio exports it; annotations are (who, results, more)."""
    given = [
        {"id": 10 * number + k, "completed_by": who, "result": results, "was_cancelled": False,
         "created_at": f"2026-01-0{k + 1}T10:00:00.000001Z",
         "updated_at": f"2026-01-0{k + 1}T11:00:00.000001Z", **more}
        for k, (who, results, more) in enumerate(annotations)
    ]  # fmt: skip
    return {"id": number, "annotations": given, "data": task["data"], "predictions": [number]}


def exported(run, tasks, name="export.json"):
    path = run.parent / name
    path.write_text(json.dumps(tasks))
    return path


def test_tasks_have_sounds_texts_and_what_the_machine_says(run):
    tasks, _ = tasks_of(run)
    ledger = pd.read_csv(run / "ledger.csv").set_index("id")
    assert {t["data"]["utterance_id"] for t in tasks} == set(ledger.index)
    said = json.loads((run / "result.json").read_text())["best_round"]
    for task in tasks:
        (prediction,) = task["predictions"]
        (result,) = prediction["result"]
        assert prediction["model_version"] == "spoken" and 0 < prediction["score"] <= 1
        assert (result["from_name"], result["to_name"], result["type"]) == (
            "label", "audio", "choices")  # fmt: skip
        if said:
            assert result["value"]["choices"] == [ledger["label"][task["data"]["utterance_id"]]]
        sound = task["data"]["audio"]
        assert sound == f"/data/local-files/?d=audio/{task['data']['utterance_id']}.opus"
    assert sum(t["data"]["pick"] == "random" for t in tasks) == len(tasks) // 5


def test_the_interface_offers_every_class_and_a_way_out(run):
    tasks_of(run)
    root = ET.parse(run.parent / "tasks.xml").getroot()
    choices = {c.get("name"): [v.get("value") for v in c] for c in root.iter("Choices")}
    assert choices == {"label": ["anger", "happiness", "neutral", "sadness"],
                       "verdict": ["unsure", "bad_audio"]}  # fmt: skip
    assert [a.get("value") for a in root.iter("Audio")] == ["$audio"]


@pytest.mark.parametrize("name", ['so "la la"', "<b>&amp;", "freude & leid", "기쁨", "it's"])
def test_strange_classes_survive_the_interface(name):
    root = ET.fromstring(interface([name], audio=False, several=True))
    (labels, _) = root.iter("Choices")
    assert labels[0].get("value") == name and labels.get("choice") == "multiple"
    assert labels.get("toName") == "text"


def test_parts_of_a_sound_say_which_seconds_are_meant(tmp_path):
    sound = str(tmp_path / "wav" / "long.wav")
    rows = [BatchRow("a", sound, "", 1.5, 2.25, "joy", 0.5, "next"),
            BatchRow("b", sound, "", 3.0, None, "joy", 0.5, "next"),
            BatchRow("c", sound, "", None, None, "", None, "random")]  # fmt: skip
    write_tasks(tmp_path / "t.json", rows, "run", ["joy"], several=False)
    tasks = json.loads((tmp_path / "t.json").read_text())
    assert [t["data"]["part"] for t in tasks] == [
        "only from 1.5 s to 2.25 s", "only from 3 s to its end", "all of the sound"]  # fmt: skip
    assert "$part" in (tmp_path / "t.xml").read_text() and "predictions" not in tasks[2]


def test_rows_without_a_sound_are_left_to_the_table_and_told(tmp_path):
    rows = [BatchRow("a", "", "hm", None, None, "joy", 0.5, "next"),
            BatchRow("b", str(tmp_path / "b.wav"), "", None, None, "joy", 0.5, "next")]  # fmt: skip
    notes = write_tasks(tmp_path / "t.json", rows, "run", ["joy"], several=False)
    assert "1 row without a sound left out; --export csv takes them" in notes
    write_tasks(tmp_path / "t.json", rows[:1], "run", ["joy"], several=False)
    (task,) = json.loads((tmp_path / "t.json").read_text())
    assert task["predictions"][0]["result"][0]["to_name"] == "text"
    assert "<Audio" not in (tmp_path / "t.xml").read_text()


def test_what_annotators_said_comes_back_once(run, capsys):
    tasks, _ = tasks_of(run)
    ann, ben = {"id": 1, "email": "ann@example.com"}, 2
    path = exported(run, [
        annotated(tasks[0], 1, (ann, [choice("anger")], {}), (ben, [choice("sadness")], {})),
        annotated(tasks[1], 2, (ben, [choice("bad_audio", control="verdict")], {})),
        annotated(tasks[2], 3, (ben, [], {"was_cancelled": True})),
        annotated(tasks[3], 4, (ben, [choice("anger", "sadness")], {})),
        annotated(tasks[4], 5),
    ])  # fmt: skip
    assert main(["review", str(run), "--import", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        f"{path}: 5 reviews read of ann@example.com, annotator 2, 5 new, 0 there already, 0 refused"
    )
    ids = [task["data"]["utterance_id"] for task in tasks]
    back = {name: {who: (w.verdict, w.label) for who, w in by.items()}
            for name, by in standing(read_reviews(run / "reviews.csv")).items()}  # fmt: skip
    assert back == {
        ids[0]: {"ann@example.com": ("label", "anger"), "annotator 2": ("label", "sadness")},
        ids[1]: {"annotator 2": ("bad_audio", "")},
        ids[2]: {"annotator 2": ("unsure", "")},
        ids[3]: {"annotator 2": ("label", "anger;sadness")},
    }
    first = read_reviews(run / "reviews.csv")[0]
    assert first.time == "2026-01-01T11:00:00.000001Z" and first.run == "spoken"
    assert first.machine_label == tasks[0]["predictions"][0]["result"][0]["value"]["choices"][0]
    assert float(first.machine_confidence) == tasks[0]["predictions"][0]["score"]
    assert {r.pick for r in read_reviews(run / "reviews.csv")} == {"next"}
    assert import_reviews(run, path).known == 5


def test_an_annotation_changed_in_label_studio_changes_the_word(run):
    tasks, _ = tasks_of(run)
    import_reviews(run, exported(run, [annotated(tasks[0], 1, (1, [choice("anger")], {}))]))
    later = {"updated_at": "2026-02-01T00:00:00Z"}
    path = exported(run, [annotated(tasks[0], 1, (1, [choice("neutral")], later))])
    assert import_reviews(run, path).new == 1
    (word,) = standing(read_reviews(run / "reviews.csv"))[tasks[0]["data"]["utterance_id"]].values()
    assert word.label == "neutral"


def test_what_is_no_review_is_refused_and_told(run):
    tasks, _ = tasks_of(run)
    part = {"start": 0, "end": 1, "labels": ["x"]}
    region = {"from_name": "label", "type": "labels", "value": part}
    strange = {"data": {"audio": "x.wav"}}
    found = import_reviews(run, exported(run, [
        annotated(tasks[0], 1, (1, [choice("joy")], {})),
        annotated(tasks[1], 2, (1, [region], {})),
        annotated(strange, 3, (1, [choice("anger")], {})),
        annotated({"data": {"utterance_id": "nobody"}}, 4, (1, [choice("anger")], {})),
        annotated(tasks[2], 5, (1, [choice("anger")], {})), 7,
    ]))  # fmt: skip
    assert found.new == 1 and len(found.refused) >= 4
    said = str(found)
    for reason in ("'joy' is none of its classes", "its data have no utterance_id",
                   "no row of this run (1: nobody)", "not a task of Label Studio"):  # fmt: skip
        assert reason in said


def test_a_project_of_ones_own_with_another_control_is_read(run):
    tasks, _ = tasks_of(run)
    name = tasks[0]["data"]["utterance_id"]
    own = {"data": {"id": name, "audio": "x.wav"}}
    path = exported(run, [annotated(own, 1, (1, [choice("anger", control="gefühl")], {}))])
    assert import_reviews(run, path).new == 1


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "[]", '{"a": 1}'])
def test_a_file_that_is_no_export_gives_one_sentence(run, capsys, content):
    path = run.parent / "e.json"
    path.write_text(content)
    status = main(["review", str(run), "--import", str(path)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err and not (run / "reviews.csv").exists()
    assert status == 2 or " 0 new" in said.out


def test_the_same_export_is_a_table_of_its_own(run):
    """semi reads it as data.manifest, too: with the sounds of the folder it came from."""
    tasks, _ = tasks_of(run)
    path = exported(run, [annotated(tasks[0], 1, (1, [choice("anger")], {}))])
    config = DataConfig(audio_root=str(bundled_emodb().parent))
    table = load_manifest(path, config).table
    assert table["label"].tolist() == ["anger"]
