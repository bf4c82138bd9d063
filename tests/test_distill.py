"""Students: taught by soft labels that never saw what they are judged on."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_problem import tiny_config, tiny_problem
from two_runs import runs, settings  # noqa: F401

import semi
from semi.distill import distill, lessons, soften
from semi.distill_config import DistillConfig
from semi.errors import RunError
from semi.teacher import SoftLabels, soft_labels

WORDS = ["model.hidden=4", "train.lr=0.02"]


def labels_of(problem, chains, seed=0):
    rng = np.random.default_rng(seed)
    gold = problem.gold.numpy()
    return SoftLabels(
        gold_ids=problem.ids[gold],
        gold=rng.dirichlet([1, 1, 1], len(gold)),
        fold=problem.fold.numpy(),
        pool_ids=problem.ids[problem.pool.numpy()],
        pool=rng.dirichlet([1, 1, 1], (chains, len(problem.pool))),
        classes=problem.classes,
    )


def test_targets_mix_gold_and_the_flattened_teacher():
    problem, config = tiny_problem(), tiny_config(distill=DistillConfig(alpha=0.25, temperature=2))
    labels = labels_of(problem, 4)
    lesson, picked, target = lessons(problem, labels, config)
    flat = np.sqrt(labels.gold)
    flat /= flat.sum(1, keepdims=True)
    given = problem.target[problem.gold].numpy()
    np.testing.assert_allclose(
        lesson.target[problem.gold].numpy(), 0.25 * given + 0.75 * flat, atol=1e-6
    )
    np.testing.assert_allclose(target.numpy(), soften(labels.pool, 2), atol=1e-6)
    np.testing.assert_array_equal(picked.label.numpy(), labels.pool.argmax(2))
    assert problem.target[problem.gold].max() == 1  # the given problem is left as it was
    assert bool(picked.chosen.all()) and not picked.notes


def test_each_chain_is_taught_by_the_chain_that_held_out_the_same_gold():
    problem, config = tiny_problem(), tiny_config(distill=DistillConfig(temperature=1))
    labels = labels_of(problem, 4)
    _, picked, target = lessons(problem, labels, config)
    for k in range(4):
        np.testing.assert_allclose(target[k].numpy(), labels.pool[k], atol=1e-6)
    moved = replace(labels, fold=(labels.fold + 1) % 3)
    _, picked, target = lessons(problem, moved, config)
    for k in range(4):
        np.testing.assert_allclose(target[k].numpy(), labels.pool[-1], atol=1e-6)
    assert "different folds" in picked.notes[0]


def test_rows_the_teacher_cannot_read_teach_nothing():
    problem, config = tiny_problem(), tiny_config(distill=DistillConfig(alpha=0.5))
    labels = labels_of(problem, 4)
    labels.pool[:, 7] = np.nan
    labels.gold[3] = np.nan
    lesson, picked, target = lessons(problem, labels, config)
    assert not picked.chosen[:, 7].any() and (picked.weight[:, 7] == 0).all()
    assert bool(target.isfinite().all())
    assert lesson.target[problem.gold[3]].tolist() == problem.target[problem.gold[3]].tolist()


def test_pool_rows_weigh_what_was_asked_up_to_the_cap():
    problem = tiny_problem()
    labels = labels_of(problem, 4)
    config = tiny_config(distill=DistillConfig(pool_weight=0.5))
    _, picked, _ = lessons(problem, labels, config)
    assert picked.weight.unique().tolist() == [0.5]
    config = tiny_config(distill=DistillConfig(pool_weight=50))
    _, picked, _ = lessons(problem, labels, config)
    cap = config.select.mass_cap
    for k in range(4):
        assert float(picked.weight[k].sum()) == pytest.approx(
            cap * float((problem.fold != k).sum())
        )


@pytest.mark.parametrize(
    ("words", "told"),
    [({"temperature": 0}, "temperature must be positive"), ({"alpha": 2}, "alpha must be in"),
     ({"pool_weight": -1}, "pool_weight must be >= 0")],
)  # fmt: skip
def test_settings_out_of_range_are_named(words, told):
    with pytest.raises(ValueError, match=told):
        DistillConfig(**words)


def test_a_student_is_a_run_like_any_other(runs):  # noqa: F811
    from semi.compare import compare

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


def test_soft_labels_are_computed_once_and_are_the_teachers_own(runs, monkeypatch):  # noqa: F811
    from semi import teacher
    from semi.finished import answers_of

    first = soft_labels(runs[0])
    monkeypatch.setattr(teacher, "reopen", SimpleNamespace)  # calling it would fail
    second = soft_labels(runs[0])
    np.testing.assert_array_equal(first.pool, second.pool)
    said = answers_of(runs[0])
    place = {name: i for i, name in enumerate(said.ids)}
    np.testing.assert_allclose(second.gold, said.probs[[place[i] for i in second.gold_ids]])
    np.testing.assert_allclose(second.pool[-1], said.probs[[place[i] for i in second.pool_ids]])
