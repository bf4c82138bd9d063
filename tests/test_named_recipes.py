"""Recipes that come with semi go by name, in any folder, and are told from files."""

from pathlib import Path

import pytest

import semi
from semi.config.schema import signature
from semi.data.corpora import bundled_emodb
from semi.experiments.benchmark.config import load_bench
from semi.shipped import recipe_names, shipped

CONFIGS = Path(__file__).parents[1] / "configs"
ONES_OWN = ["data.manifest=m.csv"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs each test in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_every_yaml_of_configs_is_a_recipe():
    assert recipe_names() == tuple(sorted(p.stem for p in CONFIGS.iterdir()))


@pytest.mark.parametrize("name", sorted(set(recipe_names()) - {"bench"}))
def test_a_name_is_the_file_of_that_name(name):
    named, filed = (semi.load_config(p, ONES_OWN) for p in (name, CONFIGS / f"{name}.yaml"))
    assert named == filed and named.given == filed.given


def test_the_benchmark_has_its_recipe_by_name():
    named, filed = load_bench("bench"), load_bench(CONFIGS / "bench.yaml")
    assert named == filed
    assert named.datasets["emodb"].config in recipe_names()


@pytest.mark.parametrize("name", ["demo", "hubert"])
def test_bundled_recordings_are_found_from_any_folder(name):
    assert semi.load_config(name).data.manifest == str(bundled_emodb())
    assert semi.load_config(name, ONES_OWN).data.manifest == "m.csv"


def test_a_recipe_finds_the_bundled_recordings_and_not_a_folder_of_that_name(tmp_path):
    (tmp_path / "examples" / "emodb").mkdir(parents=True)
    (tmp_path / "examples" / "emodb" / "manifest.csv").write_text("id,text\n")
    assert semi.load_config("demo").data.manifest == str(bundled_emodb())


def test_other_tables_are_ones_own():
    assert semi.load_config("mer2024_semi").data.manifest == "mer2024.csv"


def test_a_file_of_that_name_comes_first_and_a_folder_does_not(tmp_path):
    (tmp_path / "hubert").mkdir()
    assert semi.load_config("hubert").name == "hubert"
    (tmp_path / "demo").write_text("name: mine\ndata: {manifest: m.csv}\n")
    config = semi.load_config("demo")
    assert (config.name, config.data.manifest) == ("mine", "m.csv")
    path = shipped("configs") / "demo.yaml"
    assert signature(semi.load_config(path)) != signature(config)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("configs/demo.yaml", "no such file; the recipe of that name comes with semi: write demo"),
        ("hubert.yml", "no such file; the recipe of that name comes with semi: write hubert alone"),
        ("mer2024", "no such file, and no recipe of that name comes with semi; did you mean "
                    "'mer2024_semi'?; those are bench, default, demo, "),
        ("xyz", "no such file, and no recipe of that name comes with semi; those are bench, "),
        ("mine.yaml", "1 problem in the configuration:\n  mine.yaml: no such file"),
        ("demo/", "no such file, and no recipe of that name comes with semi; did you mean 'demo'"),
    ],
)  # fmt: skip
def test_what_is_neither_file_nor_recipe_is_told_what_there_is(word, told):
    with pytest.raises(semi.ConfigError) as error:
        semi.load_config(word, ["seed=1"])
    assert told in str(error.value)
    assert len(error.value.problems) == 1  # the table is not missing: the file may name it
