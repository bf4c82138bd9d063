"""Folders of many runs and of adapted encoders: one flipped bit in any file of them is named."""

import json
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
from killed_adaptation import killed_adaptation
from test_text_encoder import folder as text_model
from two_runs import settings, write_manifest

from semi.checksums import CHECKSUMS, DERIVED, files_below
from semi.config.schema import load_config
from semi.errors import RunError
from semi.experiments.benchmark.benchmark import benchmark
from semi.experiments.benchmark.config import load_bench
from semi.experiments.cross_validation import all_folds
from semi.experiments.search.search import search
from semi.features.extract import extract
from semi.guarded_files import write_guarded
from semi.runs.compare import compare
from semi.runs.verify import verify
from semi.training.finetune import checkpoint as checkpoints
from semi.training.finetune.finetune import finetune


def flip(path, chance):
    """Changes one bit anywhere in a file; returns what the file held."""
    before = path.read_bytes()
    content = bytearray(before)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return before


def every_flip_is_named(home, *, least, times=6):
    """Flips a bit in each file of a folder, several times over, and asks `semi verify`."""
    assert verify(home).problems == []
    names = [n for n in files_below(home) if n != ".lock" and (home / n).stat().st_size]
    assert len(names) >= least, names
    chance = random.Random(0)
    for name in names * times:
        before = flip(home / name, chance)
        try:
            told = verify(home).problems
        except RunError as error:  # a record whose number of format changed
            told = [str(error)]
        assert any(str(home / name) in words for words in told), (name, told)
        (home / name).write_bytes(before)
    assert verify(home).problems == []


def spoilt(path, find, put):
    path.write_text(path.read_text().replace(find, put, 1))


def test_held_out_parts_are_a_folder_with_a_record(tmp_path):
    write_manifest(tmp_path)
    words = vars(settings(tmp_path, "pool"))["data"].manifest
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"name: pool\nruns_dir: {tmp_path}/runs\nthreads: 1\ntracking: false\n"
        f"data: {{manifest: {words}, test_folds: 2}}\nfeatures: {{store: {tmp_path}/store}}\n"
        "encoders: {speech: {model: none}}\nmodel: {kind: concat, hidden: 8}\n"
        "train: {folds: 2, members: 1, steps: 5, batch: 16}\nrounds: {max_rounds: 0}\n"
    )
    done = Path(all_folds(str(recipe), progress=False).path)
    assert verify(done).what == "ensemble" and (done / CHECKSUMS).is_file()
    every_flip_is_named(done, least=5)
    flip(done / "probs.parquet", random.Random(1))
    with pytest.raises(RunError, match=r"probs.parquet is not as it was written"):
        compare([str(done)], latency=False)
    part = tmp_path / "runs" / "pool-fold1"
    flip(part / "round-00" / "state.safetensors", random.Random(1))
    with pytest.raises(RunError, match=r"pool-fold1/round-00/state.safetensors is not as it was"):
        all_folds(str(recipe), progress=False)
    (done / CHECKSUMS).unlink()  # as version 0.1.0 wrote it
    assert verify(done).problems == [] and "ensemble without checksums" in str(verify(done))


def searched(runs, folder, trials=3):
    (folder / "space.yaml").write_text("train.lr: {low: 1e-3, high: 3e-2, log: true}\n")
    words = ["train.steps=2", f"runs_dir={folder}", "name=s"]
    found = search(f"{runs[1]}/config.yaml", folder / "space.yaml", words, trials=trials,
                   batch=1, progress=False)  # fmt: skip
    return Path(found.folder)


@pytest.mark.extras("optuna")
def test_a_search_names_what_changed_and_goes_on_from_nothing_damaged(runs, tmp_path):
    home = searched(runs, tmp_path)
    assert verify(home).what == "search"
    every_flip_is_named(home, least=7)
    for name in ("trial-0001.json", "search.begun.json", "search.json"):
        before = flip(home / name, random.Random(3))
        with pytest.raises(RunError, match=name):
            searched(runs, tmp_path, trials=4)
        (home / name).write_bytes(before)
    shutil.move(home / "trial-0001.json", tmp_path / "aside")
    assert f"{home / 'trial-0001.json'} is missing" in verify(home).problems
    with pytest.raises(RunError, match=r"trial-0001.json is missing; bring it back from a copy"):
        searched(runs, tmp_path, trials=4)
    shutil.move(tmp_path / "aside", home / "trial-0001.json")
    assert verify(searched(runs, tmp_path, trials=4)).problems == []


@pytest.mark.extras("optuna")
def test_trials_of_an_earlier_version_are_held_against_their_shape(runs, tmp_path):
    home = searched(runs, tmp_path)
    (home / DERIVED).unlink()
    for path in home.glob("*.json"):  # as version 0.1.0 wrote them
        plain = {k: v for k, v in json.loads(path.read_text()).items()
                 if k not in ("sha256", "format", "files")}  # fmt: skip
        path.write_text(json.dumps(plain))
    before = (home / "trial-0000.json").read_text()
    for key, value in (("ids", 3), ("group", None), ("predicted", ["x"]), ("value", "high"),
                       ("words", 1), ("number", 7)):  # fmt: skip
        (home / "trial-0000.json").write_text(json.dumps(json.loads(before) | {key: value}))
        with pytest.raises(RunError, match=r"s-search.*trial"):
            searched(runs, tmp_path)
    (home / "trial-0000.json").write_text(before)
    assert searched(runs, tmp_path) == home


def bench(folder, features):
    return load_bench(None, [
        f"output={folder}/bench", f"datasets.toy.features={features}", "budgets=[12]", "seeds=1",
        "draws=1", "outer_folds=2", "rules=[class_topk]", "resamples=50", "train.folds=2",
        "train.members=1", "train.steps=2", "train.batch=16", "model.hidden=8",
        "model.projection=4", "contrast.pretrain_steps=0", "contrast.weight=0",
        "contrast.weight_end=0", "rounds.max_rounds=1", "baselines=[]",
    ])  # fmt: skip


def test_a_benchmark_names_what_changed_and_goes_on_from_nothing_damaged(tmp_path):
    from bench_arrays import write_features

    config = bench(tmp_path, write_features(tmp_path / "toy.npz", rows=60))
    home = benchmark(config, progress=False)
    assert verify(home).what == "benchmark"
    every_flip_is_named(home, least=7)
    lines = (home / "runs.csv").read_text().splitlines(keepends=True)
    spoilt(home / "runs.csv", lines[3], lines[3].replace("toy", "tay", 1))
    with pytest.raises(RunError, match=r"runs.csv: line 4 is not as it was written; delete that"):
        benchmark(config, progress=False)
    (home / "runs.csv").write_text("".join([*lines[:3], *lines[4:]]))  # as it says
    benchmark(config, progress=False)
    again = (home / "runs.csv").read_text().splitlines(keepends=True)

    def answers(told):  # what a line says beside the seconds it took
        return sorted(line.split(",")[:6] + line.split(",")[-2:-1] for line in told)

    assert verify(home).problems == [] and answers(again) == answers(lines)
    spoilt(home / "settings.json", '"outer_folds": 2', '"outer_folds": 3')
    with pytest.raises(RunError, match=r"settings.json is not as it was written"):
        benchmark(config, progress=False)


def test_a_benchmark_of_an_earlier_version_goes_on(tmp_path):
    from bench_arrays import write_features

    config = bench(tmp_path, write_features(tmp_path / "toy.npz", rows=60))
    home = benchmark(config, progress=False)
    lines = (home / "runs.csv").read_text().splitlines()
    plain = "".join(line.rpartition(",")[0] + "\n" for line in lines)
    (home / DERIVED).unlink()
    (home / "runs.csv").write_text("".join(plain.splitlines(keepends=True)[:-1]))
    benchmark(config, progress=False)
    assert (home / "runs.csv").read_text().splitlines()[:-1] == plain.splitlines()[:-1]
    assert f"not checked: {home / 'runs.csv'} has no checksum" in str(verify(home))
    spoilt(home / "runs.csv", "toy,12,0", "toy,12,x")
    with pytest.raises(RunError, match=r"runs.csv is damaged or not a list of benchmark runs"):
        benchmark(config, progress=False)


def adapting(folder, *words):
    table = pd.DataFrame({
        "id": [f"u{k}" for k in range(12)], "text": ["good day", "bad day"] * 6,
        "label": ["glad", "sad"] * 6, "speaker": [f"s{k // 4}" for k in range(12)],
    })  # fmt: skip
    table.to_csv(folder / "m.csv", index=False)
    if not (folder / "tiny").is_dir():
        text_model("bert", folder / "tiny")
    return load_config(None, [
        "name=t", f"data.manifest={folder}/m.csv", f"runs_dir={folder}", "threads=1",
        "encoders.speech.model=none", f"encoders.text.model={folder}/tiny",
        f"features.store={folder}/store", "finetune.speech=none", "finetune.text=top",
        "finetune.steps=2", "finetune.batch=4", "finetune.accumulate=1", "finetune.save_every=1",
        "train.folds=3", *words,
    ])  # fmt: skip


def test_an_adapted_encoder_names_what_changed_and_is_not_used(tmp_path):
    done = Path(finetune(adapting(tmp_path), progress=False).folders["text"])
    assert verify(done.parent).what == "adapted encoders" and verify(done).what == "adapted encoder"
    every_flip_is_named(done.parent, least=8, times=2)
    every_flip_is_named(done, least=6, times=2)
    use = adapting(tmp_path, f"encoders.text.model={done}")
    extract(use, progress=False)
    for name in ("model.safetensors", "config.json", "adapted_on.csv"):
        before = flip(done / name, random.Random(0))
        with pytest.raises(RunError, match=f"{name} is not as it was written .*make the folder"):
            extract(use, progress=False)
        (done / name).write_bytes(before)


def test_a_damaged_checkpoint_of_an_adaptation_is_not_gone_on_from(tmp_path):
    config = adapting(tmp_path)
    killed_adaptation(config)
    home = tmp_path / "t-finetune"
    assert verify(home).what == "unfinished adaptation"
    every_flip_is_named(home, least=1, times=30)
    before = flip(home / checkpoints.CHECKPOINT, random.Random(0))
    with pytest.raises(RunError, match=r"checkpoint.safetensors is .*delete it and adapt again"):
        finetune(config, resume=True, progress=False)
    (home / checkpoints.CHECKPOINT).write_bytes(before)
    assert finetune(config, resume=True, progress=False).history[-1]["step"] == 2


def test_verify_says_that_it_is_nothing_of_ours(tmp_path):
    write_guarded(tmp_path / "other.json", {"a": 1})
    with pytest.raises(RunError, match="nothing else that semi writes; name one"):
        verify(tmp_path)
