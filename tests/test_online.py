"""The engine online: the formulas step by step, chains stay blind, one gated round, refusals."""

import dataclasses

import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

from models.fusion import ContrastConfig, FusionConfig
from noise import NoiseConfig
from pseudo_label import SelectionConfig
from semi.config.schema import load_config
from semi.config.training import RoundsConfig, TrainConfig
from semi.errors import ConfigError
from semi.self_training.rounds import run_rounds, targets_of, trained, warm_start
from semi.training.consistency import MOMENTUM, consistency, online_of
from semi.training.initialisation import learned_start

PRIOR = torch.tensor([0.6, 0.3, 0.1])
RULES = ("threshold", "softmatch", "adamatch")
PLAIN = ContrastConfig(weight=0.0, weight_end=0.0, pretrain_steps=0)


def settings(rule="adamatch", gamma=0.5, **sections):
    select = SelectionConfig(rule=rule, align_gamma=gamma)
    config = tiny_config(select=select, rounds=RoundsConfig(max_rounds=3, engine="online"))
    config.contrast = PLAIN
    for name, value in sections.items():
        setattr(config, name, value)
    return config


def mean_of(xs, m):
    """Returns the bias-corrected moving average of a list, by its definition."""
    share = [(1 - m) * m ** (len(xs) - 1 - i) for i in range(len(xs))]
    return sum(s * x for s, x in zip(share, xs, strict=True)) / sum(share)


@pytest.mark.parametrize("gamma", [None, 0.5])
@pytest.mark.parametrize("rule", RULES)
def test_every_step_equals_the_formula(rule, gamma):
    select = SelectionConfig(rule=rule, align_gamma=gamma, threshold=0.7)
    online = online_of(select, PRIOR)
    state = {k: v[0] for k, v in online.start(1, 3, torch.device("cpu")).items()}
    draw = torch.Generator().manual_seed(0)
    gold = torch.tensor([0.5, 0.0, 0.5, 0.25])
    means, golds, mus, variances = [], [], [], []
    for _ in range(4):
        clean, noisy = (2 * torch.randn(n, 3, generator=draw) for n in (10, 6))
        loss, taken, state = consistency(clean, noisy, gold, state, online)
        p, known = clean[4:].softmax(1), clean[:4].softmax(1)[gold > 0]
        means.append(p.mean(0))
        golds.append(known.mean(0))
        if gamma is not None:
            p = p * PRIOR**0.5 / mean_of(means, MOMENTUM)
        elif rule == "adamatch":
            p = p * (mean_of(golds, 0.97) + 1e-6) / (mean_of(means, 0.97) + 1e-6)
        p = p / p.sum(1, keepdim=True)
        top, label = p.max(1)
        mus.append(top.mean())
        variances.append(top.var())
        if rule == "threshold":
            weight = (top >= 0.7).float()
        elif rule == "adamatch":
            weight = (top >= 0.9 * known.amax(1).mean()).float()
        else:
            below = (top - mean_of(mus, 0.97)).clamp(max=0)
            weight = (-(below**2) / (2 * mean_of(variances, 0.97) / 4)).exp()
        each = torch.nn.functional.cross_entropy(noisy, label, reduction="none")
        assert float(loss) == pytest.approx(float((weight * each).mean()), rel=1e-4)
        assert float(taken) == pytest.approx(float(weight.mean()), rel=1e-4)


def test_no_gradient_flows_into_the_clean_view():
    online = online_of(SelectionConfig(rule="softmatch"), PRIOR)
    state = {k: v[0] for k, v in online.start(1, 3, torch.device("cpu")).items()}
    clean, noisy = (torch.randn(n, 3, requires_grad=True) for n in (6, 4))
    consistency(clean, noisy, torch.ones(2), state, online)[0].backward()
    assert clean.grad is None and float(noisy.grad.abs().sum()) > 0


@pytest.mark.parametrize("rule", RULES)
def test_a_round_learns_from_the_pool_is_gated_and_is_the_only_one(rule):
    dataset, seen = tiny_dataset(spread=2.0), []
    config = settings(rule, train=TrainConfig(steps=60, batch=16, members=2, folds=3))
    config.select.threshold = 0.6
    config.noise = NoiseConfig(modality_dropout=0.0)
    told = lambda number: lambda step, parts: seen.append((number, parts))  # noqa: E731
    outcome = run_rounds(dataset, config, on_step=told)
    assert len(outcome.states) == 2
    state = outcome.states[1]
    assert outcome.stopped == ("no_change" if state.accepted else "gate")
    assert "out-of-fold" in state.verdict and state.pseudo_labels.chosen[-1].any()
    late = [parts for number, parts in seen if number == 1][-1]
    assert late["online"] > 0 and 0 < late["online/taken"] <= 1
    assert not any(k.startswith("state/") for k in late)
    right = (state.pseudo_labels.label[-1] == dataset.label[dataset.pool]).float().mean()
    assert right > 0.7


def test_the_gate_rolls_it_back(monkeypatch):
    import semi.self_training.rounds as home

    def refuse(state, best, config):
        state.accepted, state.verdict = False, "rolled back"

    monkeypatch.setattr(home, "gate", refuse)
    outcome = run_rounds(tiny_dataset(), settings())
    assert outcome.stopped == "gate" and outcome.final.number == 0


def test_a_chain_is_blind_to_its_fold_and_hidden_labels_change_nothing():
    dataset, config = tiny_dataset(), settings()
    config.train = dataclasses.replace(config.train, imbalance="none")
    before = trained(dataset, config, {}, 1, None, online=True)
    hidden = dataclasses.replace(dataset, label=dataset.label.clone())
    hidden.label[dataset.pool] = 0
    after = trained(hidden, config, {}, 1, None, online=True)
    for name, value in before.ensemble.params.items():
        assert torch.equal(value, after.ensemble.params[name])
    held = dataset.gold[dataset.fold == 0]
    spoilt = dataclasses.replace(dataset, target=dataset.target.clone())
    spoilt.target[held] = dataset.target[held].roll(1, dims=1)  # class shares stay as they are
    after = trained(spoilt, config, {}, 1, None, online=True)
    members = config.train.members
    for name, value in before.ensemble.params.items():
        assert torch.equal(value[:members], after.ensemble.params[name][:members])
        if name == "head.weight":
            assert not torch.equal(value[members:], after.ensemble.params[name][members:])


def test_offline_training_is_what_it_was():
    dataset = tiny_dataset()
    targets = targets_of(dataset, None, None)
    assert targets.online is None and RoundsConfig().engine == "offline"
    one, two = (warm_start(dataset, settings(rule), {}) for rule in ("threshold", "softmatch"))
    assert torch.equal(one.ensemble.params["head.weight"], two.ensemble.params["head.weight"])


@pytest.mark.parametrize(
    "words, told",
    [
        (["select.rule=class_topk"], "by select.rule threshold, softmatch, adamatch, not by class"),
        (["select.rule=adamatch", "model.kind=discriminant"], "discriminant is solved at once"),
        (["select.rule=adamatch", "noise.mixup_alpha=0.2"], "set noise.mixup_alpha to 0, got 0.2"),
    ],
)
def test_what_it_cannot_do_is_refused(words, told):
    with pytest.raises(ConfigError, match=told):
        load_config(None, ["data.manifest=x.csv", "rounds.engine=online", *words])


def test_it_is_refused_without_a_file_of_settings_too():
    dataset, config = tiny_dataset(), settings(model=FusionConfig(kind="logistic"))
    assert learned_start(dataset, config)
    with pytest.raises(ValueError, match=r"rounds\.engine online .* logistic is solved at once"):
        run_rounds(dataset, config)
    with pytest.raises(ValueError, match="engine must be one of offline, online, got 'both'"):
        RoundsConfig(engine="both")
