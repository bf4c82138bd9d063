"""Several labels a row, valence and arousal, losses by configuration, mixup and sequences."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from tiny_dataset import tiny_config, tiny_dataset

from models.fusion import ContrastConfig, FusionConfig
from noise import NoiseConfig, draw_mix
from pseudo_label import SelectionConfig
from semi.config.schema import load_config
from semi.config.task import TaskConfig
from semi.config.training import LOSS_NAMES, RoundsConfig, TrainConfig
from semi.data.manifest import load_manifest
from semi.errors import ConfigError, ManifestError
from semi.evaluation.multitask import affect_measured, multi_measured
from semi.features.sequences import sequences
from semi.features.tensors import Frames
from semi.self_training.rounds import run_rounds
from semi.self_training.targets import targets_of
from semi.training import teacher
from semi.training.affect_scale import affect_scale
from semi.training.batches import StepRows, given_labels, mixed
from semi.training.dataset import Dataset
from semi.training.fit import fit
from semi.training.initialisation import fresh_ensemble
from semi.training.losses import LOSSES, LossContext, binary_cross_entropy
from semi.training.rows import manifest_of_task
from semi.training.steps import FitConfig
from semi.training.teacher import answer, chain_affect, chain_logits

QUIET = NoiseConfig(steps=0, impulse=0, dim_mask=0, modality_dropout=0)
PLAIN = ContrastConfig(
    modality=False, rest=False, noise=False, weight=0, weight_end=0, pretrain_steps=0
)


def with_affect(dataset: Dataset, noise=0.3) -> Dataset:
    """Returns the dataset whose classes differ in valence and arousal, on a scale of 1 to 5."""
    generator = torch.Generator().manual_seed(1)
    value = torch.stack([dataset.label + 1.0, 5 - 0.8 * dataset.label], 1)
    value = value + noise * torch.randn(value.shape, generator=generator)
    value[::13] = torch.nan
    return dataclasses.replace(dataset, affect=value)


def with_several(dataset: Dataset) -> Dataset:
    """Returns the dataset in which every third row is also of the next class."""
    several = torch.nn.functional.one_hot(dataset.label, len(dataset.classes)).float()
    several[::3] = (several[::3] + several[::3].roll(1, 1)).clamp(max=1)
    target = torch.zeros_like(several)
    target[dataset.gold] = several[dataset.gold]
    return dataclasses.replace(dataset, target=target, multi=several)


def settings(kind, *, rounds=0, steps=120, **train):
    metric = {"affect": "ccc", "joint": "ccc"}.get(kind, "macro_f1")
    config = tiny_config(
        noise=QUIET,
        contrast=PLAIN,
        train=TrainConfig(steps=steps, members=2, folds=3, imbalance="none", **train),
        rounds=RoundsConfig(max_rounds=rounds, metric=metric),
    )
    config.task = TaskConfig(kind)
    return config


# --- losses ---


def test_the_losses_are_those_that_the_settings_name():
    assert tuple(LOSSES) == LOSS_NAMES


@pytest.mark.parametrize("name", [*LOSSES, "binary"])
def test_a_row_of_weight_0_has_no_influence_on_any_loss(name):
    loss = LOSSES.get(name, binary_cross_entropy)
    torch.manual_seed(0)
    logits, rows = torch.randn(6, 3), torch.tensor([1.0, 0.5, 1.0, 0.0, 2.0, 0.0])
    target = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1, 2]), 3).float()
    context = LossContext(torch.tensor([4.0, 2.0, 1.0]))
    other, moved = logits.clone(), target.clone()
    other[3], moved[5] = 9.0, torch.tensor([1.0, 0, 0])
    assert loss(logits, target, rows, context) == loss(other, moved, rows, context)
    assert loss(logits, target, rows, context) != loss(logits, target, rows.roll(1), context)


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_learns_separable_classes(name):
    dataset, config = tiny_dataset(spread=3.0), settings("single", loss=name, steps=80)
    assert run_rounds(dataset, config).final.metric > 0.8


def test_a_wrong_loss_is_refused_by_name():
    with pytest.raises(ValueError, match=r"loss must be one of cross_entropy, focal, soft_f1, lda"):
        TrainConfig(loss="hinge")


def test_contrast_by_class_reads_no_held_out_label():
    dataset, config = tiny_dataset(), settings("single", steps=3, head_weight=0.0)
    config.contrast = dataclasses.replace(PLAIN, intra=0.5, inter=0.5)
    targets = targets_of(dataset, None, None)
    held = dataset.gold[dataset.fold == 0]
    target = targets.target.clone()
    target[:, held] = target[:, held].roll(1, dims=2)
    spoilt = dataclasses.replace(targets, target=target)
    off = settings("single", steps=3, head_weight=0.0)
    before, after, without = (
        fit(
            fresh_ensemble(dataset, c, {}), given, FitConfig([c.train], QUIET, c.contrast), seed=0
        ).params
        for c, given in ((config, targets), (config, spoilt), (off, targets))
    )
    name = "encoders.first.0.weight"
    assert torch.equal(before[name][:2], after[name][:2])
    assert not torch.equal(before[name][2:], after[name][2:])
    assert not torch.equal(before[name], without[name])


def test_contrast_by_class_reads_no_pseudo_label():
    known = torch.tensor([[0, 2, 1, 1], [-1, 2, 1, 0]])
    assert given_labels(known, 2).tolist() == [[0, 2, -1, -1], [-1, 2, -1, -1]]


# --- mixup ---


def test_mixup_blends_features_and_targets_alike_and_keeps_held_out_labels_out():
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(3))
    present = torch.ones(16, 1, dtype=torch.bool)
    present[3] = False
    target = torch.nn.functional.one_hot(torch.arange(8) % 4, 4).float().repeat(2, 1, 1)
    weight = torch.ones(2, 8)
    weight[0, :4] = 0  # held out of chain 0
    step = StepRows({"speech": torch.cat([x, 2 * x])}, present, target, weight, None)
    done = mixed(step, 1.0, torch.Generator().manual_seed(0))
    mix = draw_mix(8, 1.0, torch.Generator().manual_seed(0))
    alone = (mix.partner == 3) | (torch.arange(8) == 3)  # nothing to blend a missing row with
    share = torch.where(alone, 1.0, mix.share)[:, None]
    wanted = share * x + (1 - share) * x[mix.partner]
    torch.testing.assert_close(done.inputs["speech"], torch.cat([wanted, 2 * wanted]))
    torch.testing.assert_close(done.target, share * target + (1 - share) * target[:, mix.partner])
    kept = (mix.partner >= 4) | alone  # chain 0 may not learn from a blend with a held-out label
    kept[:4] = False
    assert (done.weight[0] > 0).tolist() == kept.tolist() and 0 < kept.sum() < 4
    assert (done.weight[1] == 1).all()


def test_mixup_trains():
    dataset, config = tiny_dataset(spread=3.0), settings("single")
    config.noise = dataclasses.replace(QUIET, mixup_alpha=0.4)
    assert run_rounds(dataset, config).final.metric > 0.8


# --- several labels a row ---


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


# --- valence and arousal ---


@pytest.mark.parametrize("kind", ["affect", "joint"])
def test_valence_and_arousal_are_learned_on_their_own_scale(kind):
    dataset, config = with_affect(tiny_dataset(spread=3.0)), settings(kind, batch=96, steps=200)
    final = run_rounds(dataset, config).final
    assert final.metric > 0.7
    values = {m: v[dataset.test] for m, v in dataset.values.items()}
    said = answer(final.ensemble, final.outputs.voter, values, dataset.present[dataset.test], 4)
    known = ~dataset.affect[dataset.test].isnan()
    error = (said.affect - dataset.affect[dataset.test])[known].abs().mean()
    assert error < 0.6


def test_answers_stay_within_the_values_of_the_chains_own_rows():
    dataset, config = with_affect(tiny_dataset()), settings("affect", batch=96, steps=5)
    dataset.affect[dataset.gold[dataset.fold == 0]] = 90.0  # chain 0 never sees them
    settled = FitConfig([config.train], QUIET, PLAIN, config.task)
    fresh = fresh_ensemble(dataset, config, {})
    done = fit(fresh, targets_of(dataset, None, None), settled, seed=0)
    wild = {m: 100 * v for m, v in dataset.values.items()}
    said = done.predict_logits(wild, dataset.present).affect
    gold = dataset.affect[dataset.gold]
    rest = gold[dataset.fold != 0]
    assert said[:2].max() <= rest[~rest.isnan()].max() + 1e-4 and said[2:].max() > 20
    assert said.min() >= gold[~gold.isnan()].min() - 1e-4


def test_a_chain_never_sees_valence_and_arousal_of_its_own_fold():
    dataset, config = with_affect(tiny_dataset()), settings("affect", batch=96, steps=5)
    spoilt = dataclasses.replace(dataset, affect=dataset.affect.clone())
    held = dataset.gold[dataset.fold == 0]
    spoilt.affect[held] += 100.0
    one, two = (
        fit(fresh_ensemble(p, config, {}), targets_of(p, None, None),
            FitConfig([config.train], QUIET, PLAIN, config.task), seed=0)
        for p in (dataset, spoilt)
    )  # fmt: skip
    for name, value in one.params.items():
        assert torch.equal(value[:2], two.params[name][:2]), name
    assert not torch.equal(one.params["affect_head.bias"][2:], two.params["affect_head.bias"][2:])


def test_hidden_and_test_values_change_nothing_that_is_learned():
    dataset, config = with_affect(tiny_dataset()), settings("affect", batch=96, steps=5, rounds=1)
    config.select = SelectionConfig(rule="spread", coverage=[0.5])
    spoilt = dataclasses.replace(dataset, affect=dataset.affect.clone())
    spoilt.affect[dataset.pool] = -7.0
    spoilt.affect[dataset.test] = 9.0
    one, two = (run_rounds(p, config) for p in (dataset, spoilt))
    assert [s.metric for s in one.states] == [s.metric for s in two.states]
    assert len(one.states) == 2 and one.states[1].pseudo_labels.chosen.any()


def test_the_scale_of_a_chain_is_of_its_training_rows():
    value = torch.tensor([[1.0, 2.0], [3.0, float("nan")], [100.0, 6.0]]).expand(2, -1, -1)
    weight = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    scale = affect_scale(value, weight)
    torch.testing.assert_close(scale.mean[0, 0], torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(scale.std[0, 0], torch.tensor([1.0, 1.0]))  # one value: left as is
    torch.testing.assert_close(scale.mean[1, 0, 1], torch.tensor(4.0))


def test_picked_values_spread_over_the_whole_range():
    dataset = with_affect(tiny_dataset(pool=90, spread=3.0))
    config = settings("affect", batch=96, rounds=1)
    config.select = SelectionConfig(rule="spread", coverage=[0.3])
    config.rounds.accept_se = 99
    outcome = run_rounds(dataset, config)
    teacher, pseudo_labels = outcome.states[0].outputs.affect, outcome.states[1].pseudo_labels
    said, chosen = teacher.pool[-1, :, 0], pseudo_labels.chosen[-1]
    third = len(said) // 3
    order = said.argsort()
    for part in (order[:third], order[-third:]):
        assert chosen[part].float().mean() > 0.15
    assert torch.equal(pseudo_labels.affect[-1], teacher.pool[-1])


def test_affect_metrics_hold_their_definitions_and_intervals():
    rng = np.random.default_rng(0)
    truth = rng.normal(3, 1, (200, 2))
    said = 0.8 * truth + rng.normal(0, 0.5, truth.shape)
    truth[:5, 0] = np.nan
    found = affect_measured(said, truth, np.arange(200) % 10)
    p, t = said[5:, 0], truth[5:, 0]
    ccc = 2 * np.cov(p, t, bias=True)[0, 1] / (p.var() + t.var() + (p.mean() - t.mean()) ** 2)
    assert found["valence"]["ccc"] == pytest.approx(ccc)
    interval = found["valence"]["intervals"]["ccc"]
    assert interval["low"] < ccc < interval["high"] and interval["value"] == pytest.approx(ccc)
    both = found["intervals"]["ccc"]
    assert both["value"] == pytest.approx(found["ccc"]) and both["units"] == 10
    assert found["valence"]["intervals"]["ccc"]["high"] <= 1.0


def values_manifest(tmp_path, rows):
    lines = [f"u{k},t {k},{v},{a}" for k, (v, a) in enumerate(rows)]
    (tmp_path / "v.csv").write_text("\n".join(["id,text,valence,arousal", *lines]))
    config = load_config(None, [f"data.manifest={tmp_path}/v.csv", "task.kind=affect",
                                "rounds.metric=ccc", "train.imbalance=none", "train.batch=128",
                                "rounds.max_rounds=0"])  # fmt: skip
    return manifest_of_task(load_manifest(config.data.manifest, config.data), config.task)


def test_strata_of_valence_and_arousal_are_never_of_a_few_rows(tmp_path):
    rows = [(k % 7, (3 * k) % 11) for k in range(200)]
    assert len(values_manifest(tmp_path, rows).classes) == 4
    rows[5] = ("", 9)  # one row without valence is no class of its own
    assert len(values_manifest(tmp_path, rows).classes) == 4
    alike = [(k, k) for k in range(60)]
    alike[3] = (0.5, 59)  # high arousal with low valence occurs once: halves of valence then
    made = values_manifest(tmp_path, alike)
    assert made.classes == ["high valence", "low valence"] and made.table["label"].notna().all()
    with pytest.raises(ManifestError, match="needs rows that differ in valence or arousal"):
        values_manifest(tmp_path, [("", "")] * 9)


# --- what does not fit is refused ---


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


# --- sequences ---


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


def test_valence_and_arousal_of_a_pool_are_asked_for_a_few_rows_at_a_time(monkeypatch):
    dataset, config = with_affect(tiny_dataset()), settings("affect", batch=96, steps=2)
    ensemble = fresh_ensemble(dataset, config, {})
    whole = chain_affect(ensemble, dataset.values, dataset.present, 4)
    real, asked = ensemble.predict_logits, []

    def few(values, present):
        asked.append(len(present))
        return real(values, present)

    monkeypatch.setattr(ensemble, "predict_logits", few)
    monkeypatch.setattr(teacher, "ASKED_AT_ONCE", 7)
    outputs = teacher.teacher_outputs(dataset, ensemble, config.vote, config.task)
    assert max(asked) == 7 and outputs.affect is not None
    found = (outputs.affect.pool, outputs.affect.pool_spread)
    for ours, expected in zip(found, whole, strict=True):
        torch.testing.assert_close(ours, expected[:, dataset.pool], atol=1e-6, rtol=1e-5)


def test_chain_affect_without_rows_is_empty():
    dataset, config = with_affect(tiny_dataset()), settings("affect", batch=96, steps=2)
    ensemble = fresh_ensemble(dataset, config, {})
    none = {m: v[:0] for m, v in dataset.values.items()}
    mean, spread = chain_affect(ensemble, none, dataset.present[:0], 4)
    assert mean.shape == spread.shape == (4, 0, 2)
