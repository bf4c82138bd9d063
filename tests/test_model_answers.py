"""A model's answers to rows of its dataset: block by block those of one call."""

import pytest
import torch
from test_every_task import settings, write_manifest

import semi
from semi.runs import model_answers as module
from semi.runs.model_answers import model_answers
from semi.runs.reopen import reopen, say
from semi.training.teacher import answer

RULES = {"multi_label": "threshold", "joint": "class_topk"}


@pytest.mark.parametrize("kind", RULES)
def test_blocks_are_the_answers_of_one_call(tmp_path, monkeypatch, kind):
    write_manifest(tmp_path)
    words = ["recipe=none", f"select.rule={RULES[kind]}", "select.threshold=0.4"]
    words += ["rounds.max_rounds=1", "train.members=2"]
    done = reopen(semi.self_train(settings(tmp_path, kind, "a", *words), progress=False).path)
    model, dataset = done.model, done.dataset
    values, present = dataset.values, dataset.present
    whole = answer(model.ensemble, model.voter, values, present, model.chains)
    said = say(done)
    for rows in (None, dataset.pool, dataset.pool.flip(0)[:7], dataset.pool[:0]):
        every = slice(None) if rows is None else rows
        for block in (5, 65_536):
            monkeypatch.setattr(module, "BLOCK", block)
            found = model_answers(model, dataset, rows)
            torch.testing.assert_close(found.probs, whole.probs[every])
            torch.testing.assert_close(found.by_head, whole.by_head[:, every])
            assert (found.affect is None) == (kind == "multi_label")
            if found.affect is not None and whole.affect is not None:
                torch.testing.assert_close(found.affect, whole.affect[every])
    monkeypatch.setattr(module, "BLOCK", 5)
    again = say(done)
    assert abs(again.probs - said.probs).max() < 1e-6
