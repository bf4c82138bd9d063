"""The pruning report: what it hears, what it measures, what it advises and why."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from tiny_speech import encoder, tiny

from models.encoders import SpeechConfig
from models.encoders.cost import operations
from models.encoders.flops import encoder_flops
from models.encoders.numerics import centred_cosine
from models.encoders.pruning import PruningConfig
from semi.cli import main
from semi.config.schema import load_config
from semi.errors import ConfigError
from semi.experiments.pruning.advice import (
    GoldLabels,
    Row,
    advise,
    failures,
    length_buckets,
    tabulate,
)
from semi.experiments.pruning.fidelity import linear_cka, neighbour_overlap, neighbours, out_of_fold
from semi.experiments.pruning.measure import Measured, sample
from semi.experiments.pruning.report import prune_report
from semi.experiments.pruning.settings import settings


def row(name="merge, keep 0.7, layer 3", **changes):
    whole = Row(name, "prune", "merge", 0.7, 3, "all", 500, 30.0, 1.3, 0.7, 0.99, 0.97, 0.9, 0.99,
                0.98, 80.0, -0.2, -1.0, 0.6, "10 groups")  # fmt: skip
    return replace(whole, **changes)


# --- which settings ---


def test_settings_are_unpruned_then_methods_by_layer_by_rate_then_earlier_stops():
    found = settings(SpeechConfig(), 12, ["merge", "stride"], [0.5, 0.7], [])
    names = [s.name for s in found]
    assert names[0] == "un-pruned"
    assert names[1:5] == [f"merge, keep {r}, layer {k}" for k in (3, 6) for r in (0.7, 0.5)]
    assert names[9:] == [f"stop after layer {k}" for k in range(4, 12)]
    assert [s.last for s in found[9:]] == list(range(4, 12))
    assert found[1].override == (
        "encoders.speech.pruning={method: merge, keep_rate: 0.7, layer: 3}"
    )  # fmt: skip
    assert found[9].override == "encoders.speech.layers=[4]"


def test_settings_follow_the_layers_in_use_and_hold_the_users_own_pruning():
    base = SpeechConfig(layers=[4, 6], pruning=PruningConfig("topk", 0.6, layer=5))
    found = settings(base, 12, ["merge"], [0.7], [1, 5, 6, 9])
    assert [s.name for s in found] == [
        "un-pruned", "merge, keep 0.7, layer 1", "merge, keep 0.7, layer 5",
        "topk, keep 0.6, layer 5", "stop after layer 2", "stop after layer 3",
        "stop after layer 4", "stop after layer 5",
    ]  # fmt: skip
    assert found[-1].config.layers == [4, 5] and found[-2].config.layers == [4]
    assert not found[0].config.pruning.active and not found[-1].config.pruning.active


# --- the sample ---


def test_the_sample_is_spread_over_the_lengths_and_takes_labelled_rows_first():
    seconds = np.random.default_rng(0).permutation(1000).astype(float)
    chosen = sample(seconds, np.zeros(1000, bool), 100, 0)
    assert len(set(chosen.tolist())) == 100
    assert (np.histogram(seconds[chosen], 10, (0, 1000))[0] == 10).all()
    assert sample(seconds, np.zeros(1000, bool), 100, 0).tolist() == chosen.tolist()
    labelled = np.arange(1000) < 40
    chosen = sample(seconds, labelled, 100, 0)
    assert set(range(40)) < set(chosen.tolist()) and len(set(chosen.tolist())) == 100
    assert len(sample(seconds, labelled, 5000, 0)) == 1000


# --- fidelity ---


def test_fidelity_of_a_set_to_itself_and_to_a_turned_one():
    x = np.random.default_rng(0).normal(size=(60, 8)) + 5
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    assert centred_cosine(x, 3 * x + 1) == pytest.approx(1)
    assert linear_cka(x, 2 * x @ turn + 7) == pytest.approx(1)
    other = np.random.default_rng(2).normal(size=(60, 8))
    assert linear_cka(x, other) < 0.4
    near = neighbours(x)
    centred = x - x.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    for i in range(60):
        order = [j for j in np.argsort(-centred @ centred[i]) if j != i]
        assert set(near[i]) == set(order[:10])
    assert (neighbour_overlap(near, near) == 1).all()
    assert neighbour_overlap(near, neighbours(other)).mean() < 0.5


def test_rows_are_predicted_by_models_that_have_not_seen_them_nor_hidden_labels():
    random = np.random.default_rng(0)
    x, label = random.normal(size=(40, 3)), np.arange(40) // 4 % 2
    x[:, 0] += 6 * label
    fold = np.arange(40) % 4
    fold[30:] = -1
    predicted = out_of_fold(x, label, fold)
    assert (predicted == label).mean() > 0.9
    hidden = np.where(fold < 0, 1 - label, label)
    assert (out_of_fold(x, hidden, fold) == predicted).all()
    flipped = np.where(fold == 0, 1 - label, label)
    same = fold == 0  # their own labels play no part in what is predicted for them
    assert (out_of_fold(x, flipped, fold)[same] == predicted[same]).all()


# --- cost ---


@pytest.mark.parametrize("name", ["hubert-base", "whisper"])
def test_operations_are_what_pytorch_counts(name):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    speech = encoder(tiny(name))
    wave = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    speech.backbone.frames_first = speech.backbone.folds_norm = (
        False  # the fast front end does a little more, uncounted here
    )
    for last in (1, 3):
        counter = FlopCounterMode(display=False)  # it counts no fused attention on a CPU
        with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            rows = speech.backbone.prepare(torch.from_numpy(wave))[None]
            list(speech.backbone(rows, [rows.shape[-1]], last=last))
        told = operations(speech.backbone, 32_000, last=last)
        assert told == pytest.approx(counter.get_total_flops(), rel=0.02)
    pruned = operations(
        speech.backbone, 32_000, last=3, pruning=PruningConfig("merge", 0.5, layer=0)
    )
    assert pruned < told
    assert encoder_flops(100, width=24, depth=3, ffn=32) < told


# --- advice ---


def measured(n=500):
    return Measured([], np.zeros(0), np.zeros(0), np.ones(n), np.arange(n), [])


def table_of(*names_and_rows):
    every = settings(SpeechConfig(), 12, ["merge"], [0.7], [3])
    by = {s.name: s for s in every}
    full = row("un-pruned", kind="full", speedup=1.0, flops=1.0, change=0.0, change_low=0.0,
               change_high=0.0)  # fmt: skip
    rows = [full, *names_and_rows]
    return [by[r.setting] for r in rows], rows


def stop(layer=6, **changes):
    whole = row(f"stop after layer {layer}", kind="stop", layer=layer, flops=0.7,
                cosine=np.nan, cosine_p05=np.nan, agreement=0.9)  # fmt: skip
    return replace(whole, **changes)


def test_a_setting_that_passes_every_check_is_recommended_with_its_figures():
    advice = advise(*table_of(row(), stop(change=-4.0, change_high=-1.0)), measured())
    assert advice.kind == "prune"
    assert advice.sentences[0] == (
        "Prune: encoders.speech.pruning={method: merge, keep_rate: 0.7, layer: 3}"
    )
    assert "1.30 x as fast (30 s of sound per second)" in advice.sentences[1]
    assert "Stopping early at about the same cost (stop after layer 6" in advice.sentences[2]
    assert "meant for 500" not in str(advice)
    every, rows = table_of(row())
    rows[0] = replace(rows[0], utterances=60)
    assert "meant for 500 utterances; these are 60" in str(advise(every, rows, measured(60)))
    rows[0] = replace(rows[0], utterances=3)
    few = advise(every, rows, measured(3))
    assert few.kind == "nothing" and few.setting is None
    assert few.sentences[0].startswith("No advice: 3 utterances are too few, 30 are the least")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cosine": 0.97}, "centred cosine 0.970 is below 0.98"),
        ({"cosine_p05": 0.9}, "5th percentile of the cosine 0.900 is below 0.95"),
        ({"overlap": 0.7}, "only 70 % of the nearest neighbours stay (80 % needed)"),
        ({"cka": 0.9}, "linear CKA 0.900 is below 0.98"),
        ({"agreement": 0.95}, "only 95.0 % of the predictions stay (97 % needed)"),
        ({"change": -3.0, "change_low": -5.0, "change_high": -1.0},
         "macro-F1 changes by -3.0 points [-5.0, -1.0] over 10 groups, which excludes 0"),
        ({"speedup": 1.02}, "measured speed is 1.02 x un-pruned (1.05 x needed"),
    ],
)  # fmt: skip
def test_one_failed_check_is_enough_against_pruning_and_is_named(changes, reason):
    assert failures([row()]) == []
    advice = advise(*table_of(row(**changes)), measured())
    assert advice.kind == "nothing"
    assert advice.sentences[0] == "Do not prune: none of 1 setting passes every check."
    assert reason in advice.sentences[1]


def test_a_length_bucket_can_fail_alone():
    short = row(bucket="up to 1.0 s", cosine=0.9)
    assert failures([row(), short]) == [
        "centred cosine 0.900 is below 0.98 on sounds of up to 1.0 s"
    ]


def test_stopping_early_is_advised_where_it_is_the_better_buy():
    advice = advise(*table_of(row(), stop(speedup=1.6, change=1.0)), measured())
    assert advice.kind == "stop"
    assert advice.sentences[0] == (
        "Stop earlier instead of pruning: encoders.speech.layers=[6]"
    )  # fmt: skip
    worse = stop(speedup=1.6, change=-3.0, change_high=-1.0)
    assert advise(*table_of(row(), worse), measured()).kind == "prune"
    advice = advise(*table_of(row(cosine=0.5), stop(speedup=1.6, change=1.0)), measured())
    assert advice.kind == "stop" and "Do not prune" in str(advice)


def test_without_labels_nothing_is_claimed_of_accuracy():
    blank = dict.fromkeys(("agreement", "macro_f1", "change", "change_low", "change_high"), np.nan)
    every, rows = table_of(row(**blank), stop(speedup=2.0, **blank))
    rows[0] = replace(rows[0], **blank)
    advice = advise(every, rows, measured())
    assert advice.kind == "prune"
    assert "nothing is known of macro-F1, and stopping early cannot be judged" in str(advice)


def test_lengths_fall_into_thirds():
    seconds = np.linspace(1, 10, 90)
    found = length_buckets(seconds)
    assert list(found) == ["all", "up to 4.0 s", "4.0 to 7.0 s", "over 7.0 s"]
    assert [int(here.sum()) for here in found.values()] == [90, 30, 30, 30]
    assert list(length_buckets(np.ones(90))) == ["all"]


def test_the_change_of_macro_f1_is_scikit_learns_difference():
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    label, fold, group = np.arange(60) % 3, np.arange(60) // 3 % 4, np.arange(60) // 3 % 8
    x = np.eye(3)[label] + random.normal(0, 0.9, (60, 3))
    y = x + random.normal(0, 0.9, (60, 3))
    every = settings(SpeechConfig(), 12, ["merge"], [0.7], [3])[:2]
    took = np.ones((2, 60))
    done = Measured([x, y], took, took, np.linspace(1, 2, 60), np.arange(60), [])
    rows = tabulate(every, done, GoldLabels(label, fold, group))
    whole = [r for r in rows if r.bucket == "all"]
    scores = [100 * f1_score(label, out_of_fold(v, label, fold), average="macro") for v in (x, y)]
    assert [r.macro_f1 for r in whole] == pytest.approx(scores)
    assert whole[1].change == pytest.approx(scores[1] - scores[0])
    assert whole[1].change_low < whole[1].change < whole[1].change_high
    assert whole[1].change_words().endswith("] over 8 groups")
    assert (whole[0].change_low, whole[0].change_high) == (0, 0)
    assert whole[0].agreement == 1 and whole[0].change == 0


# --- the whole ---


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """40 tones of two classes and 5 speakers, 8 of them test; a tiny Whisper."""
    folder = tmp_path_factory.mktemp("prune")
    tiny("whisper").save_pretrained(folder / "model")
    random, rows = np.random.default_rng(0), []
    for i in range(40):
        time = np.arange(8_000 + 400 * i) / 16_000
        wave = 0.2 * np.sin(2 * np.pi * (200 + 900 * (i % 2)) * time)
        soundfile.write(folder / f"{i}.wav", wave + 0.02 * random.normal(size=len(time)), 16_000)
        rows.append((f"u{i}", f"{i}.wav", ["low", "high"][i % 2], f"s{i // 2 % 5}"))
    (folder / "37.wav").write_bytes(b"no sound")
    table = pd.DataFrame(rows, columns=["id", "audio", "label", "speaker"])
    table.to_csv(folder / "manifest.csv", index=False)
    table.drop(columns="label").to_csv(folder / "unlabelled.csv", index=False)
    return folder


def words(data, out, manifest="manifest.csv"):
    return [
        "name=t", f"runs_dir={out}", f"data.manifest={data / manifest}", "threads=1",
        f"encoders.speech.model={data / 'model'}", "encoders.text.model=none", "train.folds=3",
        "data.test_groups=[s4]", "encoders.speech.pruning.k_min=4",
    ]  # fmt: skip


def test_the_command_writes_a_table_a_plot_and_a_page_and_says_what_to_do(data, tmp_path, capsys):
    options = ["--methods", "merge", "--keep", "0.5", "--layers", "1"]
    assert main(["prune-report", *words(data, tmp_path), *options]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(tmp_path / "t-prune" / "report.html")
    assert "prune-report:" in err and "s of sound" in err
    table = pd.read_csv(tmp_path / "t-prune" / "table.csv")
    whole = table[table.bucket == "all"].set_index("setting")
    assert list(whole.index) == [
        "un-pruned", "merge, keep 0.5, layer 1", "stop after layer 1", "stop after layer 2",
    ]  # fmt: skip
    assert (whole.utterances == 31).all()  # 8 of the test speaker, 1 that cannot be read
    assert set(table.bucket) > {"all"} and len(set(table.bucket)) == 4
    assert whole.flops.is_monotonic_decreasing is False and whole.flops.iloc[1] < 1
    assert whole.cosine.iloc[0] == pytest.approx(1) and 0 < whole.cosine.iloc[1] < 1
    assert whole.change.notna().all() and (whole.audio_per_second > 0).all()
    page = (tmp_path / "t-prune" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page and "merge, keep 0.5, layer 1" in page
    assert "1 sound was left out (u37: unreadable" in page
    assert (tmp_path / "t-prune" / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert "| un-pruned |" in (tmp_path / "t-prune" / "table.md").read_text(encoding="utf-8")


def test_it_works_without_labels_and_counts_what_it_is_told(data, tmp_path):
    config = load_config(None, words(data, tmp_path, "unlabelled.csv"))
    report = prune_report(
        config, utterances=100, methods=["stride"], keep_rates=[0.6], progress=False
    )
    assert {r.utterances for r in report.rows if r.bucket == "all"} == {39}
    assert all(np.isnan(r.macro_f1) for r in report.rows)
    assert "Without labels nothing is known of macro-F1" in str(report)


@pytest.mark.parametrize(
    ("more", "options", "sentence"),
    [
        (["encoders.speech.model=acoustic"], {}, "needs a pretrained speech encoder"),
        ([], {"methods": ["merg"]}, "got 'merg'; did you mean 'merge'?"),
        ([], {"keep_rates": [1.5]}, r"keep rates must be in \(0, 1\), got 1.5"),
        ([], {"layers": [3]}, r"layers must be in 0 ... 2 .*, got 3"),
        ([], {"utterances": 1}, "utterances must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(data, tmp_path, more, options, sentence):
    config = load_config(None, [*words(data, tmp_path), *more])
    with pytest.raises(ConfigError, match=sentence):
        prune_report(config, progress=False, **options)
