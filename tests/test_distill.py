"""Students: taught by soft labels that never saw what they are judged on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_dataset import tiny_dataset, tiny_run_config
from two_runs import settings

import semi
from models.fusion import ContrastConfig
from semi.config.distillation import DistillConfig
from semi.config.task import TaughtTask
from semi.config.training import TrainConfig, VoteConfig
from semi.errors import RunError
from semi.runs.distill import TEACHER, distill, soft_labels
from semi.self_training.distillation import distillation_targets, flattened
from semi.self_training.final_student import taught_round
from semi.self_training.rounds import warm_start
from semi.self_training.soft_labels import SoftLabels, soft_labels_of
from semi.training.losses import cross_entropy
from semi.training.objective import NO_CONTEXT, teacher_loss

QUIET = ContrastConfig(
    modality=False, rest=False, noise=False, weight=0, weight_end=0, pretrain_steps=0
)
WORDS = ["model.hidden=4", "train.lr=0.02"]


def labels_of(dataset, chains, seed=0):
    rng = np.random.default_rng(seed)
    gold = dataset.gold.numpy()
    return SoftLabels(
        gold_ids=dataset.ids[gold],
        gold=rng.dirichlet([1, 1, 1], (chains, len(gold))),
        fold=dataset.fold.numpy(),
        pool_ids=dataset.ids[dataset.pool.numpy()],
        pool=rng.dirichlet([1, 1, 1], (chains, len(dataset.pool))),
        classes=dataset.classes,
    )


def test_gold_rows_are_learned_twice_from_their_label_and_from_the_teacher():
    dataset, config = (
        tiny_dataset(),
        tiny_run_config(distill=DistillConfig(alpha=0.25, temperature=2)),
    )
    labels, n, gold = labels_of(dataset, 4), len(dataset.present), dataset.gold
    targets, pseudo_labels = distillation_targets(dataset, labels, config)
    flat = np.sqrt(labels.gold)
    flat /= flat.sum(2, keepdims=True)
    for k in range(4):
        held_in = (dataset.fold != k).float()
        assert torch.equal(targets.target[k, gold], dataset.target[gold])
        np.testing.assert_allclose(targets.target[k, n:].numpy(), flat[k], atol=1e-6)
        assert torch.equal(targets.weight[k, gold], 0.25 * held_in)
        assert torch.equal(targets.weight[k, n:], 0.75 * held_in)
    assert torch.equal(targets.values["text"][n:], dataset.values["text"][gold])
    assert targets.pseudo.tolist() == [*dataset.pool.tolist(), *range(n, n + len(gold))]
    pool = targets.target[:, dataset.pool]
    np.testing.assert_allclose(
        pool.numpy(), flattened(labels.pool, config.distill, False), atol=1e-6
    )
    np.testing.assert_array_equal(pseudo_labels.label.numpy(), labels.pool.argmax(2))
    assert bool(pseudo_labels.chosen.all()) and not pseudo_labels.notes


def test_each_chain_is_taught_by_the_chain_that_held_out_the_same_gold():
    dataset, config = tiny_dataset(), tiny_run_config(distill=DistillConfig(temperature=1))
    labels = labels_of(dataset, 4)
    targets, pseudo_labels = distillation_targets(dataset, labels, config)
    for k in range(4):
        target = targets.target[k, dataset.pool]
        np.testing.assert_allclose(target.numpy(), labels.pool[k], atol=1e-6)
    moved = replace(labels, fold=(labels.fold + 1) % 3)
    targets, pseudo_labels = distillation_targets(dataset, moved, config)
    for k in range(4):
        target = targets.target[k, dataset.pool]
        np.testing.assert_allclose(target.numpy(), labels.pool[-1], atol=1e-6)
    assert "different folds" in pseudo_labels.notes[0]


def test_rows_the_teacher_cannot_read_teach_nothing():
    dataset, config = tiny_dataset(), tiny_run_config(distill=DistillConfig(alpha=0.5))
    labels, n = labels_of(dataset, 4), len(dataset.present)
    labels.pool[:, 7] = np.nan
    labels.gold[1, 3] = np.nan
    targets, pseudo_labels = distillation_targets(dataset, labels, config)
    assert not pseudo_labels.chosen[:, 7].any() and (pseudo_labels.weight[:, 7] == 0).all()
    assert bool(targets.target.isfinite().all())
    assert len(targets.present) == n + len(dataset.gold) - 1  # that row has its label alone
    assert targets.target[0, dataset.gold[3]].tolist() == dataset.target[dataset.gold[3]].tolist()


def test_the_loss_is_hintons_of_a_loop_over_rows():
    """alpha CE(y, p_s) + (1 - alpha) T^2 KL(softmax(z_t / T), softmax(z_s / T)): both at T."""
    draw = torch.Generator().manual_seed(0)
    z_s, z_t = torch.randn(2, 6, 4, generator=draw)
    t = 3.0
    views = torch.tensor([0.5, 0.5, 0.5])
    z = torch.cat([z_s, z_s]).requires_grad_()
    target = torch.cat([torch.eye(4)[:3], (z_t[3:] / t).softmax(-1)]).repeat(2, 1)
    nothing = torch.zeros(3)  # of the second, the noisy view
    given, taught = (
        torch.cat([*row, nothing, nothing]) for row in ((views, nothing), (nothing, views))
    )
    task = TaughtTask(temperature=t)
    got = cross_entropy(z, target, given, NO_CONTEXT) + teacher_loss(z, target, taught, task)
    (slope,) = torch.autograd.grad(got, z)
    want = torch.zeros_like(z)
    for i in range(3):
        want[i] = 0.5 * (z[i].softmax(-1) - torch.eye(4)[i])
        j = i + 3
        want[j] = 0.5 * t * ((z[j] / t).softmax(-1) - (z_t[j] / t).softmax(-1))
    torch.testing.assert_close(slope, want.detach())
    same = torch.cat([z_t, z_t]).requires_grad_()
    (still,) = torch.autograd.grad(teacher_loss(same, target, taught, task), same)
    assert still.abs().max() < 1e-6  # a student that equals its teacher stays
    multi = TaughtTask("multi_label", temperature=t)
    odds = (z_t / t).sigmoid().repeat(2, 1)
    (still,) = torch.autograd.grad(teacher_loss(same, odds, taught, multi), same)
    assert still.abs().max() < 1e-6


def test_mse_matches_raw_logits():
    sharp = DistillConfig(match="mse")
    p = np.array([[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(flattened(p, sharp, False), np.log(p))
    np.testing.assert_allclose(flattened(p, sharp, True), np.log(p / (1 - p)))
    z, t = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([0.0, 1.0, 0.0, 0.5])
    want = (z[1] - t[1]).square().mean() + 0.5 * (z[3] - t[3]).square().mean()
    torch.testing.assert_close(teacher_loss(z, t, rows, TaughtTask(match="mse")), want)
    with pytest.raises(ValueError, match="match must be kl or mse, got 'cosine'"):
        DistillConfig(match="cosine")


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("match", ["kl", "mse"])
def test_a_student_learns_its_teachers_word_where_labels_are_wrong(alpha, match):
    """With alpha 1 the given labels count alone, on gold; the less, the more the teacher's."""
    dataset, config = tiny_dataset(spread=3.0, pool=0), tiny_run_config(contrast=QUIET)
    config.train = TrainConfig(steps=60, batch=32, members=1, folds=3)
    config.distill = DistillConfig(alpha=alpha, match=match)
    labels, gold = labels_of(dataset, 4), dataset.gold
    labels.gold[:] = 0.02
    labels.gold[:, np.arange(len(gold)), (dataset.label[gold].numpy() + 1) % 3] = 0.96  # all wrong
    state = taught_round(dataset, labels, config, {}, lambda step, values: None)
    last = {m: v[gold] for m, v in dataset.values.items()}
    told = state.ensemble.predict_logits(last, dataset.present[gold]).fused[-1].argmax(-1)
    right = float((told == dataset.label[gold]).float().mean())
    assert right > 0.9 if alpha == 1.0 else right < 0.1


def test_no_word_of_the_teacher_carries_a_label_that_the_students_chain_holds_out():
    """A teacher's chain that learned fold 0 may not teach the student's chain that is judged on it.

    Handing over out-of-fold words of gold did that: a student looked 16 points better out-of-fold
    than its teacher and was no better on test.
    """
    dataset, config = tiny_dataset(), tiny_run_config(contrast=QUIET)
    config.train = TrainConfig(steps=8, batch=16, members=2, folds=3, imbalance="none")
    config.vote = VoteConfig(method="fused", calibration="none")
    config.distill = DistillConfig(alpha=0.3)
    spoilt = replace(dataset, target=dataset.target.clone(), label=dataset.label.clone())
    held = dataset.gold[dataset.fold == 0]
    spoilt.target[held] = spoilt.target[held].roll(1, dims=1)
    spoilt.label[held] = (spoilt.label[held] + 1) % 3
    students = []
    for one in (dataset, spoilt):
        state = warm_start(one, config, {})
        labels = soft_labels_of(one, state)
        students.append(taught_round(one, labels, config, {}, lambda step, values: None).ensemble)
    for name, value in students[0].params.items():
        assert torch.equal(value[:2], students[1].params[name][:2]), name
    assert not torch.equal(students[0].params["head.weight"][2:],
                           students[1].params["head.weight"][2:])  # fmt: skip


def test_pool_rows_weigh_what_was_asked_up_to_the_cap():
    dataset = tiny_dataset()
    labels = labels_of(dataset, 4)
    config = tiny_run_config(distill=DistillConfig(pool_weight=0.5))
    pseudo_labels = distillation_targets(dataset, labels, config)[1]
    assert pseudo_labels.weight.unique().tolist() == [0.5]
    config = tiny_run_config(distill=DistillConfig(pool_weight=50))
    pseudo_labels = distillation_targets(dataset, labels, config)[1]
    cap = config.select.mass_cap
    for k in range(4):
        assert float(pseudo_labels.weight[k].sum()) == pytest.approx(
            cap * float((dataset.fold != k).sum())
        )


@pytest.mark.parametrize(
    ("words", "told"),
    [({"temperature": 0}, "temperature must be positive"), ({"alpha": 2}, "alpha must be in"),
     ({"pool_weight": -1}, "pool_weight must be >= 0")],
)  # fmt: skip
def test_settings_out_of_range_are_named(words, told):
    with pytest.raises(ValueError, match=told):
        DistillConfig(**words)


def test_a_student_is_a_run_like_any_other(runs):
    from semi.runs.compare import compare

    folder = Path(runs[1]).parents[1]
    done = distill(runs[1], settings(folder, "student", *WORDS), progress=False)
    before = (done.path / "model" / "model.safetensors").read_bytes()
    again = distill(runs[1], settings(folder, "student", *WORDS), resume=True, progress=False)
    assert (done.path / "model" / "model.safetensors").read_bytes() == before
    assert again.sentence == done.sentence
    alone, taught = (
        json.loads((done.path / f"round-0{k}" / "round.json").read_text()) for k in (0, 1)
    )
    assert taught["rule"] == "distill"
    for record, key in ((alone, "same student on gold alone"), (taught, "The student taught by")):
        assert key in done.sentence
        assert f"{100 * record['metrics_oof']['macro_f1']:.1f}" in done.sentence
    assert semi.evaluate(done.path).metrics["confusion"] == taught["metrics_test"]["confusion"]
    assert semi.load(done.path).predict(texts=["hurra toll"])["label"].notna().all()
    table = compare([runs[1], str(done.path)], paired=True, latency=False)
    assert table.rows[1]["rule"] == "distill"
    assert table.rows[1]["head_parameters"] < table.rows[0]["head_parameters"]
    with pytest.raises(RunError, match="begun with another teacher"):
        distill(runs[0], settings(folder, "student", *WORDS), resume=True, progress=False)
    with pytest.raises(RunError, match="written over its teacher"):
        distill(runs[1], settings(folder, "b"), progress=False)


def test_soft_labels_are_computed_once_and_are_the_teachers_own(runs):
    from semi.runs.reopen import predictions_of

    first = soft_labels(runs[0])
    kept = Path(runs[0], TEACHER)
    written = kept.stat()
    second = soft_labels(runs[0])
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    np.testing.assert_array_equal(first.pool, second.pool)
    said = predictions_of(runs[0])
    place = {name: i for i, name in enumerate(said.ids)}
    np.testing.assert_allclose(second.gold[-1], said.probs[[place[i] for i in second.gold_ids]])
    assert second.gold.shape[0] == second.pool.shape[0] == 3
    np.testing.assert_allclose(second.pool[-1], said.probs[[place[i] for i in second.pool_ids]])
