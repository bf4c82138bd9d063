"""From every layer of one pass to those a run keeps: extracted once, settled, resumed, used."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import HubertConfig, HubertModel

import semi
from models.encoders.config import resolve_layers
from semi.config.recipes import with_open_layers
from semi.config.schema import load_config
from semi.data.manifest import load_manifest
from semi.features.extract import open_encoders
from semi.features.narrow import keep_layers
from semi.features.read import read_features
from semi.features.sources import Limits
from semi.features.store import FeatureStore
from semi.runs.reopen import predictions_of
from semi.self_training.run_dir import Run
from semi.self_training.settling import with_layers
from semi.self_training.train import self_train
from semi.training.views import Views


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Returns a folder with a random HuBERT of four layers: for equalities, never for quality."""
    return write_hubert(tmp_path_factory.mktemp("hubert"), 4)


def write_hubert(folder, layers):
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=24, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=32,
        conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    HubertModel(config).save_pretrained(folder)
    preprocessor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def words(small_corpus, encoder, home):
    return [
        f"data.manifest={small_corpus}/manifest.csv", f"runs_dir={home}/runs", "tracking=false",
        f"features.store={home}/store", f"encoders.speech.model={encoder}", "threads=1",
        "encoders.text.model=none", "data.allow_leaks=[text]", "train.folds=2",
        "rounds.max_rounds=2", "data.workers=1",
    ]  # fmt: skip


def test_layers_left_open_are_the_last_the_middle_or_all():
    assert resolve_layers(None, 12) == resolve_layers([], 12) == [12]
    assert resolve_layers(None, 12, "views") == list(range(1, 13))
    assert resolve_layers(None, 12, "joined") == [4, 5, 6, 7, 8, 9]
    assert resolve_layers(None, 24, "views") == list(range(2, 25, 2))
    assert resolve_layers(None, 6, "joined") == [2, 3, 4]
    assert resolve_layers([3, -1], 6, "joined") == [3, 6]


def test_auto_is_a_word_for_layers_left_open(tmp_path):
    (tmp_path / "m.csv").write_text("id,text,label\na,hm,joy\n")
    base = [f"data.manifest={tmp_path}/m.csv", "encoders.speech.model=org/hubert"]
    config = load_config(None, [*base, "encoders.speech.layers=auto"])
    assert config.encoders.speech.layers is None
    assert with_open_layers(config).encoders.speech.combine == "views"
    for word in ("recipe=none", "encoders.speech.layers=[3]", "encoders.speech.combine=sum",
                 "model.kind=concat", "encoders.speech.model=acoustic"):  # fmt: skip
        other = load_config(None, [*base, word])
        assert with_open_layers(other) is other


def test_layers_kept_of_one_pass_are_those_of_a_pass_of_their_own(small_corpus, encoder, tmp_path):
    config = load_config(None, words(small_corpus, encoder, tmp_path))
    open_ = with_open_layers(config)
    table = load_manifest(config.data.manifest).table.head(6)

    def read(about, store):
        return read_features(
            table, open_encoders(about), store, Limits(), workers=1, progress=False
        )

    every = read(open_, tmp_path / "a").vectors
    assert every is not None and every.names == [f"speech.{k}" for k in (1, 2, 3, 4)]
    for parts in (["speech.2", "speech.3"], ["speech.4"]):
        chosen = with_layers(config, Views({"speech": parts}))
        assert chosen.encoders.speech.layers == [int(p[-1]) for p in parts]
        whole, part = (open_encoders(about)["speech"] for about in (open_, chosen))
        for _ in range(2):  # twice is once
            keep_layers(FeatureStore(tmp_path / "a"), whole, part)
        kept, own = read(chosen, tmp_path / "a"), read(chosen, tmp_path / "b")
        assert kept.extraction.done == 0 and own.extraction.done == 6
        assert kept.vectors is not None and own.vectors is not None
        torch.testing.assert_close(kept.vectors.values, own.vectors.values)
        assert kept.vectors.dims == {"speech": 24 * len(parts)}
    assert FeatureStore(tmp_path / "a").verify() == 18


def test_a_run_settles_its_layers_goes_on_with_them_and_predicts(small_corpus, encoder, tmp_path):
    said = words(small_corpus, encoder, tmp_path)
    result = self_train(load_config(None, said), progress=False)
    config = load_config(result.path / "config.yaml")
    speech = config.encoders.speech
    assert speech.layers in ([1, 2], [2, 3], [3, 4]) and speech.combine == "joined"
    assert any("speech 1-2" in note and "it is" in note for note in notes(result.path))
    again = self_train(load_config(None, said), resume=True, progress=False)
    assert again.sentence == result.sentence
    model = semi.load(result.path)
    first = load_manifest(config.data.manifest).table["audio"].iloc[0]
    assert len(model.predict([first])) == 1
    encoder_said = json.loads((result.path / "model/model.json").read_text())["encoders"]["speech"]
    assert encoder_said["layers"] == speech.layers


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_commands_that_follow_know_the_layers_of_a_shallow_encoder(
    small_corpus, tmp_path, layers
):
    """Fewer layers than are compared: all of them are settled on, and written down as well."""
    encoder = write_hubert(tmp_path / "hubert", layers)
    said = words(small_corpus, encoder, tmp_path)
    result = self_train(load_config(None, said), progress=False)
    every = list(range(1, layers + 1))
    assert load_config(result.path / "config.yaml").encoders.speech.layers == every
    assert any("of fewer than 4 layers all are heard: speech" in n for n in notes(result.path))
    assert semi.evaluate(result.path).metrics["rows"] > 0
    rows = load_manifest(f"{small_corpus}/manifest.csv").table
    assert len(semi.load(result.path).predict(rows["audio"].tolist()[:2])) == 2
    assert len(predictions_of(result.path).ids) == len(rows)
    again = self_train(load_config(None, said), resume=True, progress=False)
    assert again.sentence == result.sentence


def test_a_run_killed_before_it_told_what_it_settled_goes_on_the_same(
    small_corpus, encoder, tmp_path
):
    said = words(small_corpus, encoder, tmp_path)
    whole = self_train(load_config(None, said), progress=False)
    ledger = (whole.path / "ledger.csv").read_bytes()
    settings = (whole.path / "config.yaml").read_bytes()
    told, untold = tmp_path / "told", load_config(None, said)
    shutil.move(whole.path, told)
    whole.path.mkdir()
    for name in ("config.yaml", "manifest.sha256", "committee.safetensors"):
        shutil.copy(told / name, whole.path / name)
    (whole.path / "recipe.txt").mkdir()  # the sentence cannot be written; the settings are by then
    run = Run.open(whole.path)
    with pytest.raises(Exception, match=r"recipe\.txt"):
        run.settle(replace(run.config, seed=7), "a sentence")
    assert load_config(whole.path / "config.yaml").seed == 7
    (whole.path / "recipe.txt").rmdir()
    (whole.path / "config.yaml").write_bytes(settings)
    again = self_train(untold, resume=True, progress=False)
    assert (again.path / "ledger.csv").read_bytes() == ledger
    assert load_config(again.path / "config.yaml") == load_config(told / "config.yaml")


def notes(run):
    return json.loads((run / "result.json").read_text())["notes"]
