"""Every verb that takes a table takes a class folder: check, train and predict on real sounds."""

import pandas as pd
import pytest
from format_trees import place, utterances

from semi.cli import main


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A class folder of 36 recordings, a third of them in test/."""
    root = tmp_path_factory.mktemp("tree")
    for number, row in enumerate(utterances(12)):
        split = "test" if number % 3 == 0 else "train"
        place(row, root / split / row["label"] / f"{row['id']}.opus")
    return root


def test_check_train_and_predict_read_a_class_folder(tree, store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [f"data.manifest={tree}", "encoders.text.model=none", f"features.store={store}"]
    assert main(["check", "name=a", *words]) == 0
    said = capsys.readouterr().out
    assert f"read {tree} (class folders): 36 of 36 rows" in said
    assert "labels: anger 12, happiness 12, neutral 12" in said
    assert main(["train", "name=a", *words, "recipe=auto", "data.labeled_fraction=0.5"]) == 0
    assert main(["predict", "runs/a", "--manifest", str(tree), "-o", "out.csv"]) == 0
    answers = pd.read_csv("out.csv")
    assert len(answers) == 36
    assert set(answers["label"]) <= {"anger", "happiness", "neutral"}
    assert answers["id"].str.match(r"(train|test)/\w+/\w+").all()
