"""What models say of the pool is asked where it is wanted, and is the same whoever asks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from task_settings import settings, with_affect
from tiny_dataset import tiny_config, tiny_dataset

from models.fusion import FusionConfig
from pseudo_label import SelectionConfig
from semi.files import read_table
from semi.self_training.ledger import check_ledger, round_rows, write_round_ledger
from semi.self_training.pool_answers import pool_answers, pool_logits, pool_probabilities
from semi.self_training.rounds import run_rounds, warm_start
from semi.self_training.soft_labels import soft_labels_of
from semi.self_training.state import shipped
from semi.self_training.tasks import TASKS, taught_rows
from semi.training.students import STUDENTS, learned_start
from semi.training.teacher import answer, chain_logits


def begun(kind, data, **more):
    config = tiny_config(model=FusionConfig(kind=kind, dropout=0.1, **more))
    learned = learned_start(data, config)
    return config, learned, warm_start(data, config, learned)


@pytest.mark.parametrize("kind", ["discriminant", "logistic", "contrastive_residual", "concat"])
def test_the_pool_is_told_the_same_of_narrow_rows_and_of_wide_ones(kind):
    data = tiny_dataset()
    _, learned, state = begun(kind, data)
    plain = chain_logits(
        state.ensemble, data.values, data.present, 4, heads=3, rows=data.pool
    )  # fmt: skip
    assert plain.shape == (4, 3, len(data.pool), 3)
    assert torch.equal(pool_logits(data, state), plain)
    narrow = replace(data, seen=STUDENTS[kind].view(data, learned).seen)
    torch.testing.assert_close(pool_logits(narrow, state), plain, rtol=1e-4, atol=1e-5)
    probs = pool_probabilities(data, state)
    assert torch.equal(pool_answers(data, state), probs[-1].argmax(1))


def test_members_on_other_axes_than_the_rows_are_asked_with_the_values():
    data = tiny_dataset()
    _, few, _ = begun("discriminant", data, components=4)
    _, _, state = begun("logistic", data, components=7)  # as a floor that starts the rounds
    narrow = replace(data, seen=STUDENTS["discriminant"].view(data, few).seen)
    assert torch.equal(pool_logits(narrow, state), pool_logits(data, state))


def test_a_round_that_was_rolled_back_has_nobody_to_ask():
    data = tiny_dataset()
    _, _, state = begun("discriminant", data)
    state.ensemble = None
    with pytest.raises(RuntimeError, match="round 0 was rolled back: it has no models to ask"):
        pool_logits(data, state)


def test_a_branch_that_gold_refused_is_not_computed():
    data = tiny_dataset()
    _, _, state = begun("contrastive_residual", data)
    params = dict(state.ensemble.params)
    assert not any(v.any() for k, v in params.items() if k.endswith(".outer"))
    said = pool_logits(data, state)
    for name in [name for name in params if ".inner" in name or name.startswith("project")]:
        params[name] = torch.full_like(params[name], torch.nan)
    state.ensemble = state.ensemble.with_params(params)
    assert torch.equal(pool_logits(data, state), said)
    params["views.0.outer"] = torch.ones_like(params["views.0.outer"])
    state.ensemble = state.ensemble.with_params(params)
    assert pool_logits(data, state).isnan().any()  # one that stays is


@pytest.mark.parametrize("alone", [False, True])
def test_soft_labels_are_what_the_chains_and_what_ships_say(alone):
    data = tiny_dataset()
    data.present[data.pool[:3]] = False
    _, _, state = begun("concat", data)
    state.alone = alone
    labels = soft_labels_of(data, state)
    models, chains = shipped(state.ensemble, 4, alone)
    voter, values = state.outputs.voter, {m: v[data.pool] for m, v in data.values.items()}
    ships = answer(models, voter, values, data.present[data.pool], chains)
    rows = answer(models, voter, data.values, data.present, chains, rows=data.pool)
    assert torch.equal(rows.probs, ships.probs) and torch.equal(rows.by_head, ships.by_head)
    assert np.isnan(labels.pool[:, :3]).all()
    assert np.allclose(labels.pool[-1, 3:], ships.probs[3:].numpy())
    assert np.allclose(labels.pool[:-1, 3:], pool_probabilities(data, state)[:-1, 3:].numpy())


def test_a_ledger_without_classes_asks_no_pool():
    """What values need stands with the round: models that are gone are not missed."""
    data = with_affect(tiny_dataset())
    config = settings("affect", batch=96, steps=5, rounds=1)
    config.select = SelectionConfig(rule="spread", coverage=[0.5])
    start, state = run_rounds(data, config).states[:2]
    start.last_logits = start.ensemble = None
    (table,) = round_rows(data, state, start, "spread", TASKS["affect"])
    assert table["valence"].notna().all() and len(table) == len(data.pool)


@pytest.mark.parametrize("piece", [1, 7, 60, 1000])
def test_the_ledger_of_a_round_is_the_same_in_pieces(piece, monkeypatch, tmp_path):
    data, config = tiny_dataset(), tiny_config()
    data.present[data.pool[:10], 1] = False  # no vote_text in the first pieces
    start, state = run_rounds(data, config).states[:2]
    whole, parts = tmp_path / "whole.parquet", tmp_path / "parts.parquet"
    write_round_ledger(whole, round_rows(data, state, start, "class_topk", TASKS["single"]))
    monkeypatch.setattr(taught_rows, "PIECE", piece)
    write_round_ledger(parts, round_rows(data, state, start, "class_topk", TASKS["single"]))
    pd.testing.assert_frame_equal(read_table(parts), read_table(whole))
    assert len(read_table(parts)) == 60
    assert read_table(parts)["vote_text"].isna().tolist() == [True] * 10 + [False] * 50
    check_ledger(parts, data.ids[data.pool.numpy()], 1)
