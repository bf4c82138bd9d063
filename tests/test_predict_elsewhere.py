"""A table is labelled in processes and on Ray as by one process, byte for byte and in its order."""

import os

import pytest
from test_predict_parts import table_of
from two_runs import scaled_runs

import semi
from models.encoders.char_ngram import CharNgramEncoder
from semi.cli import main
from semi.errors import SemiError
from semi.parallel import EngineConfig
from semi.runs import prediction_parts
from semi.runs.predict import Predictor
from semi.runs.prediction_parts import labelled_parts

RAY = pytest.mark.extras("ray")
ELSEWHERE = [["processes=2"], pytest.param(["engine=ray", "processes=2"], marks=RAY)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Returns a run on texts with its store, one scaled by speaker, and their table."""
    return scaled_runs(tmp_path_factory.mktemp("elsewhere"), "rounds.max_rounds=0")


@pytest.mark.parametrize("more", ELSEWHERE)
@pytest.mark.parametrize("kind", [".csv", ".parquet", ".jsonl"])
def test_the_bytes_are_those_of_one_process(runs, tmp_path, monkeypatch, capsys, more, kind):
    made, rows = runs
    monkeypatch.setattr(prediction_parts, "PART", 7)
    manifest = str(table_of(rows, tmp_path, ids=kind != ".csv"))
    words = ["predict", str(made["global"]), "--manifest", manifest]
    said = []
    for name, where in (("here", []), ("there", more)):
        out = tmp_path / f"{name}{kind}"
        assert main([*words, "-o", str(out), *where]) == 0
        said.append(capsys.readouterr().out.partition(": ")[2])
    assert said[0] == said[1] and "2 of them without a label" in said[0]
    assert (tmp_path / f"there{kind}").read_bytes() == (tmp_path / f"here{kind}").read_bytes()


class DyingPredictor(Predictor):
    """A model whose worker is killed by the system as soon as it answers."""

    def features(self, *given, **more):
        os._exit(9)


@pytest.mark.parametrize(
    ("kept", "told"),
    [(True, "vectors in the store are kept, answers are not"), (False, "nothing is kept")],
)
def test_a_killed_worker_is_not_told_that_its_answers_are_kept(runs, monkeypatch, kept, told):
    made, rows = runs
    monkeypatch.setattr(prediction_parts, "PART", 7)
    predictor = DyingPredictor(semi.load(made["global"]).model)
    store = predictor.model.config.features.store if kept else None
    engine = EngineConfig(processes=2)
    with pytest.raises(SemiError, match="a worker process ended") as caught:
        list(labelled_parts(predictor, rows.assign(audio=None), store, {}, engine=engine))
    assert f"; {told}: the same command begins anew, with fewer processes" in str(caught.value)
    assert "goes on" not in str(caught.value)


@pytest.mark.parametrize("more", ELSEWHERE)
@pytest.mark.parametrize("mode", ["global", "speaker"])
def test_what_is_missing_is_encoded_by_workers(runs, tmp_path, monkeypatch, capsys, more, mode):
    """Of one part, too, and of speakers whose rows must stay together; no store is left behind."""
    made, rows = runs
    rows = rows.assign(text=[f"{text} again" for text in rows["text"]])
    manifest = str(table_of(rows, tmp_path))
    model = made[mode] / "model"
    words = ["predict", str(model), "--manifest", manifest]
    moved = tmp_path / "moved"
    monkeypatch.chdir(tmp_path)
    os.rename(semi.load(model).model.config.features.store, moved)
    try:
        assert main(words) == 0
        here = capsys.readouterr().out
        monkeypatch.setattr(CharNgramEncoder, "encode", None)  # of this process
        assert main([*words, *more]) == 0
        assert capsys.readouterr().out == here
    finally:
        os.rename(moved, semi.load(model).model.config.features.store)
    assert not list(tmp_path.glob(".semi-*"))


@pytest.mark.parametrize("more", ELSEWHERE)
def test_a_rule_is_looked_at_with_features_that_workers_encode(
    runs, tmp_path, monkeypatch, capsys, more
):
    words = ["select", str(runs[0]["global"]), "rule=margin", "--dry-run"]
    assert main(words) == 0
    here = capsys.readouterr().out
    monkeypatch.setattr(CharNgramEncoder, "encode", None)  # of this process
    assert main([*words, f"features.store={tmp_path}/new", *more]) == 0
    assert capsys.readouterr().out == here
    assert main([*words, "processes=-1"]) == 2
    assert "processes must be >= 0, got -1" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "sentence"), [
    (["a.wav", "processes=2"], "engine and processes go with --manifest: files and texts that are"),
    (["--text", "so", "engine=local", "processes=4"], "engine and processes go with --manifest: "),
    (["--manifest", "m.csv", "device=cuda"], "'device=cuda' is no file, and beside --manifest no "
     "setting: semi predict takes engine, ray_address and processes"),
    (["--manifest", "m.csv", "engine=slurm"], "engine must be local or ray, got 'slurm'"),
    (["--manifest", "m.csv", "processes=many"], "processes: "),
    (["--manifest", "m.csv", "processes=2", "b.wav"], "give either files and --text, or --manif"),
    (["--manifest", "m.csv", "ray_address=auto"], "ray_address 'auto' is for engine=ray, engine "),
    (["--manifest", "m.csv", "engine=ray"], "engine: ray needs a library that is not installed "),
])  # fmt: skip
def test_words_that_do_not_go_together_are_named(runs, words, sentence, capsys, monkeypatch):
    monkeypatch.setattr("semi.parallel.find_spec", lambda name: None)
    assert main(["predict", str(runs[0]["global"]), *words]) == 2
    assert sentence in capsys.readouterr().err
