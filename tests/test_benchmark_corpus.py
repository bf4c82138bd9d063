"""What a benchmark draws of a corpus: who is gold, pool and test, on which scale and layer."""

import numpy as np
import pytest
import torch
from bench_arrays import write_features
from two_runs import settings, write_manifest

from semi.config.yaml_format import to_yaml
from semi.errors import ConfigError
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import load_corpus
from semi.experiments.benchmark.data import dataset_of, outer, outer_splits
from semi.features.config import FeaturesConfig
from semi.features.standardize import Standardizer


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("features") / "toy.npz")


def test_test_speakers_are_in_no_pool(features):
    corpus = load_corpus("toy", DatasetConfig(features=str(features)))
    splits = outer_splits(corpus, 3)
    assert sorted(np.concatenate(splits)) == sorted(np.flatnonzero(corpus.label >= 0))
    for fold, test in enumerate(splits):
        dataset = dataset_of(corpus, outer(corpus, test, fold), 0.3, draw=0, folds=2, seed=0)
        rows = torch.cat([dataset.gold, dataset.pool]).numpy()
        assert not set(corpus.group[rows]) & set(corpus.group[test])
        assert set(dataset.test.numpy()) == set(test)
        assert not set(dataset.gold.numpy()) & set(dataset.pool.numpy())
        assert (dataset.target[dataset.pool] == 0).all()


def test_unlabelled_rows_are_pool_and_never_gold_or_test(features):
    corpus = load_corpus("toy", DatasetConfig(features=str(features)))
    split = outer(corpus, outer_splits(corpus, 2)[0], 0)
    unknown = set(np.flatnonzero(corpus.label < 0)) & set(split.train)
    for budget in (12, None):
        dataset = dataset_of(corpus, split, budget, draw=0, folds=2, seed=0)
        assert unknown <= set(dataset.pool.numpy())
    assert set(dataset.pool.numpy()) == unknown  # the oracle knows everything else


def test_a_second_group_is_kept_apart_too(features):
    config = DatasetConfig(features=str(features), second_group="script")
    corpus = load_corpus("toy", config)
    splits = outer_splits(corpus, 3)
    assert sorted(np.concatenate(splits)) == sorted(np.flatnonzero(corpus.label >= 0))
    for fold, test in enumerate(splits):
        train = outer(corpus, test, fold).train
        assert not set(corpus.second[train]) & set(corpus.second[test])
        assert not set(corpus.group[train]) & set(corpus.group[test])


def test_draws_differ_by_draw_seed_and_fold_and_repeat(features):
    corpus = load_corpus("toy", DatasetConfig(features=str(features)))
    test = outer_splits(corpus, 2)

    def gold(draw, seed, fold=0):
        split = outer(corpus, test[fold], fold)
        return dataset_of(corpus, split, 12, draw=draw, folds=2, seed=seed).gold.tolist()

    assert gold(0, 0) == gold(0, 0)
    assert len({tuple(gold(d, s)) for d in (0, 1) for s in (0, 1)}) == 4


def test_a_budget_beyond_the_labels_is_no_problem(features):
    corpus = load_corpus("toy", DatasetConfig(features=str(features)))
    split = outer(corpus, outer_splits(corpus, 2)[0], 0)
    assert dataset_of(corpus, split, 500, draw=0, folds=2, seed=0) is None


def test_scaling_reads_no_test_row(features):
    config = DatasetConfig(features=str(features), standardize="global", pca=3)
    corpus = load_corpus("toy", config)
    test = outer_splits(corpus, 2)[0]
    before = outer(corpus, test, 0)
    for view in corpus.features.values.values():
        view[torch.from_numpy(test)] += 100.0
    after = outer(corpus, test, 0)
    rows = torch.from_numpy(before.train)
    for view in before.values:
        assert torch.equal(before.values[view][rows], after.values[view][rows])


def test_a_layer_is_chosen_by_name_or_a_third_of_the_way_up(features):
    def speech(*views):
        config = DatasetConfig(features=str(features), views=list(views))
        return next(iter(load_corpus("toy", config).features.values.values()))

    assert torch.equal(speech("speech"), speech("speech.1"))
    assert not torch.equal(speech("speech.0"), speech("speech.1"))
    with pytest.raises(ConfigError, match=r"datasets.toy.views: 'speech.9' names layer 9 of 3"):
        speech("speech.9")
    with pytest.raises(ConfigError, match=r"no array 'speach'; did you mean 'speech'\?"):
        speech("speach")


def test_a_manifest_with_its_encoders_is_a_corpus_too(tmp_path):
    write_manifest(tmp_path)
    run = settings(tmp_path, "a", "features.standardize=speaker")
    (tmp_path / "run.yaml").write_text(to_yaml(run))
    config = DatasetConfig(config=str(tmp_path / "run.yaml"))
    corpus = load_corpus("texts", config)
    assert corpus.classes == ["anger", "calm", "joy"] and len(corpus) == 90
    assert set(corpus.group) == {f"s{i}" for i in range(7)}
    split = outer(corpus, outer_splits(corpus, 3)[0], 0)
    dataset = dataset_of(corpus, split, 12, draw=0, folds=2, seed=0)
    assert list(dataset.dims) == ["text"] and len(dataset.gold) == 12


@pytest.mark.parametrize(("run", "own", "used"), [
    ("speaker", "", "speaker"), ("global", "", "global"), ("none", "", "none"),
    ("global", "speaker", "speaker"), ("speaker", "none", "none"), ("speaker", "auto", "auto"),
])  # fmt: skip
def test_the_scaling_of_a_run_holds_unless_the_dataset_names_one(tmp_path, run, own, used):
    write_manifest(tmp_path)
    given = settings(tmp_path, "a", f"features.standardize={run}", "features.clamp=2.5")
    (tmp_path / "run.yaml").write_text(to_yaml(given))
    config = DatasetConfig(
        config=str(tmp_path / "run.yaml"), standardize=own, global_views=[], pca=None
    )
    corpus = load_corpus("texts", config)
    test = outer_splits(corpus, 3)[0]
    split = outer(corpus, test, 0)
    learn = torch.zeros(len(corpus), dtype=torch.bool)
    learn[torch.from_numpy(split.train)] = True
    speakers = corpus.group.tolist()

    def scaled(mode):
        about = FeaturesConfig(standardize=mode, clamp=2.5)
        fitted = Standardizer.fit(corpus.features, learn, about, speakers)
        return fitted.apply(corpus.features, speakers).values["text"]

    assert torch.equal(split.values["text"], scaled("global" if used == "auto" else used))
    assert (split.per_speaker is not None) == (used == "auto")
    if split.per_speaker is not None:
        assert torch.equal(split.per_speaker["text"], scaled("speaker"))
        dataset = dataset_of(corpus, split, 40, draw=0, folds=2, seed=0)
        assert any(torch.equal(dataset.values["text"], scaled(m)) for m in ("global", "speaker"))
