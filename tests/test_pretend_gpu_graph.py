"""The training step as a CUDA graph, on the pretend GPU: the same numbers, or a reason why not."""

import dataclasses

import pytest
import torch
from moved import moved
from pretend_gpu import pretend_gpu
from pretend_graph import PretendGraph
from tiny_dataset import tiny_config, tiny_dataset

from models.fusion import ContrastConfig, FusionConfig
from noise import Corruption, NoiseConfig
from semi.self_training.targets import targets_of
from semi.training.fit import fit
from semi.training.graphed_step import WORTH, say_once
from semi.training.initialisation import fresh_ensemble
from semi.training.steps import FitConfig

SENTENCE = "training steps run kernel by kernel, not as a CUDA graph: "


def settings(**changes):
    """Returns settings of a fit that is long enough for a graph, with every kind of draw."""
    model = FusionConfig(kind="concat", hidden=8, projection=4, dropout=0.2)
    config = tiny_config(model=model)
    config.train = dataclasses.replace(config.train, folds=2, members=1, steps=WORTH + 3)
    config.noise = NoiseConfig(mixup_alpha=0.4, modality_dropout=0.2)
    return dataclasses.replace(config, **changes)


def learned(dataset, config, **words):
    targets = targets_of(dataset, None, None)
    targets = dataclasses.replace(targets, pseudo=dataset.pool)  # whose weights are 0
    return fit(fresh_ensemble(dataset, config, {}), targets, FitConfig.of(config), seed=3, **words)


def on_gpu(config, **words):
    """Returns what the pretend GPU comes to and what it was asked to do."""
    say_once.cache_clear()
    with pretend_gpu() as work:
        found = learned(moved(tiny_dataset(folds=2), "cuda"), config, **words).tensors()
    return found, work


@pytest.fixture(scope="module")
def want():
    return learned(tiny_dataset(folds=2), settings()).tensors()


def assert_same(found, want):
    for name, value in want.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_graph_learns_what_plain_steps_learn_and_starts_few_kernels(want, capsys):
    found, work = on_gpu(settings())
    assert_same(found, want)
    longer = settings()
    longer.train = dataclasses.replace(longer.train, steps=WORTH + 20)
    _, more = on_gpu(longer)
    assert sum(more.launches.values()) == sum(work.launches.values())
    assert SENTENCE not in capsys.readouterr().err


def test_what_is_logged_and_asked_between_steps_of_a_graph_is_of_these_steps(want):
    config, seen, heard, asked = settings(), [], [], []
    learned(tiny_dataset(folds=2), config, on_step=lambda step, values: seen.append(values))
    _, work = on_gpu(
        config, on_step=lambda step, values: heard.append(values),
        stop=lambda step, params: asked.append(step) or step == config.train.steps - 2,
    )  # fmt: skip
    assert asked == list(range(1, config.train.steps - 1))
    assert len(heard) == len(seen) and heard[0] == pytest.approx(seen[0], abs=1e-5)
    assert heard[1] == pytest.approx(seen[1], abs=1e-4)  # step 25, of the graph
    means = [n for (_, at), n in work.waits.items() if at.endswith(" means")]
    assert means == [3], work.table()


def low(patch):
    patch.setattr(torch.cuda, "get_device_capability", lambda *_: (6, 1))


def none(patch):
    def missing(*_):
        raise RuntimeError("Tried to instantiate dummy base class _CUDAGraph\nlong\nstory")

    patch.setattr(torch.cuda, "CUDAGraph", missing)


def waits(patch):
    def corrupted(self, x, generator=None):
        return whole(self, x + torch.zeros(1).to(x.device), generator)

    whole = Corruption.__call__
    patch.setattr(Corruption, "__call__", corrupted)


def wrong(patch):
    def replay(self):
        del self.calls[::7]
        whole(self)

    whole = PretendGraph.replay
    patch.setattr(PretendGraph, "replay", replay)


@pytest.mark.parametrize(
    ("breakage", "reason"),
    [
        (low, "the GPU has compute capability 6.1, below 7.0"),
        (none, "RuntimeError: Tried to instantiate dummy base class _CUDAGraph"),
        (waits, "RuntimeError: operation not permitted when stream is capturing (upload)"),
        (wrong, "its first step came out otherwise than the plain one"),
    ],
)
def test_what_stands_against_a_graph_is_said_in_one_line_and_training_goes_on(
    breakage, reason, want, capsys, monkeypatch
):
    say_once.cache_clear()
    with pretend_gpu(), monkeypatch.context() as patch:
        breakage(patch)
        found = learned(moved(tiny_dataset(folds=2), "cuda"), settings()).tensors()
    assert capsys.readouterr().err.splitlines() == [SENTENCE + reason]
    assert_same(found, want)


def test_a_contrast_that_begins_at_nothing_is_in_the_graph(capsys):
    model = FusionConfig(hidden=8, projection=4)
    config = settings(model=model, contrast=ContrastConfig(weight=0.0, weight_end=0.2))
    want = learned(tiny_dataset(folds=2), config).tensors()
    found, _ = on_gpu(config)
    assert capsys.readouterr().err == ""
    assert_same(found, want)


def test_on_a_cpu_nothing_is_said_of_graphs(want, capsys):
    learned(tiny_dataset(folds=2), settings())
    assert capsys.readouterr().err == ""
