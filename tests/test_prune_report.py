"""The pruning report: what it hears, what it measures, and what it writes."""

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
from semi.experiments.pruning.fidelity import linear_cka, neighbour_overlap, neighbours, out_of_fold
from semi.experiments.pruning.measure import sample
from semi.experiments.pruning.report import prune_report
from semi.experiments.pruning.settings import settings


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
