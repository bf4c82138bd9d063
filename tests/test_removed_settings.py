"""Settings of earlier versions: one sentence each, and old runs still open."""

import pytest

import semi
from semi.config.loading import resolve
from semi.config.removed import REMOVED, REMOVED_VALUES
from semi.config.schema import Config, load_config
from semi.config.yaml_format import all_keys


def test_none_of_them_is_a_setting():
    assert not set(REMOVED) & set(all_keys(Config))


@pytest.mark.parametrize("key", REMOVED)
def test_at_its_old_default_a_setting_changes_nothing(key):
    found = resolve(Config, None, [f"{key}={REMOVED[key].value}"])
    assert (found.problems, found.notes) == ([], [])


@pytest.mark.parametrize(
    "word", ["rounds.engine=online", "select.freematch.momentum=0.5", "select.gmm_split.history=9"]
)
def test_at_another_value_one_sentence_says_why(word):
    key, _, value = word.partition("=")
    with pytest.raises(semi.ConfigError, match=f"{key}: is no setting any more: ") as caught:
        load_config(None, ["data.manifest=m.csv", word])
    assert f"leave it out, it says {value}" in str(caught.value)


def test_the_settings_of_an_old_run_still_open_with_a_note(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(
        "data: {manifest: m.csv}\nrounds: {engine: online, max_rounds: 2}\n"
        "select: {rule: gmm_split, gmm_split: {history: 9}, dash: {factor: 1.0001}}\n"
    )
    config = load_config(path, elsewhere=True)
    assert (config.select.rule, config.rounds.max_rounds) == ("class_topk", 2)
    notes = capsys.readouterr().err
    for key in ("rounds.engine", "select.rule", "select.gmm_split.history"):
        assert f"{key} is no setting any more" in notes
    assert "dash" not in notes
    with pytest.raises(semi.ConfigError, match="3 problems"):
        load_config(path)


def test_a_removed_rule_is_named():
    (key, value), gone = next(iter(REMOVED_VALUES.items()))
    with pytest.raises(semi.ConfigError, match=f"{key}: is no setting any more"):
        load_config(None, ["data.manifest=m.csv", f"{key}={value}"])
    assert gone.value in ("class_topk",)


def test_what_stands_beside_a_removed_setting_is_still_checked():
    with pytest.raises(semi.ConfigError, match=r"select\.dash\.facter: no such setting"):
        load_config(None, ["data.manifest=m.csv", "select.dash.facter=2"])
