"""TensorBoard files: what is written can be read back, once, and after an interruption too."""

import numpy as np
import pytest
from event_files import event_values
from two_runs import settings, write_manifest

import semi
from semi.evaluation.tensorboard import NoTracker, open_tracker
from semi.files import read_json


def read_events(folder):
    """Returns {tag: [(step, kind)]} of the event files directly in a folder."""
    found = {}
    for step, value in event_values(folder):
        kind = value.metadata.plugin_data.plugin_name or value.WhichOneof("value")
        found.setdefault(value.tag, []).append((step, kind))
    return found


def fill(tracker, number):
    tracker.begin_round(number)
    for step in (0, 25):
        tracker.step(step, {"loss/total": 1.0 / (step + 1), "contrast/speech-text": 2.0})
    tracker.metrics({"oof/macro_f1": 0.5, "test/macro_f1": None})
    tracker.calibration("oof/calibration", [0.2, None, 0.9], [0.3, None, 0.8], [5, 0, 9], 0.07)
    tracker.confidences("pool/confidence", [0.2, 0.9, 0.99], [False, True, True])
    tracker.coverage("pool/precision", [0.1, 1.0], [1.0, 0.7])
    tracker.confusion("oof/confusion", [[3, 1], [0, 4]], ["anger", "joy"])
    tracker.class_mix("pool/mix", ["anger", "joy"], {"added": [3, 1], "gold": [5, 5]})
    tracker.audio("most confident/a", np.sin(np.arange(1600) / 5), 16_000, "a: joy 0.99")
    tracker.embeddings("fused", np.eye(3), {"label": ["x", "y\tz", "x"], "id": [1, 2, 3]})
    tracker.end_round()


def test_every_kind_of_thing_is_written(tmp_path):
    fill(open_tracker(tmp_path), 0)
    steps = read_events(tmp_path / "round-00")
    assert [s for s, _ in steps["loss/total"]] == [0, 25]
    assert "contrast/speech-text" in steps
    found = {tag: kinds[0][1] for tag, kinds in read_events(tmp_path / "rounds").items()}
    assert "test/macro_f1" not in found
    for tag in ("oof/calibration", "oof/confusion", "pool/precision", "pool/mix"):
        assert found[tag] == "image", tag
    assert found["pool/confidence"] == "histo"
    assert found["most confident/a"] == "audio"


def test_projector_lists_its_points_with_labels(tmp_path):
    fill(open_tracker(tmp_path), 0)
    contents = (tmp_path / "rounds/projector_config.pbtxt").read_text()
    assert contents.count("embeddings {") == 1
    home = tmp_path / "rounds/projector/round-00/fused"
    assert (home / "metadata.tsv").read_text() == "label\tid\nx\t1\ny z\t2\nx\t3\n"
    assert (home / "tensors.tsv").read_text().splitlines()[1] == "0\t1\t0"
    assert "projector/round-00/fused/tensors.tsv" in contents


def test_a_round_begun_again_leaves_no_point_twice(tmp_path):
    tracker = open_tracker(tmp_path)
    fill(tracker, 0)
    fill(tracker, 1)
    tracker.begin_round(2)  # killed here: some points of round 2, nothing closed
    tracker.step(0, {"loss/total": 9.0})
    tracker.end_round()
    fill(open_tracker(tmp_path), 1)
    assert not (tmp_path / "round-02").exists()
    assert [s for s, _ in read_events(tmp_path / "round-01")["loss/total"]] == [0, 25]
    assert [s for s, _ in read_events(tmp_path / "rounds")["oof/macro_f1"]] == [0, 1]


def test_hparams_can_be_written_again(tmp_path):
    tracker = open_tracker(tmp_path)
    for score in (0.4, 0.5):
        tracker.hparams({"seed": 0, "layers": [1, 2]}, {"macro_f1": score, "waf": None})
    assert len(list((tmp_path / "hparams").iterdir())) == 1
    assert [s for s, _ in read_events(tmp_path / "hparams")["macro_f1"]] == [0]


def test_switched_off_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = open_tracker(tmp_path / "tb", enabled=False)
    assert isinstance(tracker, NoTracker)
    fill(tracker, 0)
    tracker.hparams({}, {})
    tracker.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("classes", [["기쁨", "슬픔"], ["anger"]])
def test_class_names_in_any_script_draw_without_a_warning(tmp_path, classes):
    tracker = open_tracker(tmp_path)
    tracker.begin_round(0)
    tracker.confusion("confusion", np.eye(len(classes)), classes)
    tracker.end_round()
    assert "confusion" in read_events(tmp_path / "rounds")


def read_rounds(folder):
    """Returns TensorBoard's own reading of what there is one of per round."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "rounds")).Reload()


def charts_of(read):
    """Returns {title: tags} of the bands in the tab of custom scalars."""
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    written = read.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0]
    charts = [c for category in Layout.FromString(written).category for c in category.chart]
    return {c.title: (s.value, s.lower, s.upper) for c in charts for s in c.margin.series}


def told(read, tag):
    """Returns the texts under a tag, one a round."""
    return [t.tensor_proto.string_val[0].decode() for t in read.Tensors(f"{tag}/text_summary")]


def test_intervals_are_scalars_a_band_and_a_sentence(tmp_path):
    tracker = open_tracker(tmp_path)
    for number in (0, 1):
        tracker.begin_round(number)
        tracker.metrics({"test/macro_f1": 0.6 + number / 10})
        ends = {"macro_f1": (0.4, 0.75 + number / 10), "ccc": (float("nan"), float("nan"))}
        tracker.intervals("test", ends, "95 % intervals over 2 speakers")
        tracker.intervals("oof", {"uar": (float("nan"), 1.0)}, "95 % intervals over 1 row")
        tracker.end_round()
    read = read_rounds(tmp_path)
    high = read.Scalars("interval/test/macro_f1_high")
    assert [(s.step, s.value) for s in high] == [(0, pytest.approx(0.75)), (1, pytest.approx(0.85))]
    assert not [tag for tag in read.Tags()["scalars"] if "ccc" in tag or "uar" in tag]
    tags = "test/macro_f1", "interval/test/macro_f1_low", "interval/test/macro_f1_high"
    assert charts_of(read) == {"test/macro_f1": tags}
    assert told(read, "interval/test") == ["95 % intervals over 2 speakers"] * 2
    assert "interval/oof/text_summary" not in read.Tags()["tensors"]


def test_a_run_shows_the_intervals_of_its_report_in_every_round(tmp_path):
    write_manifest(tmp_path)
    path = semi.self_train(settings(tmp_path, "shown", "tracking=true"), progress=False).path
    read = read_rounds(path / "tb")
    records = [read_json(p) for p in sorted(path.glob("round-*/round.json"))]
    for part in ("oof", "test"):
        found = [r[f"metrics_{part}"] for r in records]
        for end in ("low", "high"):
            shown = read.Scalars(f"interval/{part}/macro_f1_{end}")
            kept = [m["intervals"]["macro_f1"][end] for m in found]
            assert [s.step for s in shown] == list(range(len(records)))
            assert [s.value for s in shown] == pytest.approx(kept)
        speakers = found[0]["intervals"]["macro_f1"]["units"]
        words = f"95 % intervals over {speakers} speakers"
        assert told(read, f"interval/{part}") == [words] * len(records)
    assert {"oof/macro_f1", "test/macro_f1", "test/uar"} <= set(charts_of(read))
