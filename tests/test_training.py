"""The batched training program: equal to training each member alone, and blind to held-out gold."""

import dataclasses

import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

from models.fusion import ContrastConfig, FusionConfig, build_fusion
from noise import NoiseConfig
from semi.config.training import TrainConfig
from semi.self_training.targets import targets_of
from semi.training.ensemble import Ensemble
from semi.training.fit import fit, needs_twins
from semi.training.initialisation import fresh_ensemble
from semi.training.objective import NO_CONTEXT, ObjectiveConfig
from semi.training.optim import MemberAdamW, clip_members, learning_rate
from semi.training.steps import FitConfig

PLAIN = ContrastConfig(modality=False, rest=False, noise=False, weight=0.0, weight_end=0.0)


def trained(dataset, config, ensemble=None, **targets):
    given = targets_of(dataset, None, None)
    given = dataclasses.replace(given, **targets)
    start = ensemble or fresh_ensemble(dataset, config, {})
    return fit(start, given, FitConfig.of(config), seed=config.seed)


@pytest.mark.parametrize("contrast", [PLAIN, ContrastConfig()])
def test_all_members_at_once_equal_one_after_another(contrast):
    dataset = tiny_dataset()
    config = tiny_config(model=FusionConfig(hidden=16, projection=8, dropout=0.0))
    config.contrast = contrast
    together = trained(dataset, config)
    given = targets_of(dataset, None, None)
    start = fresh_ensemble(dataset, config, {})
    for member in range(together.count):
        chain = member // config.train.members
        alone = dataclasses.replace(
            given,
            target=given.target[[chain]],
            weight=given.weight[[chain]],
        )
        # the last chain's targets are those of all gold rows, whatever the chain
        one = fit(start.select([member]), alone, FitConfig.of(config), seed=config.seed)
        for name, value in one.params.items():
            torch.testing.assert_close(value[0], together.params[name][member], rtol=0, atol=1e-5)


def test_settings_trained_at_once_are_refused_where_they_cannot_be():
    dataset, config = tiny_dataset(), tiny_config()
    given, start = targets_of(dataset, None, None), fresh_ensemble(dataset, config, {})
    for many, change, told in (
        (len(given.target), {"clip": 0.5}, "may differ in lr, warmup, weight_decay, label_smooth"),
        (len(given.target) + 1, {}, "equal parts of"),
    ):
        configs = [config.train] * (many - 1) + [dataclasses.replace(config.train, **change)]
        with pytest.raises(ValueError, match=told):
            fit(start, given, FitConfig.of(config, train=configs), seed=0)


@pytest.mark.parametrize("kind", ["attention", "contrastive", "misa"])
def test_noisy_twins_that_teach_nothing_change_nothing(kind, monkeypatch):
    """Without dropout: the twins' rows would have drawn from the same generator."""
    dataset, config = tiny_dataset(), tiny_config()
    config.model = FusionConfig(kind=kind, hidden=16, projection=8, dropout=0.0)
    config.train = dataclasses.replace(config.train, noisy_share=0.0, imbalance="none")
    config.contrast = PLAIN
    start = fresh_ensemble(dataset, config, {})
    seen = []
    model = type(start.template)
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda self, x, here: (seen.append(len(here)), forward(self, x, here))[1]
    )
    without = trained(dataset, config, start)
    rows = set(seen)
    monkeypatch.setattr("semi.training.fit.needs_twins", lambda *_: True)
    seen.clear()
    beside = trained(dataset, config, start)
    assert set(seen) == {2 * n for n in rows} and len(rows) == 1
    for name, value in beside.params.items():
        torch.testing.assert_close(without.params[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "train", "contrast", "twins"),
    [
        ("attention", {"noisy_share": 0.0}, ContrastConfig(), False),
        ("attention", {"noisy_share": 0.1}, PLAIN, True),
        ("contrastive", {"noisy_share": 0.0}, PLAIN, False),
        ("contrastive", {"noisy_share": 0.0}, ContrastConfig(weight=0.0), True),
    ],
)
def test_noisy_twins_are_made_where_something_is_learned_from_them(kind, train, contrast, twins):
    dataset, config = tiny_dataset(), tiny_config()
    config.model = dataclasses.replace(config.model, kind=kind)
    model = fresh_ensemble(dataset, config, {}).template
    config = ObjectiveConfig(TrainConfig(**train), NO_CONTEXT)
    assert needs_twins(config, contrast, model) is twins


def test_members_step_as_torch_steps_each_of_them_at_its_own_rate_and_decay():
    configs = [TrainConfig(lr=0.1, weight_decay=0.5), TrainConfig(lr=0.02, warmup=0.5)]
    configs = [dataclasses.replace(config, steps=6) for config in configs]
    generator = torch.Generator().manual_seed(0)
    shapes = {"matrix": (4, 3, 2), "bias": (4, 3), "idle": (4, 2)}
    params = {k: torch.randn(v, generator=generator).requires_grad_() for k, v in shapes.items()}
    alone = {
        k: [v[e].detach().clone().requires_grad_() for e in range(4)] for k, v in params.items()
    }
    theirs = [
        torch.optim.AdamW([
            {"params": [alone["matrix"][e]], "weight_decay": configs[e // 2].weight_decay},
            {"params": [alone["bias"][e], alone["idle"][e]], "weight_decay": 0.0},
        ])
        for e in range(4)
    ]  # fmt: skip
    ours = MemberAdamW(list(params.values()), configs)
    for step in range(6):
        ours.zero_grad()
        for name in ("matrix", "bias"):
            params[name].grad = torch.randn(shapes[name], generator=generator)
            for e in range(4):
                alone[name][e].grad = params[name].grad[e].clone()
        ours.step(torch.tensor([step]))
        for e, optimizer in enumerate(theirs):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, 6, configs[e // 2])
            optimizer.step()
    for name, value in params.items():
        torch.testing.assert_close(value, torch.stack(alone[name]))


def test_clipping_never_mixes_members():
    grads = [torch.tensor([[3.0, 4.0], [0.3, 0.4]]), torch.zeros(2, 5)]
    clip_members(grads, 1.0)
    torch.testing.assert_close(grads[0], torch.tensor([[0.6, 0.8], [0.3, 0.4]]), atol=1e-5, rtol=0)


def test_a_chain_never_sees_the_labels_of_its_own_fold():
    dataset, config = tiny_dataset(), tiny_config(contrast=ContrastConfig())
    config.train = dataclasses.replace(config.train, imbalance="none")
    before = trained(dataset, config)
    held = dataset.gold[dataset.fold == 0]
    spoilt = dataclasses.replace(dataset, target=dataset.target.clone())
    spoilt.target[held] = dataset.target[held].roll(1, dims=1)
    after = trained(spoilt, config)
    members = config.train.members
    for name, value in before.params.items():
        torch.testing.assert_close(value[:members], after.params[name][:members], rtol=0, atol=0)
    head = before.params["head.weight"]
    assert not torch.equal(head[members:], after.params["head.weight"][members:])


def test_the_same_seed_gives_the_same_bits_and_the_start_stays_untouched():
    dataset, config = tiny_dataset(), tiny_config()
    start = fresh_ensemble(dataset, config, {})
    kept = {k: v.clone() for k, v in start.params.items()}
    one, two = trained(dataset, config, start), trained(dataset, config, start)
    assert all(torch.equal(v, two.params[k]) for k, v in one.params.items())
    assert all(torch.equal(v, start.params[k]) for k, v in kept.items())


@pytest.mark.parametrize("kind", ["contrastive", "contrastive_residual"])
def test_asking_the_members_between_steps_changes_nothing_of_the_training(kind):
    dataset, asked = tiny_dataset(), []
    config = tiny_config(model=FusionConfig(kind=kind, hidden=16, dropout=0.4))
    fresh, targets = fresh_ensemble(dataset, config, {}), targets_of(dataset, None, None)

    def ask(step, params):
        asked.append(step)
        fresh.with_params(params).predict_logits(dataset.values, dataset.present)
        return step == 6

    def done(steps, stop):
        train = dataclasses.replace(config.train, steps=steps, warmup=0.0, clip=0.0)
        settings = FitConfig.of(config, train=[train])
        return fit(fresh, targets, settings, seed=3, stop=stop)

    plain, watched = done(10, lambda step, params: step == 6), done(10, ask)
    assert asked == [1, 2, 3, 4, 5, 6]
    for name, value in plain.params.items():
        torch.testing.assert_close(watched.params[name], value, rtol=0, atol=0)
    assert any(not torch.equal(v, done(10, None).params[k]) for k, v in plain.params.items())


def test_training_leaves_the_global_generator_where_it_was():
    before = torch.random.get_rng_state()
    trained(tiny_dataset(), tiny_config())
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("imbalance", ["none", "oversample", "class_weight", "logit_adjust"])
def test_training_learns_separable_classes(imbalance):
    dataset = tiny_dataset(spread=3.0)
    config = tiny_config(train=TrainConfig(steps=60, batch=16, members=1, imbalance=imbalance))
    config.noise = NoiseConfig(modality_dropout=0.0)
    model = trained(dataset, config)
    values = {m: v[dataset.test] for m, v in dataset.values.items()}
    said = model.predict_logits(values, dataset.present[dataset.test]).fused.mean(0).argmax(1)
    assert (said == dataset.label[dataset.test]).float().mean() > 0.8


def test_two_imbalance_corrections_are_refused():
    with pytest.raises(ValueError, match=r"imbalance must be exactly one of .*two corrections"):
        TrainConfig(imbalance="oversample+class_weight")


def test_learning_rate_warms_up_and_ends_near_zero():
    config = TrainConfig(lr=1.0, warmup=0.1)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 1e-3


def test_an_ensemble_predicts_what_its_modules_predict_alone():
    config = FusionConfig(hidden=8, projection=4)
    dims = {"speech": 5, "text": 3}
    ensemble = Ensemble.create(config, dims, 4, count=3, seed=7)
    values = {m: torch.randn(6, d) for m, d in dims.items()}
    present = torch.ones(6, 2, dtype=torch.bool)
    present[2, 1] = False
    said = ensemble.predict_logits(values, present, chunk=4)
    again = Ensemble.from_state(ensemble.spec(), ensemble.tensors())
    assert torch.equal(again.predict_logits(values, present, chunk=4).fused, said.fused)
    for e in range(3):
        torch.manual_seed(7 * 100_003 + e)
        module = build_fusion(config, dims, 4).eval()
        with torch.no_grad():
            torch.testing.assert_close(module(values, present).logits, said.fused[e])


def test_a_prediction_depends_on_its_own_row_only():
    dataset, config = tiny_dataset(), tiny_config()
    model = trained(dataset, config)
    rows = dataset.test
    values = {m: v[rows] for m, v in dataset.values.items()}
    whole = model.predict_logits(values, dataset.present[rows]).fused
    for i in range(0, len(rows), 7):
        one = {m: v[i : i + 1] for m, v in values.items()}
        alone = model.predict_logits(one, dataset.present[rows[i : i + 1]]).fused
        torch.testing.assert_close(alone[:, 0], whole[:, i], rtol=0, atol=1e-5)
