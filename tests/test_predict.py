"""A model directory answers as the model in memory did, anywhere, and says what it cannot read."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from pseudo_label.calibration import fit_calibration
from semi.checksums import seal
from semi.config.schema import load_config
from semi.errors import ManifestError, RunError, SemiError
from semi.features.extract import extract_rows, open_encoders
from semi.features.standardize import Standardizer
from semi.features.store import FeatureStore
from semi.features.table import load_features
from semi.files import read_json, write_json
from semi.runs.predict import Predictor, load, predict
from semi.runs.prediction_table import as_columns, lines
from semi.runs.utterances import utterances
from semi.self_training.model_dir import Model, load_model, same_encoder, save_model
from semi.training.ensemble import Ensemble
from semi.training.voter import Voter

CLASSES = ["기쁨", "sad", "calm"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for k in range(6):
        seconds = np.arange(8000 + 900 * k) / 16_000
        wave = 0.3 * np.sin(2 * np.pi * (120 + 60 * k) * seconds) * (1 + np.sin(9 * k * seconds))
        noise = 0.01 * rng.standard_normal(len(seconds))
        soundfile.write(folder / f"{k}.wav", wave / 2 + noise, 16_000)
    (folder / "broken.wav").write_bytes(b"RIFF no sound at all")
    return folder


@pytest.fixture(scope="module")
def model(sounds, tmp_path_factory):
    """Returns a model of random parameters with real encoders, calibration and standardisation."""
    settings = ["data.manifest=m.csv", "features.standardize=speaker", "model.hidden=16"]
    config = load_config(None, settings)
    table = utterances([sounds / f"{k}.wav" for k in range(6)], ["so", "ja", None, "na", "o", "a"])
    table["speaker"] = ["a", "a", "a", "b", "b", "b"]
    encoders = open_encoders(config)
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    extract_rows(table, encoders, store, progress=False)
    raw = load_features(table, encoders, store)
    speakers = table["speaker"]
    standardizer = Standardizer.fit(raw, torch.ones(6).bool(), config.features, speakers)
    dims = standardizer.apply(raw, speakers).dims
    heads = ["fused", *dims]
    logits, label = torch.randn(3, 30, 3, generator=torch.manual_seed(0)), torch.arange(30) % 3
    calibrations = {h: fit_calibration(logits[i], label) for i, h in enumerate(heads)}
    return Model(
        config=config,
        classes=CLASSES,
        ensemble=Ensemble.create(config.model, dims, 3, count=6, seed=1),
        voter=Voter(heads, calibrations, torch.tensor([0.5, 0.3, 0.2])),
        chains=3,
        standardizer=standardizer,
        identities={n: e.identity() for n, e in encoders.items()},
        facts={"round": 2},
    )


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    save_model(folder / "model", model)
    return folder


def test_a_model_directory_holds_no_pickle(run):
    assert sorted(p.name for p in (run / "model").iterdir()) == [
        "checksums.json", "config.yaml", "model.json", "model.safetensors"
    ]  # fmt: skip
    assert read_json(run / "model/model.json")["classes"] == CLASSES


def test_saved_and_loaded_answers_are_identical(run, model, sounds):
    audio, texts = [sounds / "1.wav", sounds / "4.wav", None], ["so", None, "ja"]
    before = Predictor(model).predict(audio, texts)
    pd.testing.assert_frame_equal(load(run).predict(audio, texts), before, check_exact=True)
    pd.testing.assert_frame_equal(load(run / "model").predict(audio, texts), before)
    probs = before[[f"p_{c}" for c in CLASSES]].to_numpy()
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    assert (before["confidence"] == probs.max(1)).all()
    assert before["text_label"].isna().tolist() == [False, True, False]
    assert before["speech_label"].isna().tolist() == [False, False, True]


def test_a_copied_model_directory_loads_elsewhere(run, sounds, tmp_path, monkeypatch):
    shutil.copytree(run / "model", tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    here = load("copy").predict([sounds / "2.wav"])
    pd.testing.assert_frame_equal(here, load(run).predict([sounds / "2.wav"]))
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]  # nothing is left behind


def test_a_row_is_answered_alone_as_among_others(run, sounds):
    together = load(run).predict([sounds / f"{k}.wav" for k in range(6)], list("abcdef"))
    alone = load(run).predict([sounds / "3.wav"], ["d"])
    names = [f"p_{c}" for c in CLASSES]
    np.testing.assert_allclose(
        together.loc[3, names].astype(float), alone.loc[0, names].astype(float), atol=1e-5
    )


def test_a_known_speaker_is_standardised_by_the_training_profile(run, sounds):
    table = pd.DataFrame(utterances([sounds / "0.wav"], ["so"]))
    unknown = load(run).predict(table)
    table["speaker"] = ["a"]
    assert load(run).predict(table)["confidence"][0] != unknown["confidence"][0]


def test_what_cannot_be_read_has_no_label_and_says_why(run, sounds):
    answers = load(run).predict([sounds / "broken.wav", sounds / "0.wav"])
    assert answers["label"].isna().tolist() == [True, False]
    assert np.isnan(answers["confidence"][0]) and answers["note"][0]
    assert lines(as_columns(answers))[0].endswith(f"broken.wav  -  ({answers['note'][0]})")
    with_text = load(run).predict([sounds / "broken.wav"], ["ja"])
    assert with_text["label"][0] in CLASSES and with_text["note"][0].startswith("unreadable: ")
    nothing = load(run).predict([None], [None])
    assert nothing["note"][0] == "nothing to go by"


def test_lines_tell_label_confidence_and_votes(run, sounds):
    (line,) = predict(run, [str(sounds / "0.wav")], ["so"]).splitlines()
    name, rest = line.split("  ", 1)
    assert name.endswith("0.wav")
    assert "(speech: " in rest and ", text: " in rest
    assert "text:" not in predict(run, [str(sounds / "0.wav")])


def test_a_manifest_becomes_a_table(run, sounds, tmp_path):
    manifest = tmp_path / "m.csv"
    rows = [f"u{k},{sounds}/{k}.wav,word {k}" for k in range(4)]
    manifest.write_text("\n".join(["id,audio,text", *rows]) + "\n")
    told = predict(run, manifest=manifest, output=tmp_path / "out.csv")
    assert told == f"{tmp_path}/out.csv: 4 utterances"
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["id"].tolist() == ["u0", "u1", "u2", "u3"]
    assert set(table["label"]) <= set(CLASSES)


@pytest.mark.parametrize(
    ("audio", "texts", "words", "sentence"),
    [
        ([], [], {}, "nothing to label: give audio files, --text, or --manifest table.csv"),
        (["a", "b"], ["x"], {}, "2 audio files but 1 text; give one text per file, or none"),
        (["no.wav"], [], {}, "no such audio file: no.wav"),
        (["configs/"], [], {}, "configs/ is a folder without a sound; give one that holds some, "
                               "or the files themselves"),
        (["examples/emodb/manifest.csv"], [], {},
         "examples/emodb/manifest.csv is a table; write --manifest before it"),
        (["no.wav"], [], {"output": "a.xls"},
         "a.xls: cannot write '.xls'; name it .csv, .tsv, .parquet, .jsonl"),
        (["a"], [], {"manifest": "m.csv"}, "give either files and --text, or --manifest, not both"),
    ],
)  # fmt: skip
def test_sentences_about_what_is_to_be_labelled(run, audio, texts, words, sentence, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    with pytest.raises(SemiError) as caught:
        predict(run, audio, texts, **words)
    assert str(caught.value) == sentence


def test_a_folder_stands_for_the_sounds_beneath_it(run, sounds, tmp_path, capsys):
    from semi.cli import main

    for k, name in enumerate(("b/1.wav", "a.wav", "b/.hidden.wav", "read.me")):
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sounds / f"{k}.wav", tmp_path / "new" / name)
    files = [str(tmp_path / "new" / name) for name in ("a.wav", "b/1.wav")]
    for more in ([], ["--windows", "0.3"]):
        assert main(["predict", str(run), str(tmp_path / "new"), *more]) == 0
        told = capsys.readouterr().out
        assert main(["predict", str(run), *files, *more]) == 0
        assert told == capsys.readouterr().out
        assert all(name in told for name in files)
    with pytest.raises(ManifestError, match="the same audio file is given twice"):
        predict(run, [str(tmp_path / "new"), files[0]])


@pytest.mark.parametrize(
    ("header", "row", "modality", "what"),
    [("clip", "{sounds}/{k}.wav", "audio", "names of sounds"),
     ("words", "what I said, sir", "text", "sentences")],
)  # fmt: skip
def test_an_input_of_the_model_under_an_unknown_name_is_asked_for(
    run, sounds, tmp_path, header, row, modality, what
):
    other = ("text", "so") if modality == "audio" else ("audio", f"{sounds}/0.wav")
    rows = [f'u{k},"{row.format(sounds=sounds, k=k)}",{other[1]}'
            for k in range(4)]  # fmt: skip
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join([f"id,{header},{other[0]}", *rows]) + "\n")
    with pytest.raises(ManifestError) as caught:
        predict(run, manifest=manifest)
    assert str(caught.value).startswith(
        f"{manifest}: no row has {modality}, but '{header}', whose name says nothing, holds "
        f"{what}; name it '{modality}' in the table, or take it out"
    )
    manifest.write_text(manifest.read_text().replace(header, modality, 1))
    assert len(predict(run, manifest=manifest).splitlines()) == 4


def test_labels_and_splits_of_a_manifest_do_not_matter_for_prediction(run, sounds, tmp_path):
    rows = [
        f"u0,{sounds}/0.wav,ja,joy,unlabeled,x?",
        f"u1,{sounds}/broken.wav,so,,nowhere,",
        f"u2,{sounds}/broken.wav,,,,",
    ]
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(["id,audio,text,label,split,valence", *rows]) + "\n")
    told = predict(run, manifest=manifest, output=tmp_path / "out.tsv")
    assert told == (
        f"{tmp_path}/out.tsv: 3 utterances, 1 of them without a label, 1 labelled although an "
        "input could not be used (see the column note)"
    )
    plain = predict(run, manifest=manifest).splitlines()
    assert [line.split()[0] for line in plain] == ["u0", "u1", "u2"]


def test_where_no_row_can_be_labelled_the_command_fails_and_says_why(run, tmp_path, capsys):
    from semi.cli import main

    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    assert main(["predict", str(run), str(tmp_path / "a.wav")]) == 2
    assert "nothing could be labelled:\n" in (err := capsys.readouterr().err)
    assert "a Git LFS pointer in place of the sound; run git lfs pull" in err
    manifest, out = tmp_path / "m.csv", tmp_path / "out.csv"
    manifest.write_text("id,audio\nu0,a.wav\nu1,b.wav\n")
    assert main(["predict", str(run), "--manifest", str(manifest), "-o", str(out)]) == 2
    told = f"{out}: none of 2 utterances could be labelled (unreadable: a Git LFS pointer"
    assert told in capsys.readouterr().err
    assert out.read_text().count("\n") == 3


def test_predict_names_no_setting_that_it_does_not_take(run, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 130_000), 1000)
    with pytest.raises(ManifestError, match=r"up to 120 s; label it piece by piece with --windows"):
        predict(run, [str(tmp_path / "long.wav")])
    (tmp_path / "m.csv").write_text("foo,bar\nx.wav,y\n")
    with pytest.raises(ManifestError, match=r"\(predict takes no settings: change the table"):
        predict(run, manifest=tmp_path / "m.csv")


def test_a_manifest_to_label_says_what_was_understood_and_loses_no_row(
    run, sounds, tmp_path, capsys
):
    files = sorted(sounds.glob("*.wav"))[:3]
    rows = "".join(f"u{i},{file},x,y\n" for i, file in enumerate(files))
    good = "name,file,sentiment,category\n" + rows
    manifest = tmp_path / "new.csv"
    manifest.write_text(good)
    assert len(predict(run, manifest=manifest).splitlines()) == 3
    told = capsys.readouterr().err
    assert f"read {manifest} (comma, utf-8): 3 of 3 rows\n" in told
    columns = "name -> id, file -> audio; carried along: sentiment; ignored: category"
    assert f"  columns: {columns}\n" in told
    manifest.write_text(good.replace("u1,", '"u1,'))
    with pytest.raises(ManifestError, match=r"new.csv row 3 '\"u1,.*never closed"):
        predict(run, manifest=manifest)
    manifest.write_text(good.replace("name,file", "who,where"))
    with pytest.raises(ManifestError, match=r"none of its columns is known; it has 4 columns"):
        predict(run, manifest=manifest)


def test_a_row_with_nothing_that_the_model_reads_says_what_it_reads(model, sounds):
    speech = replace(model, identities={"speech": model.identities["speech"]})
    table = Predictor(speech).predict(None, ["ja"])
    assert table["note"].tolist() == ["nothing to go by: this model reads speech"]


def test_a_table_needs_an_id_and_whatever_else_it_has(run):
    table = pd.DataFrame({"id": ["a", "b"], "text": ["so", None]})
    found = load(run).predict(table)
    assert found["label"][0] in CLASSES and found["note"].tolist() == ["", "nothing to go by"]
    with pytest.raises(ManifestError, match="the table to label has no column id; give each row"):
        load(run).predict(table[["text"]])


def test_one_file_and_one_text_need_no_list():
    table = utterances("a.wav", "so")
    assert (table["id"], table["text"]) == (["a.wav"], ["so"])


def test_the_same_file_twice_is_refused():
    with pytest.raises(ManifestError, match="the same audio file is given twice"):
        utterances(["a.wav", "a.wav"], None)


def test_sentences_about_a_folder_without_a_model(run, tmp_path):
    with pytest.raises(RunError, match="no such folder; give a run such as runs/demo"):
        load_model(tmp_path / "no")
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(RunError, match="is an unfinished run without a model"):
        load_model(tmp_path)
    shutil.copytree(run / "model", tmp_path / "model")
    said = read_json(tmp_path / "model/model.json")
    write_json(tmp_path / "model/model.json", {**said, "format": 99})
    seal(tmp_path / "model")
    with pytest.raises(RunError, match="has format 99, this version reads 1"):
        load_model(tmp_path)


def test_another_encoder_than_the_trained_one_is_refused():
    same_encoder("speech", {"layers": [1, 2]}, {"layers": (1, 2)})
    told = r"the speech encoder is not the one .* \(layers was \[1\], now \[2\]\)"
    with pytest.raises(RunError, match=told):
        same_encoder("speech", {"layers": [1]}, {"layers": [2]})
