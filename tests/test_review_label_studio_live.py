"""The round trip through Label Studio itself: our tasks in, people's annotations out."""

import json

import pytest
from label_studio_server import api, label_studio, program, signed_up
from spoken_table import trained_spoken

from semi.data.corpora import bundled_emodb
from semi.data.reviews import read_reviews, standing
from semi.review.importing import import_reviews
from semi.review.round_trip import export_reviews

pytestmark = pytest.mark.skipif(
    program() is None,
    reason="Label Studio is not installed: pip install label-studio into an environment of its "
    "own, and name its program in LABEL_STUDIO",
)
ROWS = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory, store):
    return trained_spoken(tmp_path_factory.mktemp("live"), store)


def choice(*labels, control="label"):
    return [{"from_name": control, "to_name": "audio", "type": "choices",
             "value": {"choices": list(labels)}}]  # fmt: skip


def imported_tasks(call, run):
    """Makes a project of our tasks and interface; returns its number and its tasks."""
    path = run.parent / "tasks.json"
    export_reviews(run, "label-studio", path, count=ROWS)
    interface = path.with_suffix(".xml").read_text()
    project = call("POST", "/api/projects", {"title": "review", "label_config": interface})["id"]
    folder = str(bundled_emodb().parent / "audio")
    call("POST", "/api/storages/localfiles", {"project": project, "path": folder, "title": "wav"})
    done = call("POST", f"/api/projects/{project}/import", json.loads(path.read_text()))
    assert (done["task_count"], done["prediction_count"]) == (ROWS, ROWS)
    found = call("GET", f"/api/tasks?project={project}&fields=all&page_size=100")["tasks"]
    return project, sorted(found, key=lambda task: task["id"])


def test_what_people_say_in_label_studio_is_what_comes_back(run, tmp_path):
    with label_studio(tmp_path, bundled_emodb().parent) as address:
        ann, ben = api(address), signed_up(address, "ben@example.com", "a-long-password-2")
        project, tasks = imported_tasks(ann, run)
        for task in tasks:  # every sound can be heard there, and every prediction seen
            assert ann("GET", task["data"]["audio"], plain=True)[:4] == b"OggS"
            (prediction,) = task["predictions"]
            assert prediction["model_version"] == "spoken"
            said = prediction["result"][0]["value"]["choices"]
            assert said == [task["data"]["machine_label"]]
            assert prediction["score"] == pytest.approx(task["data"]["machine_confidence"])

        def annotate(call, number, result, **more):
            path = f"/api/tasks/{tasks[number]['id']}/annotations/"
            return call("POST", path, {"result": result, **more})["completed_by"]

        first = annotate(ann, 0, choice("anger"))
        second = annotate(ben, 0, choice("sadness"))
        annotate(ann, 1, choice("neutral"))
        annotate(ann, 2, choice("bad_audio", control="verdict"))
        annotate(ben, 3, choice("unsure", control="verdict"))
        annotate(ann, 4, [], was_cancelled=True)
        path = f"/api/projects/{project}/export"
        export = ann("GET", f"{path}?exportType=JSON&download_all_tasks=true")
        minimal = ann("GET", f"{path}?exportType=JSON_MIN")
    path = tmp_path / "export.json"
    path.write_text(json.dumps(export))
    ids = [task["data"]["utterance_id"] for task in tasks]
    ann, ben = f"annotator {first}", f"annotator {second}"
    found = import_reviews(run, path)
    assert (found.new, found.refused, found.reviewers) == (6, [], sorted([ann, ben]))
    back = {name: {who: (w.verdict, w.label) for who, w in by.items()}
            for name, by in standing(read_reviews(run / "reviews.csv")).items()}  # fmt: skip
    assert back == {
        ids[0]: {ann: ("label", "anger"), ben: ("label", "sadness")},
        ids[1]: {ann: ("label", "neutral")},
        ids[2]: {ann: ("bad_audio", "")},
        ids[3]: {ben: ("unsure", "")},
        ids[4]: {ann: ("unsure", "")},
    }
    again = import_reviews(run, path)
    assert (again.new, again.known) == (0, 6)
    path.write_text(json.dumps(minimal))  # its short form tells the same, but for the skipped one
    again = import_reviews(run, path)
    assert (again.new, again.known, again.refused) == (0, 5, [])
