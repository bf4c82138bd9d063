"""What is computed by a shortcut is what the plain way gives."""

import math
import random

import numpy as np
import pytest
import torch
from torch.func import functional_call

from models.encoders.array_files import ArrayError
from models.encoders.arrays import pool_array
from models.fusion import FusionConfig
from models.fusion.linear import Linear, member_scores
from pseudo_label.calibration import fit_temperature
from semi.data.headers import ALIASES, COLUMNS, MILLISECONDS, known_columns, recognise
from semi.features.principal import is_sketched, principal_axes
from semi.features.shard_tasks import at_once
from semi.training.ensemble import Ensemble
from semi.training.out_of_fold import log_shares, surprise_at
from semi.training.teacher import log_probs


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rows, dims", [(1300, 1100), (1100, 1300)])
def test_sketched_axes_are_the_principal_ones(rows, dims):
    size = 1 / (1 + torch.arange(dims)).sqrt()
    x = drawn(rows, dims) * size  # a spectrum that falls as slowly as those of encoders
    assert is_sketched(rows, dims, 30) and not is_sketched(rows, 900, 30)
    axes, power = principal_axes(x, 30)
    exact = torch.linalg.svd(x.double(), full_matrices=False)
    assert torch.allclose(axes.T @ axes, torch.eye(30), atol=1e-4)
    share = (x.double() @ axes.double()).square().sum() / exact.S[:30].square().sum()
    assert float(share) > 0.995
    assert torch.allclose(power.sqrt()[:10], exact.S[:10], rtol=5e-3)
    turned = (axes[:, :5].double() * exact.Vh[:5].T).sum(0).abs()
    assert float(turned.min()) > 0.99


@pytest.mark.parametrize("quiet", [[], ["text"]])
@pytest.mark.parametrize("rows", [0, 1, 40])
@pytest.mark.parametrize("affected", [False, True])
def test_all_members_at_once_say_what_each_says_alone(quiet, rows, affected):
    config = FusionConfig(kind="logistic", components=6, quiet=quiet, affect=affected)
    model = Ensemble.create(config, {"speech": 9, "text": 7, "face": 5}, 4, count=3, seed=0)
    model.params = {k: drawn(*v.shape, seed=i) for i, (k, v) in enumerate(model.params.items())}
    inputs = {"speech": drawn(rows, 9), "text": drawn(rows, 3, 7), "face": drawn(rows, 5)}
    present = drawn(rows, 3, seed=8) > -0.5
    inputs["face"][~present[:, 2]] = torch.nan  # what stands in for a missing value
    assert isinstance(model.template, Linear)
    scores, alone, affect = member_scores(model.template, model.params, inputs, present)
    assert (affect is not None) == affected
    assert scores.shape == (3, rows, 4)
    for e in range(3):
        own = {k: v[e] for k, v in model.params.items()}
        out = functional_call(model.template, own, (inputs, present))
        assert torch.allclose(scores[e], out.logits, atol=1e-4)
        if affect is not None and out.affect is not None:
            assert torch.allclose(affect[e], out.affect, atol=1e-4)
        for name, said in out.modality_logits.items():
            assert torch.allclose(alone[name][e], said, atol=1e-4), name


def test_members_answer_for_a_row_alike_whatever_stands_beside_it():
    config = FusionConfig(kind="discriminant", components=6)
    model = Ensemble.create(config, {"speech": 6}, 4, count=3, seed=0)
    model.params = {k: drawn(*v.shape, seed=i).double()
                    for i, (k, v) in enumerate(model.params.items())}  # fmt: skip
    x, here = drawn(30, 6).double(), torch.ones(30, 1, dtype=torch.bool)
    together = model.predict_logits({"speech": x}, here).fused
    for row in (0, 17, 29):
        alone = model.predict_logits({"speech": x[row : row + 1]}, here[:1]).fused
        assert torch.allclose(alone[:, 0], together[:, row], rtol=0, atol=1e-12)


def test_log_probabilities_are_the_same_however_logits_lie_in_memory():
    logits = drawn(3, 50, 6)
    turned = logits.mT.contiguous().mT
    assert turned.stride(-1) != 1
    assert torch.allclose(log_probs(turned), logits.log_softmax(-1), atol=1e-6)
    assert torch.equal(log_probs(logits), logits.log_softmax(-1))


@pytest.mark.parametrize("size", [0.0, 0.01, 0.5, 1.0, 4.0, 30.0, 1000.0])
@pytest.mark.parametrize("rows", [3, 400])
def test_the_temperature_is_that_of_the_whole_grid(size, rows):
    logits = size * drawn(rows, 5, seed=rows).double()
    y = (logits + 2 * drawn(rows, 5, seed=1)).argmax(1)
    low, high = math.log(0.1), math.log(10.0)
    centre, half = (low + high) / 2, (high - low) / 2
    for _ in range(4):
        grid = torch.linspace(centre - half, centre + half, 21, dtype=torch.float64).tolist()
        losses = [torch.nn.functional.cross_entropy(logits * math.exp(-t), y).item() for t in grid]
        centre, half = grid[min(range(21), key=losses.__getitem__)], half / 8
    expected = math.exp(min(max(centre, low), high) * rows / (rows + 50))
    assert float(fit_temperature(logits, y)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 6, 9])
def test_surprise_is_the_log_loss_at_the_best_of_its_temperatures(classes):
    gold = torch.nn.functional.one_hot(torch.arange(200) % classes, classes).float()
    log_probs_ = (4 * drawn(200, classes) + gold).log_softmax(-1)
    share = log_shares(gold)
    tried = []
    for heat in torch.logspace(-1, 0, 21):
        mixed = (heat * log_probs_ + (1 - heat) * share).log_softmax(-1)
        tried.append(-(gold * mixed).sum(-1))
    best = min(tried, key=lambda each: float(each.mean()))
    assert torch.allclose(surprise_at(log_probs_, gold), best, atol=1e-5)


@pytest.mark.parametrize("shape, layers", [((9,), []), ((1, 9), []), ((4, 9), [1, -1])])
def test_an_array_of_one_frame_is_its_own_mean(shape, layers):
    array = drawn(*shape).numpy()
    array.flat[0] = -0.0
    found = pool_array(array, layers=layers, combine="mean", pooling="mean")
    frames = np.stack([array, array], -2) if len(shape) == 1 or layers else np.repeat(array, 2, 0)
    twice = pool_array(frames, layers=layers, combine="mean", pooling="mean")
    assert found.dtype == np.float32 and found.shape == twice.shape == (9,)
    assert np.array_equal(found, twice)
    with pytest.raises(ArrayError, match="no frames to take a standard deviation over"):
        pool_array(array, layers=layers, combine="mean", pooling="mean_std")


def test_a_row_that_cannot_be_loaded_is_met_where_its_turn_comes():
    def load(row):
        if row == 2:
            raise ValueError("row 2 is damaged")
        return f"u{row}"

    first, bad = at_once(load, 1), at_once(load, 2)
    assert first.done() and first.result() == "u1"
    with pytest.raises(ValueError, match="row 2 is damaged"):
        bad.result()


def test_the_columns_known_among_cells_are_those_that_a_header_of_them_would_have():
    known = [*COLUMNS, *MILLISECONDS, *(a for names in ALIASES.values() for a in names)]
    odd = ["offset", "onset", "Start (ms)", "UTTERANCE-ID", "감정-라벨", "u00001", "", "3", "a.wav"]
    draw = random.Random(0)
    for _ in range(400):
        names = draw.choices([*known, *odd], k=draw.randint(0, 6))
        found = recognise(list(dict.fromkeys(names)), {}, "", gold=False).canonical
        assert known_columns(names) == list(found)
        assert known_columns(names, "start") == [n for n, c in found.items() if c == "start"]
    assert known_columns(odd[5:]) == [] and known_columns(["감정 라벨"]) == ["감정 라벨"]
