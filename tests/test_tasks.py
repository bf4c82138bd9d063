"""Several labels a row, settings that do not fit a task, and sequences."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from task_settings import settings, with_several
from tiny_dataset import tiny_dataset

from models.fusion import FusionConfig
from noise import NoiseConfig
from pseudo_label import SelectionConfig
from semi.config.schema import load_config
from semi.errors import ConfigError
from semi.evaluation.multitask import multi_measured
from semi.features.sequences import sequences
from semi.features.tensors import Frames
from semi.self_training.rounds import run_rounds
from semi.training.teacher import answer, chain_logits


def test_several_labels_are_learned_voted_and_measured():
    dataset, config = with_several(tiny_dataset(spread=3.0)), settings("multi_label")
    final = run_rounds(dataset, config).final
    assert final.metric > 0.7
    values = {m: v[dataset.test] for m, v in dataset.values.items()}
    said = answer(final.ensemble, final.outputs.voter, values, dataset.present[dataset.test], 4)
    counts = (said.probs >= 0.5).sum(1)
    assert counts.max() >= 2  # more than one label can be given
    assert not torch.allclose(said.probs.sum(1), torch.ones(len(counts)))


def test_calibration_of_several_labels_is_saved_whole():
    dataset, config = with_several(tiny_dataset()), settings("multi_label", steps=5)
    voter = run_rounds(dataset, config).final.outputs.voter
    again = type(voter).from_state(voter.state_dict())
    logits = torch.randn(len(voter.heads), 5, 3)
    assert again.multi and torch.equal(again.by_head(logits), voter.by_head(logits))


def test_scores_of_several_labels_equal_scikit_learns():
    rng = np.random.default_rng(0)
    truth, probs = (rng.random((60, 4)) < 0.4).astype(int), rng.random((60, 4))
    truth[:3], probs[:2] = 0, 0.1
    group = np.arange(60) % 6
    found = multi_measured(probs, truth, group, list("abcd"))
    said = (probs >= 0.5).astype(int)
    for name, average in (("macro_f1", "macro"), ("micro_f1", "micro"), ("sample_f1", "samples")):
        # a row without any label that is given none is right; scikit-learn asks what it counts
        expected = f1_score(
            truth, said, average=average, zero_division=1 if average == "samples" else 0
        )
        assert found[name] == pytest.approx(expected)
        interval = found["intervals"][name]
        assert interval["low"] <= found[name] <= interval["high"] and interval["units"] == 6


def test_rounds_of_several_labels_take_decided_rows_only_up_to_the_coverage():
    dataset = with_several(tiny_dataset(spread=3.0))
    config = settings("multi_label", rounds=1)
    config.select = SelectionConfig(rule="threshold", threshold=0.7, coverage=[0.4])
    config.rounds.accept_se = 99
    state = run_rounds(dataset, config).states[1]
    chosen = state.pseudo_labels.chosen[-1]
    assert 0 < chosen.sum() <= np.ceil(0.4 * len(dataset.pool))
    sure = torch.maximum(state.pseudo_labels.probs, 1 - state.pseudo_labels.probs)[chosen]
    assert (sure >= 0.7).all()
    assert (state.pseudo_labels.weight[-1][~chosen] == 0).all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["task.kind=both"], "kind must be one of single, multi_label, affect"),
        (["task.kind=multi_label", "recipe=none"], "data.ties: must be votes for task.kind multi"),
        (["task.kind=multi_label", "data.ties=drop"], "data.ties: must be votes for task.kind mul"),
        (["task.kind=multi_label", "data.ties=votes", "train.loss=focal"], "train.loss: task.kind"),
        (["task.kind=affect", "recipe=none"], "train.imbalance: must be none for affect"),
        (["task.kind=affect", "rounds.metric=waf"], "rounds.metric: must be ccc for task.kind aff"),
        (["model.kind=ridge"], "ridge learns task.kind affect, which is single here; take another"),
        (["task.kind=affect", "model.kind=logistic"], "take another kind, such as ridge"),
        (["task.kind=joint", "train.batch=64"], "train.batch: must be at least 80"),
        (["model.affect=true"], "valence and arousal are learned by task.kind affect or joint"),
        (["rounds.metric=ccc"], "ccc is no metric of task.kind single"),
        (["encoders.speech.pooling=frames"], "contrastive only averages frames"),
        (["encoders.speech.reverse=true", "encoders.speech.model=precomputed"], "reverse needs wa"),
        (["contrast.intra=-1"], "intra must be >= 0"),
    ],
)
def test_settings_that_do_not_fit_the_task_are_refused_in_a_sentence(words, told):
    with pytest.raises(ConfigError) as error:
        load_config(None, ["data.manifest=m.csv", *words])
    assert told in str(error.value)


def test_long_sequences_are_averaged_down_and_short_ones_padded_with_nan():
    values = torch.arange(14.0)[:, None].repeat(1, 2)
    packed = Frames(values, torch.tensor([0, 10, 13, 13, 14]), torch.tensor([1, 1, 0, 1]).bool())
    made = sequences({"speech": packed}, 5)
    x = made.values["speech"]
    assert x.shape == (4, 5, 2)
    torch.testing.assert_close(x[0, :, 0], torch.tensor([0.5, 2.5, 4.5, 6.5, 8.5]))
    assert x[1].isnan().all(1).tolist() == [False] * 3 + [True] * 2
    assert x[2].isnan().all() and not made.present[2, 0]
    assert sequences({"speech": packed}, 1).values["speech"].shape == (4, 2)


def test_training_and_prediction_on_sequences_ignore_the_padding():
    dataset, config = tiny_dataset(spread=3.0), settings("single", steps=40)
    config.model = FusionConfig(kind="cross_attention", hidden=16)
    config.noise = NoiseConfig()
    frames = dataset.values["speech"][:, None].repeat(1, 3, 1)
    frames[::2, 2] = torch.nan
    short = dataclasses.replace(dataset, values={**dataset.values, "speech": frames})
    padding = torch.full_like(frames, torch.nan)
    long = dataclasses.replace(
        dataset, values={**dataset.values, "speech": torch.cat([frames, padding], 1)}
    )
    final = run_rounds(short, config).final
    assert final.metric > 0.8
    one, two = (chain_logits(final.ensemble, p.values, p.present, chains=4) for p in (short, long))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
