"""TensorBoard files: what is written can be read back, once, and after an interruption too."""

import re

import numpy as np
import pytest
from event_files import event_values
from two_runs import settings, write_manifest

import semi
from semi.evaluation.trackers.opening import trackers_of
from semi.files import read_json

BINS = [(0.2, 0.3, 5), (None, None, 0), (0.9, 0.8, 9)]


def read_events(folder):
    """Returns {tag: [(step, kind)]} of the event files directly in a folder."""
    found = {}
    for step, value in event_values(folder):
        kind = value.metadata.plugin_data.plugin_name or value.WhichOneof("value")
        found.setdefault(value.tag, []).append((step, kind))
    return found


def open_tracker(folder):
    """Returns the trackers of a run in a folder, TensorBoard alone: its files are in tb/."""
    return trackers_of(["tensorboard"], folder, "a")


def fill(trackers, number):
    trackers.begin_round(number)
    for step in (0, 25):
        trackers.step(step, {"loss/total": 1.0 / (step + 1), "contrast/speech-text": 2.0})
    trackers.scalars({"oof/macro_f1": 0.5, "test/macro_f1": None})
    trackers.by_class("oof/f1", ["anger", "joy"], [0.25, 0.75])
    bins = [{"confidence": c, "accuracy": a, "rows": n} for c, a, n in BINS]
    trackers.calibration("oof/calibration", bins, 0.07)
    trackers.confidences("pool/confidence", [0.2, 0.9, 0.99], [False, True, True])
    trackers.coverage("pool/precision", [0.1, 1.0], [1.0, 0.7])
    trackers.confusion("oof/confusion", [[3, 1], [0, 4]], ["anger", "joy"])
    trackers.class_mix("pool/mix", ["anger", "joy"], {"added": [3, 1], "gold": [5, 5]})
    trackers.audio("picks/joy a", np.sin(np.arange(1600) / 5), 16_000, "a: joy 0.99")
    trackers.points("fused", np.eye(3), {"label": ["x", "y\tz", "x"], "id": [1, 2, 3]})
    trackers.end_round()


def test_every_kind_of_thing_is_written(tmp_path):
    fill(open_tracker(tmp_path), 0)
    steps = read_events(tmp_path / "tb/round-00")
    assert [s for s, _ in steps["loss/total"]] == [0, 25]
    assert "contrast/speech-text" in steps
    found = {tag: kinds[0][1] for tag, kinds in read_events(tmp_path / "tb/rounds").items()}
    assert "test/macro_f1" not in found and {"oof/f1/anger", "oof/f1/joy"} <= found.keys()
    for tag in ("oof/calibration", "oof/confusion", "pool/precision", "pool/mix"):
        assert found[tag] == "image", tag
    assert found["pool/confidence"] == "histo"
    assert found["picks/joy a"] == "audio"


def test_projector_lists_its_points_with_labels_and_keeps_equal_points_once(tmp_path):
    trackers = open_tracker(tmp_path)
    for number in (0, 1):
        fill(trackers, number)
    home = tmp_path / "tb/rounds"
    contents = (home / "projector_config.pbtxt").read_text()
    assert re.findall('tensor_name: "(.*)"', contents) == ["fused round-00", "fused round-01"]
    (points,) = (home / "projector").glob("*.tsv")
    assert points.read_text().splitlines()[1] == "0\t1\t0"
    assert contents.count(f'tensor_path: "projector/{points.name}"') == 2
    columns = home / re.findall('metadata_path: "(.*)"', contents)[1]
    assert columns.read_text() == "label\tid\nx\t1\ny z\t2\nx\t3\n"


def test_a_round_begun_again_leaves_no_point_twice(tmp_path):
    trackers = open_tracker(tmp_path)
    fill(trackers, 0)
    fill(trackers, 1)
    trackers.begin_round(2)  # killed here: some points of round 2, nothing closed
    trackers.step(0, {"loss/total": 9.0})
    trackers.close()
    fill(open_tracker(tmp_path), 1)
    assert not (tmp_path / "tb/round-02").exists()
    assert [s for s, _ in read_events(tmp_path / "tb/round-01")["loss/total"]] == [0, 25]
    assert [s for s, _ in read_events(tmp_path / "tb/rounds")["oof/macro_f1"]] == [0, 1]
    assert len(list((tmp_path / "tb/rounds/projector").glob("round-*"))) == 2


def test_final_scores_stand_under_tags_of_their_own_at_the_round_that_ships(tmp_path):
    trackers = open_tracker(tmp_path)
    trackers.settings({"seed": 0, "layers": [1, 2]})
    fill(trackers, 0)
    trackers.final(3, {"oof/macro_f1": 0.4, "oof/waf": None})
    found = read_events(tmp_path / "tb/hparams")
    assert [s for s, _ in found["final/oof/macro_f1"]] == [3]
    curves = {tag for tag in read_events(tmp_path / "tb/rounds") if tag.startswith("oof/")}
    assert not curves & found.keys(), "the table of runs adds no point to a curve"


def test_final_scores_are_written_once_also_when_a_finished_run_is_resumed(tmp_path):
    for _ in range(2):
        trackers = open_tracker(tmp_path)
        trackers.final(0, {"macro_f1": 0.4})
        trackers.close()
    assert len(list((tmp_path / "tb/hparams").iterdir())) == 1


def test_a_picture_is_drawn_again_where_it_would_look_otherwise(tmp_path):
    trackers = open_tracker(tmp_path)
    for number, share in enumerate((0.50, 0.505, 0.51, 0.60, 0.60)):
        trackers.begin_round(number)
        trackers.coverage("pool/precision", [0.1, 1.0], [1.0, share])
        trackers.confusion("oof/confusion", [[3, 1], [0, number // 4]], ["anger", "joy"])
        trackers.end_round()
    found = read_events(tmp_path / "tb/rounds")
    assert [s for s, _ in found["pool/precision"]] == [0, 3]
    assert [s for s, _ in found["oof/confusion"]] == [0, 4]


def test_slow_drift_is_drawn_too(tmp_path):
    """Measured against what was drawn, not against the round before."""
    trackers = open_tracker(tmp_path)
    for number in range(7):
        trackers.begin_round(number)
        trackers.coverage("pool/precision", [1.0], [0.5 + 0.012 * number])
        trackers.end_round()
    assert [s for s, _ in read_events(tmp_path / "tb/rounds")["pool/precision"]] == [0, 2, 4, 6]


def test_no_tracker_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trackers = trackers_of([], tmp_path, "a")
    assert not trackers
    fill(trackers, 0)
    trackers.settings({})
    trackers.final(0, {})
    trackers.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("classes", [["기쁨", "슬픔"], ["anger"]])
def test_class_names_in_any_script_draw_without_a_warning(tmp_path, classes):
    trackers = open_tracker(tmp_path)
    trackers.begin_round(0)
    trackers.confusion("confusion", np.eye(len(classes)), classes)
    trackers.end_round()
    assert "confusion" in read_events(tmp_path / "tb/rounds")


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
    trackers = open_tracker(tmp_path)
    for number in (0, 1):
        trackers.begin_round(number)
        trackers.scalars({"test/macro_f1": 0.6 + number / 10})
        ends = {"macro_f1": (0.4, 0.75 + number / 10), "ccc": (float("nan"), float("nan"))}
        trackers.intervals("test", ends, "95 % intervals over 2 speakers")
        trackers.intervals("oof", {"uar": (float("nan"), 1.0)}, "95 % intervals over 1 row")
        trackers.end_round()
    read = read_rounds(tmp_path / "tb")
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
