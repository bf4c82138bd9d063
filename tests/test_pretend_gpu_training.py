"""Training on the pretend GPU: the CPU's numbers, and no wait of the host within a step."""

import dataclasses

import pytest
import torch
from moved import moved
from pretend_gpu import pretend_gpu
from selection_pools import make_pool
from tiny_dataset import tiny_config, tiny_dataset

from models.fusion import ContrastConfig, FusionConfig
from models.fusion.config import KINDS
from noise import NoiseConfig
from pseudo_label import RULES, SelectionConfig, select
from semi.config.task import TaskConfig
from semi.experiments.benchmark.arms import Starts, rounds_arm
from semi.experiments.search.batched_trials import warm_starts
from semi.self_training.rounds import run_rounds
from semi.self_training.targets import targets_of
from semi.training.fit import fit, pretrain, without_labels
from semi.training.initialisation import fresh_ensemble
from semi.training.losses import LOSSES
from semi.training.optim import MemberAdamW
from semi.training.steps import FitConfig
from semi.training.students.logistic import solve_logistic

BIG, SMALL = 3, 2  # steps; what they differ by is the cost of the steps between them
LEAST = {"rtol": 1e-5, "atol": 1e-6}


def with_pseudo(dataset):
    """Returns what a second round learns from: gold, and a soft label for each pool row."""
    targets = targets_of(dataset, None, None)
    drawn = torch.randn(len(dataset.pool), 3, generator=torch.Generator().manual_seed(0))
    target = targets.target.clone()
    target[:, dataset.pool] = drawn.softmax(1).to(target)
    weight = targets.weight.clone()
    weight[:, dataset.pool] = 0.5
    return dataclasses.replace(targets, target=target, weight=weight, pseudo=dataset.pool)


def cheap(**model):
    """Returns settings of two chains and few steps."""
    config = tiny_config(model=FusionConfig(hidden=8, projection=4, **model))
    config.train = dataclasses.replace(config.train, folds=2, members=1, steps=SMALL)
    return config


def both(dataset, config, targets=with_pseudo, learn=fit, **changes):
    """Compares what CPU and pretend GPU learn; returns waits and launches a step."""

    def run(dataset, steps):
        train = dataclasses.replace(config.train, steps=steps)
        now = dataclasses.replace(config, train=train)
        start = fresh_ensemble(dataset, now, {})
        seen = []
        done = learn(start, targets(dataset), FitConfig.of(now, **changes), seed=1,
                     on_step=lambda step, values: seen.append(values))  # fmt: skip
        return done.predict_logits(dataset.values, dataset.present).fused.cpu(), seen

    want, logged = run(dataset, BIG)
    works = []
    for steps in (SMALL, BIG):
        with pretend_gpu() as work:
            got, seen = run(moved(dataset, "cuda"), steps)
        works.append(work)
    # of logits, not parameters: a GPU reads the rate in float32, and AdamW makes much of a gradient
    # that is 0 but for rounding, as that of a key's bias
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
    for now, then in zip(seen, logged, strict=True):
        assert now == pytest.approx(then, rel=1e-3, abs=1e-5)
    less, more = works
    waits, launches = (
        (sum(getattr(more, name).values()) - sum(getattr(less, name).values())) / (BIG - SMALL)
        for name in ("waits", "launches")
    )
    return waits, launches, more


@pytest.mark.parametrize("kind", KINDS)
def test_every_fusion_learns_the_same_without_a_wait_in_a_step(kind):
    config = cheap(kind=kind)
    config.contrast = ContrastConfig(intra=0.1, inter=0.1)
    waits, launches, work = both(tiny_dataset(folds=2), config)
    assert waits == 0, work.table()
    assert 100 < launches < 1500


@pytest.mark.parametrize(
    "change",
    [
        {"loss": name, "imbalance": way}
        for name, way in zip(
            LOSSES, ("none", "class_weight", "logit_adjust", "oversample"), strict=True
        )
    ],
    ids=list(LOSSES),
)
def test_every_loss_and_balance_learns_without_a_wait_in_a_step(change):
    config = cheap(kind="concat")
    config.train = dataclasses.replace(config.train, noisy_share=0.5, **change)
    config.noise = NoiseConfig(mixup_alpha=0.4, modality_dropout=0.2)
    waits, _, work = both(tiny_dataset(folds=2), config)
    assert waits == 0, work.table()


def test_values_negatives_and_smoothing_side_by_side_learn_without_a_wait_in_a_step():
    dataset = with_values(tiny_dataset(folds=2))
    config = cheap(kind="concat", affect=True)
    config.task = TaskConfig(kind="joint")

    def taught(dataset):
        given = with_pseudo(dataset)
        negative = torch.zeros_like(given.target)
        negative[:, dataset.pool, 0] = 0.3
        return dataclasses.replace(given, negative=negative)

    waits, _, work = both(dataset, config, taught)
    assert waits == 0, work.table()


def test_contrast_without_labels_learns_without_a_wait_in_a_step():
    config = cheap()

    def alone(dataset):
        rows = torch.cat([dataset.gold, dataset.pool])
        return without_labels(dataset.values, dataset.present, rows, 3)

    def learn(start, targets, given, **words):
        steps = given.train[0].steps
        contrast = ContrastConfig(pretrain_steps=steps, pretrain_batch=16)
        return pretrain(start, targets, dataclasses.replace(given, contrast=contrast), **words)

    waits, _, work = both(tiny_dataset(folds=2), config, alone, learn)
    assert waits == 0, work.table()


def test_logging_waits_once_for_all_parts_of_the_loss():
    config = cheap()
    _, _, work = both(tiny_dataset(folds=2), config)
    logged = {at: n for (_, at), n in work.waits.items() if at.endswith(" means")}
    assert list(logged.values()) == [2], work.table()  # the first and the last step


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_selects_the_same(rule):
    pool, config = make_pool(), SelectionConfig(rule=rule)
    want = select(pool, config)
    with pretend_gpu():
        got = moved(select(moved(pool, "cuda"), config), "cpu")
    for name, value in vars(want).items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(getattr(got, name), value, **LEAST, msg=name)


def with_values(dataset):
    """Returns the dataset with a valence and an arousal for each row."""
    middle = dataset.target.new_tensor([[0.0, 1.0], [1.0, 0.5], [2.0, 3.0]])[dataset.label]
    return dataclasses.replace(dataset, affect=middle + 0.1 * dataset.values["text"][:, :2])


STUDENTS = [
    *((kind, "single") for kind in ("logistic", "discriminant", "contrastive")),
    ("contrastive_residual", "single"), ("ridge", "affect"),
    *((kind, "multi_label") for kind in ("logistic", "discriminant")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "task"), STUDENTS)
def test_rounds_of_every_kind_of_student_come_out_the_same(kind, task):
    dataset, config = tiny_dataset(spread=2.0, folds=2), cheap(kind=kind)
    config.task = TaskConfig(kind=task)
    if task == "affect":
        dataset, config.rounds.metric = with_values(dataset), "ccc"
    if task == "multi_label":
        known = torch.nn.functional.one_hot(dataset.label, 3).float()
        dataset = dataclasses.replace(dataset, multi=known)
    config.rounds.max_rounds = 1 if task == "single" else 0
    want = run_rounds(dataset, config)
    with pretend_gpu() as work:
        got = run_rounds(moved(dataset, "cuda"), config)
        final = got.final.ensemble.tensors()
        seen = got.final.outputs.oof.cpu()
    assert got.stopped == want.stopped and len(got.states) == len(want.states)
    torch.testing.assert_close(seen, want.final.outputs.oof, rtol=1e-3, atol=1e-4)
    for name, value in want.final.ensemble.tensors().items():
        torch.testing.assert_close(final[name], value, rtol=1e-3, atol=1e-4)
    assert sum(n for (_, at), n in work.waits.items() if "alignment.py" in at) <= 2, work.table()


@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("shape", [(60, 5, 0.0), (200, 20, 1.0)])
def test_the_solver_of_logistic_regression_is_asked_once_in_six_iterations(shape, penalty):
    given = problem(*shape)
    want = solve_logistic(*given, penalty)
    with pretend_gpu() as work:
        got = solve_logistic(*moved(given, "cuda"), penalty)
        asked = sum(n for (kind, _), n in work.waits.items() if kind == "download")
        got = moved(got, "cpu")
    for one, other in zip(want, got, strict=True):
        torch.testing.assert_close(other, one, **LEAST)
    assert 2 <= asked <= 5, work.table()  # 9 to 18 where each trial is looked at


def problem(rows, dim, spread):
    """Returns x, target and weight of four regressions of three classes."""
    g = torch.Generator().manual_seed(0)
    label = torch.randint(3, (rows,), generator=g)
    x = torch.randn(rows, dim, generator=g) + spread * torch.randn(3, dim, generator=g)[label]
    target = torch.nn.functional.one_hot(label, 3).float().expand(4, -1, -1)
    return x, target, torch.ones(4, rows)


def test_a_trial_of_a_search_and_a_cell_of_a_benchmark_come_out_the_same():
    dataset, config = tiny_dataset(folds=2), cheap(kind="concat")
    other = dataclasses.replace(config, train=dataclasses.replace(config.train, lr=3e-3))
    want = [state.metric for state in warm_starts(dataset, [config, other])]
    cell = rounds_arm(dataset, config, Starts()).predicted
    with pretend_gpu():
        on_gpu = moved(dataset, "cuda")
        assert [state.metric for state in warm_starts(on_gpu, [config, other])] == want
        assert (rounds_arm(on_gpu, config, Starts()).predicted == cell).all()


def test_the_optimiser_makes_no_copy_to_the_device_in_a_step():
    with pretend_gpu() as work:
        p = torch.ones(4, 3, 2, device="cuda", requires_grad=True)
        optimizer = MemberAdamW([p], [tiny_config().train] * 2)
        at = torch.zeros(1, dtype=torch.int64, device="cuda")
        work.waits.clear()
        for _ in range(3):
            p.square().sum().backward()
            optimizer.step(at)
            at.add_(1)
    assert not work.waits
