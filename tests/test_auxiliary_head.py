"""The auxiliary class-balanced head: which rows it learns from, where it speaks, who refuses it."""

import dataclasses

import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset
from tiny_learning import tiny_dataset as learning_problem
from tiny_learning import tiny_learning

from models.fusion import FusionConfig, build_fusion
from models.fusion.config import KINDS
from semi.config.schema import load_config
from semi.config.training import TrainConfig
from semi.errors import ConfigError
from semi.self_training.rounds import run_rounds, warm_start
from semi.self_training.teacher import answer, can_speak
from semi.training.batches import balancing


def with_head(**train):
    config = tiny_config()
    config.train = dataclasses.replace(config.train, auxiliary_head=True, **train)
    return config


@pytest.mark.parametrize("imbalance", ["none", "oversample", "class_weight", "logit_adjust"])
def test_rows_are_kept_with_the_share_of_the_rarest_class(imbalance):
    config = TrainConfig(imbalance=imbalance, imbalance_power=0.5)
    counts = torch.tensor([80.0, 20.0, 5.0, 0.0])
    classes = torch.arange(4).repeat(2)
    target = torch.nn.functional.one_hot(classes, 4).float()
    target, size = target[None].repeat(2, 1, 1), 4
    power = 0.5 if imbalance in ("oversample", "class_weight") else 1.0
    for row, c in enumerate(classes.tolist()):
        share = min(1.0, (5 / max(float(counts[c]), 1e-6)) ** (power if row < size else 1.0))
        for u, kept in ((share - 1e-3, 1.0), (share + 1e-3, 0.0)):
            said = balancing(target, counts, size, config, torch.full((8,), u))
            assert said.shape == (2, 8) and float(said[0, row]) == float(said[1, row]) == kept


def test_a_soft_target_is_kept_by_its_mean_share():
    config = TrainConfig(imbalance="none", label_smoothing=0.0)
    target = torch.tensor([[[0.5, 0.5]]])  # shares 1 and 1/4
    for u, kept in ((0.62, 1.0), (0.63, 0.0)):
        said = balancing(target, torch.tensor([10.0, 40.0]), 1, config, torch.tensor([u]))
        assert float(said) == kept


@pytest.mark.parametrize("kind", KINDS)
def test_every_stepped_kind_has_room_for_it_and_is_else_the_same(kind):
    dims, config = {"speech": 5, "text": 4}, FusionConfig(kind=kind, hidden=8, projection=4)
    torch.manual_seed(0)
    plain = build_fusion(config, dims, 3)
    torch.manual_seed(0)
    model = build_fusion(dataclasses.replace(config, balanced_head=True), dims, 3)
    extra = {"balanced_head.weight", "balanced_head.bias"}
    assert set(model.state_dict()) - set(plain.state_dict()) == extra
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in plain.state_dict().items())
    inputs = {m: torch.randn(6, d) for m, d in dims.items()}
    out = model.eval()(inputs, torch.ones(6, 2, dtype=torch.bool))
    assert out.extra["balanced"].shape == (6, 3)


@pytest.mark.parametrize("views", [1, 2])
def test_it_has_a_say_in_the_vote(views):
    dataset, config = tiny_dataset(views=views), with_head()
    names = ["speech", "text"] if views == 2 else []
    state = warm_start(dataset, config, {})
    voter = state.outputs.voter
    assert voter.heads == ["fused", "balanced", *names]
    assert set(voter.calibrations) == set(voter.heads) and len(voter.weights) == len(voter.heads)
    values = {m: v[dataset.test] for m, v in dataset.values.items()}
    said = answer(state.ensemble, voter, values, dataset.present[dataset.test], dataset.folds + 1)
    assert said.by_head.shape == (len(voter.heads), len(dataset.test), 3)
    logits = state.ensemble.predict_logits(values, dataset.present[dataset.test])
    assert logits.balanced is not None and not torch.equal(logits.balanced, logits.fused)


def test_a_missing_modality_silences_its_own_head_alone():
    present = torch.tensor([[True, False], [False, False]])
    said = can_speak(["fused", "balanced", "speech", "text"], present)
    assert said.tolist() == [[True, True, True, False], [False] * 4]
    assert can_speak(["fused", "balanced"], present[:, :1]).tolist() == [[True, True], [False] * 2]
    assert can_speak(["fused", "speech", "text"], present)[0].tolist() == [True, True, False]


def test_agreement_of_modalities_never_counts_it():
    from semi.self_training.pool import pool_of

    dataset, config = tiny_dataset(), with_head()
    state = warm_start(dataset, config, {})
    pool = pool_of(dataset, state.outputs, 0, config.select, rate=0.5, number=1, state={})
    heads = state.outputs.voter.by_head(state.outputs.pool_logits[0])
    assert torch.equal(pool.by_modality, heads[2:])
    assert pool.gold.by_modality.shape[0] == 2


def test_rare_classes_are_found_more_often_by_it():
    dataset = tiny_dataset(gold=60, spread=0.5, seed=3)
    rare = dataset.gold[dataset.label[dataset.gold] == 2][2:]  # two of the class are left
    dataset.gold = dataset.gold[~torch.isin(dataset.gold, rare)]
    dataset.fold = torch.arange(len(dataset.gold)) % 3
    config = with_head(steps=100, imbalance="none", members=1)
    model = warm_start(dataset, config, {}).ensemble
    values = {m: v[dataset.test] for m, v in dataset.values.items()}
    said = model.predict_logits(values, dataset.present[dataset.test])
    fused, balanced = (x[-1].softmax(-1)[:, 2].mean() for x in (said.fused, said.balanced))
    assert balanced > fused + 0.02


@pytest.mark.parametrize("kind", ["discriminant", "logistic"])
def test_models_that_are_solved_at_once_refuse_it(kind, tmp_path):
    told = r"balanced_head \(train.auxiliary_head\) needs a model that is trained in steps"
    learning = tiny_learning()
    learning.model.kind, learning.train.auxiliary_head = kind, True
    with pytest.raises(ValueError, match=told):
        run_rounds(learning_problem(), learning)
    words = [f"model.kind={kind}", "train.auxiliary_head=true", "data.manifest=x.csv"]
    with pytest.raises(ConfigError, match=rf"trained in steps.*model.kind {kind}"):
        load_config(None, words)
