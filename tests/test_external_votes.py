"""Outside voters: read from files, asked where they have a say, refused where they have none."""

import numpy as np
import pandas as pd
import pytest
import torch
from two_runs import settings, write_manifest

import semi
from pseudo_label import SelectionConfig
from pseudo_label.selection import Pool, select
from semi.data.external_votes import outside_votes
from semi.errors import ConfigError, RunError

IDS = np.array(["a", "b", "c", "d"])


def table(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


def test_votes_stand_in_the_order_of_the_manifest_and_its_classes(tmp_path):
    path = table(tmp_path / "v.csv", id=["c", "a"], p_sad=[0.2, 1.0], p_joy=[0.8, 0.0])
    votes = outside_votes([path], IDS, ["joy", "sad"])
    assert votes.shape == (1, 4, 2)
    assert torch.allclose(votes[0, [0, 2]], torch.tensor([[0.0, 1.0], [0.8, 0.2]]))
    assert votes[0, [1, 3]].isnan().all()
    assert outside_votes([], IDS, ["joy", "sad"]) is None


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_ids_and_classes_of_a_voter_are_composed_as_those_of_a_table(tmp_path, suffix):
    ids, classes = ["\u1100\u1161", "b"], ["e\u0301mu", "joy"]  # letters in parts
    probs, path = np.array([[0.9, 0.1], [0.2, 0.8]]), tmp_path / f"v{suffix}"
    if suffix == ".npz":
        np.savez(path, ids=np.array(ids), classes=np.array(classes), probs=probs)
    else:
        table(path, id=ids, **{f"p_{c}": probs[:, k] for k, c in enumerate(classes)})
    votes = outside_votes([str(path)], np.array(["\uac00", "b"]), ["\u00e9mu", "joy"])
    assert torch.allclose(votes[0], torch.from_numpy(probs).to(votes.dtype))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"id": ["a"], "p_joy": [1.0], "p_fear": [0.0]}, "they must be the same labels"),
        ({"id": ["a", "a"], "p_joy": [1.0, 1.0], "p_sad": [0.0, 0.0]}, "names an utterance twice"),
        ({"id": ["b"], "p_joy": [3.1], "p_sad": [-2.0]}, "row of 'b' must be >= 0 and sum to 1"),
        (
            {"id": ["x"], "p_joy": [1.0], "p_sad": [0.0]},
            "none of the utterance ids of the manifest, such as a",
        ),
    ],
)
def test_what_is_no_vote_is_refused_in_one_sentence(tmp_path, columns, told):
    with pytest.raises(RunError, match=f"data.outside: .*{told}"):
        outside_votes([table(tmp_path / "v.csv", **columns)], IDS, ["joy", "sad"])


def test_what_is_no_file_of_probabilities_is_named(tmp_path):
    with pytest.raises(RunError, match=r"data\.outside: .*v\.csv: no such file of probabilities"):
        outside_votes([str(tmp_path / "v.csv")], IDS, ["joy", "sad"])
    with pytest.raises(RunError, match=r"data\.outside: .*v\.csv lacks p_<class>; say what its"):
        outside_votes([table(tmp_path / "v.csv", id=["a"])], IDS, ["joy", "sad"])
    (tmp_path / "v.txt").write_text("")
    with pytest.raises(RunError, match=r"v\.txt: probabilities are read from \.npz, \.csv and"):
        outside_votes([str(tmp_path / "v.txt")], IDS, ["joy", "sad"])


def test_a_row_that_a_voter_was_not_asked_about_is_not_confirmed():
    probs = torch.tensor([[0.9, 0.1]] * 4)
    said = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [torch.nan, torch.nan]])
    pool = Pool(
        probs=probs,
        prior=torch.tensor([0.99, 0.01]),
        tie=torch.arange(4),
        rate=1.0,
        classes=["joy", "sad"],
        external=said[None],
    )
    chosen = select(pool, SelectionConfig(rule="external")).chosen
    assert chosen.tolist() == [True, False, True, False]
    config = SelectionConfig(rule="class_topk")
    config.agreement.mode, config.agreement.over = "soft", ["external"]
    probs = select(pool, config).probs
    assert torch.allclose(probs[3], torch.tensor([0.9, 0.1])) and not probs.isnan().any()


def test_a_run_takes_what_a_voter_confirms(tmp_path):
    write_manifest(tmp_path)
    ids = pd.read_csv(tmp_path / "m.csv")["id"]
    label = pd.read_csv(tmp_path / "m.csv")["label"]
    classes = sorted(set(label.dropna()))
    votes = {f"p_{c}": (label == c).astype(float) for c in classes}
    path = table(tmp_path / "votes.csv", id=ids, **votes)
    words = ["select.rule=external", "rounds.max_rounds=1", "rounds.accept_se=9"]
    config = settings(tmp_path, "outside", *words, f"data.outside=[{path}]")
    result = semi.self_train(config, progress=False)
    ledger = pd.read_csv(result.path / "ledger.csv")
    added = ledger[ledger["round"] == 1] if "round" in ledger else ledger
    assert len(added)
    with pytest.raises(ConfigError, match=r"data\.outside names no file"):
        settings(tmp_path, "none", *words)
