"""What trackers are given of a large pool: draws of a fixed size that say so, whole counts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny_learning import tiny_dataset, tiny_learning

from models.fusion import FusionConfig
from semi.config.training import RoundsConfig
from semi.evaluation import figures
from semi.evaluation.trackers.several import open_trackers
from semi.evaluation.trackers.tracker import Tracker
from semi.self_training.record import round_record
from semi.self_training.rounds import run_rounds
from semi.self_training.show_round import show_round, surest


class Notebook(Tracker):
    """Keeps what it is given."""

    def __init__(self):
        self.texts, self.spreads, self.clouds, self.pictures = [], [], [], []

    def text(self, step, name, words):
        self.texts.append((step, name, words))

    def histogram(self, step, name, values):
        self.spreads.append((step, name, values))

    def points(self, step, name, vectors, columns):
        self.clouds.append((step, name, vectors, columns))

    def image(self, step, name, pixels):
        self.pictures.append((step, name))


def shown(folder, gold, pool):
    """Returns what a tracker is given of two rounds on made-up rows, and their ids by role."""
    dataset = tiny_dataset(gold=gold, pool=pool, test=30)
    config = replace(
        tiny_learning(max_rounds=2),
        model=FusionConfig(kind="discriminant", components=4),
        rounds=RoundsConfig(max_rounds=2, accept_se=99.0, min_change=0.0),
    )
    notebook = Notebook()
    trackers = open_trackers({"a": lambda *_: notebook}, folder, "a")
    table = pd.DataFrame({"id": dataset.ids, "text": "so it is", "audio": None})
    for state in run_rounds(dataset, config).states:
        trackers.begin_round(state.number)
        show_round(trackers, dataset, state, round_record(dataset, state, config, "rule"), table)
    ids = {n: set(dataset.ids[getattr(dataset, n).numpy()]) for n in ("gold", "pool")}
    return notebook, ids


@pytest.mark.parametrize("gold, pool, shares", [
    (90, 5000, (90, 1910)), (1500, 2500, (1000, 1000)), (1700, 400, (1600, 400)),
    (60, 200, (60, 200)),
])  # fmt: skip
def test_the_projector_has_at_most_2000_rows_and_says_of_how_many(tmp_path, gold, pool, shares):
    notebook, ids = shown(tmp_path, gold, pool)
    assert len(notebook.clouds) == 3
    for _, _, vectors, columns in notebook.clouds:
        assert len(vectors) == sum(shares)
        assert all(len(column) == len(vectors) for column in columns.values())
        assert sum(i in ids["gold"] for i in columns["id"]) == shares[0]
        roles = dict(zip(columns["id"], columns["role"], strict=True))
        assert {i for i, role in roles.items() if role == "gold"} <= ids["gold"]
        assert {i for i, role in roles.items() if role != "gold"} <= ids["pool"]
        labels = columns["label"][columns["role"] == "pool"]
        assert set(labels) <= {"unlabelled"}
    first, *rest = [cloud[3]["id"].tolist() for cloud in notebook.clouds]
    assert all(ids == first for ids in rest), "the same rows in each round"
    told = {name: words for _, name, words in notebook.texts if name.startswith("fused")}
    expected = {
        f"fused/{part}_rows": f"{few:,} of {of:,} {part} rows, drawn at random"
        for part, few, of in zip(("gold", "pool"), shares, (gold, pool), strict=True)
        if few < of
    }
    assert told == expected


def test_a_histogram_of_many_values_is_of_a_draw_its_picture_of_all(tmp_path, monkeypatch):
    notebook, drawn = Notebook(), []
    picture = figures.histogram
    monkeypatch.setattr(
        figures, "histogram", lambda rows, chosen: drawn.append((rows, chosen)) or picture(rows)
    )
    trackers = open_trackers({"a": lambda *_: notebook}, tmp_path, "a")
    values = np.random.default_rng(0).random(250_000, np.float32)
    for number in (1, 2):
        trackers.begin_round(number)
        trackers.confidences("pool/confidence", values, values > 0.5)
        trackers.end_round()
    trackers.begin_round(3)
    trackers.confidences("pool/confidence", values[:99], values[:99] > 0.5)
    assert [len(spread) for _, _, spread in notebook.spreads] == [100_000, 100_000, 99]
    assert np.isin(notebook.spreads[0][2], values).all()
    assert abs(notebook.spreads[0][2].mean() - values.mean()) < 0.01
    assert (notebook.spreads[0][2] == notebook.spreads[1][2]).all()
    cards = [words for _, name, words in notebook.texts if name == "pool/confidence/rows"]
    assert cards == ["100,000 of 250,000 rows, drawn at random"] * 2
    (rows, chosen), *_ = drawn
    assert sum(rows) == 250_000 and sum(chosen) == int((values > 0.5).sum())
    assert [step for step, _ in notebook.pictures] == [1, 3], "nothing is drawn twice"


def test_a_matrix_is_drawn_again_where_a_class_has_moved_by_two_hundredths(tmp_path):
    notebook = Notebook()
    trackers = open_trackers({"a": lambda *_: notebook}, tmp_path, "a")
    for number, wrong in enumerate((10, 11, 13, 14, 30, 31)):
        trackers.begin_round(number)
        trackers.confusion("oof/confusion", [[100 - wrong, wrong], [0, 100]], ["a", "b"])
        trackers.end_round()
    assert [step for step, _ in notebook.pictures] == [0, 2, 4]


def test_a_matrix_of_many_classes_has_no_numbers_in_its_cells():
    few, many = ([f"c{i}" for i in range(n)] for n in (20, 21))
    cells = [
        figures.confusion(np.eye(len(names)).tolist(), names).axes[0].texts for names in (few, many)
    ]
    assert [len(texts) for texts in cells] == [20, 0]


@pytest.mark.parametrize("values", [[], [0.5], [0.2, 0.9, 0.9, 0.1, 0.9, 0.3], [0.7] * 50])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_surest_are_those_of_a_whole_sort(values, most):
    confidence = np.array(values, np.float32)
    expected = np.argsort(-confidence, kind="stable")[:most]
    assert surest(confidence, most).tolist() == expected.tolist()
