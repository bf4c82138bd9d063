"""Valence and arousal: their scale, their rounds, their scores, and what must not be seen."""

import dataclasses

import numpy as np
import pytest
import torch
from task_settings import PLAIN, QUIET, settings, with_affect
from tiny_dataset import tiny_dataset

from pseudo_label import SelectionConfig
from semi.config.schema import load_config
from semi.data.manifest import load_manifest
from semi.errors import ManifestError
from semi.evaluation.multitask import affect_measured
from semi.self_training.rounds import run_rounds
from semi.self_training.targets import targets_of
from semi.training import teacher
from semi.training.affect_scale import affect_scale
from semi.training.fit import fit
from semi.training.initialisation import fresh_ensemble
from semi.training.rows import manifest_of_task
from semi.training.steps import FitConfig
from semi.training.teacher import answer, chain_affect


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
