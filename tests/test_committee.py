"""What all compared models say of the pool, together: weights, rows, the first round, a kill."""

import json
import shutil

import pytest
import torch
from test_views import auto, layered
from tiny_dataset import tiny_dataset

from semi.config.schema import load_config
from semi.errors import RunError
from semi.files import read_tensors, write_tensors
from semi.self_training import view_selection
from semi.self_training.pool import Pools
from semi.self_training.rounds import run_rounds
from semi.self_training.train import self_train
from semi.self_training.view_selection import select_views
from semi.training.committee import Committee, committee_of


def test_models_weigh_by_the_likelihood_of_gold():
    rows = torch.tensor([7, 3])
    answers = [torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]), torch.tensor([[[0.5, 0.5], [0.6, 0.4]]])]
    even = committee_of(rows, answers, [torch.tensor([0.1, 0.3]), torch.tensor([0.3, 0.1])])
    torch.testing.assert_close(even.probs, (answers[0] + answers[1]) / 2)
    losses = [torch.tensor([0.2, 0.4]), torch.tensor([1.0, 1.6])]  # 0.6 and 2.6 nats in all
    share = 1 / (1 + torch.tensor(-0.5 * 2.0).exp())
    uneven = committee_of(rows, answers, losses)
    torch.testing.assert_close(uneven.probs, share * answers[0] + (1 - share) * answers[1])


def test_rows_that_were_not_asked_keep_what_was_said_of_them():
    committee = Committee(torch.tensor([9, 4]), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]] * 2))
    own = torch.full((4, 2), 0.5)
    said = committee.over(own, torch.tensor([4, 5, 9, 11]), 1)
    assert said.tolist() == [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.5, 0.5]]


def test_the_first_round_alone_learns_what_the_committee_says():
    data = layered(tiny_dataset())
    found = select_views(data, auto(data))
    committee = found.dataset.committee
    assert committee is not None
    assert committee.probs.shape == (data.folds + 1, len(data.pool), len(data.classes))
    torch.testing.assert_close(committee.probs.sum(2), torch.ones(committee.probs.shape[:2]))
    outcome = run_rounds(found.dataset, found.config)
    for chain in range(data.folds + 1):
        first, second = (
            Pools(found.dataset, outcome.states[0], found.config, 1.0, number).of(chain).probs
            for number in (1, 2)
        )
        torch.testing.assert_close(first, committee.probs[chain])
        assert not torch.allclose(second, committee.probs[chain], atol=1e-3)


def test_of_a_large_pool_some_rows_are_asked(monkeypatch):
    monkeypatch.setattr("semi.self_training.model_selection.MOST", 20)
    data = layered(tiny_dataset())
    found = select_views(data, auto(data))
    committee = found.dataset.committee
    assert committee is not None and committee.probs.shape[1] == 20 < len(data.pool)
    pools = Pools(found.dataset, run_rounds(found.dataset, found.config).states[0],
                  found.config, 1.0, 1)  # fmt: skip
    asked = torch.isin(data.pool, committee.rows)
    own = Pools(found.dataset, pools.state, found.config, 1.0, 2).of(0).probs
    torch.testing.assert_close(pools.of(0).probs[~asked], own[~asked])


def test_one_candidate_makes_no_committee():
    data = tiny_dataset(views=1)
    assert len(view_selection.candidates(data)) == 1
    assert select_views(data, auto(data)).dataset.committee is None


@pytest.fixture
def settings(small_corpus, tmp_path):
    return [
        f"data.manifest={small_corpus}/manifest.csv", f"runs_dir={tmp_path}/runs", "threads=1",
        f"features.store={tmp_path}/store", "tracking=false", "data.allow_leaks=[text]",
        "encoders.text.model=char-ngram", "data.labeled_fraction=0.6", "train.folds=2",
        "rounds.max_rounds=2", "rounds.accept_se=100", "rounds.min_information=0", "data.workers=1",
    ]  # fmt: skip


def test_a_run_killed_before_its_first_round_learns_the_same(settings, tmp_path):
    whole = self_train(load_config(None, settings), progress=False).path
    assert json.loads((whole / "result.json").read_text())["rounds"] >= 1
    ledger = (whole / "ledger.csv").read_bytes()
    kept = tmp_path / "kept"
    shutil.move(whole, kept)
    whole.mkdir()
    for name in ("config.yaml", "manifest.sha256", "committee.safetensors", "recipe.txt"):
        shutil.copy(kept / name, whole / name)
    again = self_train(load_config(None, settings), resume=True, progress=False)
    assert (again.path / "ledger.csv").read_bytes() == ledger


def test_a_committee_of_other_data_is_refused(settings):
    path = self_train(load_config(None, settings), progress=False).path
    for name in ("result.json", "checksums.json"):
        (path / name).unlink()
    for folder in path.glob("round-*"):
        shutil.rmtree(folder)
    held = read_tensors(path / "committee.safetensors")
    write_tensors(path / "committee.safetensors", held | {"probs": held["probs"][:, :1]})
    with pytest.raises(RunError, match="does not hold what models say of these data"):
        self_train(load_config(None, settings), resume=True, progress=False)
