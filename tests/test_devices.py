"""`device` with an engine: on Ray each worker is given a GPU, and no number of one is taken."""

import math
import os
from functools import partial

import pandas as pd
import pytest
from two_runs import write_manifest

from models.encoders.char_ngram import CharNgramEncoder
from semi.cli import main
from semi.config.schema import load_config
from semi.errors import ConfigError, SemiError
from semi.experiments.benchmark.config import load_bench
from semi.features.extract import extract_rows
from semi.features.store import FeatureStore
from semi.flight import Flight, in_order
from semi.parallel import EngineConfig, run_cells

RAY = pytest.mark.extras("ray")
ONE_OF_RAY = (
    "device: 'cuda:1' names one GPU of one machine, but with engine=ray each worker is given a GPU "
    "by Ray: set device=cuda, and processes to how many are to be used"
)


@pytest.mark.parametrize(("words", "sentence"), [
    (["device=cuda:1", "engine=ray"], ONE_OF_RAY),
    (["device=cuda:0", "engine=ray", "processes=2"], ONE_OF_RAY.replace("cuda:1", "cuda:0")),
    (["device=gpu", "engine=ray"], "device must be cpu, cuda or cuda:<number>, got 'gpu'"),
    (["device=cuda"], "device: 'cuda' is not available: PyTorch "),
    (["device=cuda:1", "processes=2"], "device: 'cuda:1' is not available: PyTorch "),
])  # fmt: skip
def test_a_device_that_no_worker_would_have_is_refused_with_the_settings(
    words, sentence, monkeypatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("semi.parallel.find_spec", lambda name: object())
    for load, more in ((load_config, ["data.manifest=m.csv"]),
                       (load_bench, ["datasets.a.features=a.npz"])):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            load(None, [*more, *words])
        assert sentence in str(caught.value)


def test_what_the_command_itself_computes_needs_a_gpu_here(tmp_path, monkeypatch, capsys):
    """The machine that hands out work on Ray may have none; it cannot train then."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("semi.parallel.find_spec", lambda name: object())
    write_manifest(tmp_path)
    words = [f"data.manifest={tmp_path}/m.csv", "encoders.speech.model=none",
             "encoders.text.model=char-ngram", f"features.store={tmp_path}/store",
             f"runs_dir={tmp_path}/runs", "engine=ray", "device=cuda"]  # fmt: skip
    assert main(["train", *words]) == 2
    assert "device: 'cuda' is not available: PyTorch " in capsys.readouterr().err
    assert not list(tmp_path.glob("store/text-*"))


@pytest.fixture
def two_gpus():
    """A Ray that was told of two GPUs; it looks for none itself."""
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=3, num_gpus=2, include_dashboard=False, log_to_driver=False,
             object_store_memory=10**8, logging_level="error")  # fmt: skip
    yield
    ray.shutdown()


class OnGpu(CharNgramEncoder):
    """One that says it is on a GPU, and needs none."""

    device = "cuda"

    def __reduce__(self):
        return partial(CharNgramEncoder, width=8), ()  # which a worker knows


@RAY
def test_each_worker_on_ray_sees_a_gpu_of_its_own(two_gpus):
    asked = ["CUDA_VISIBLE_DEVICES"] * 40
    seen = dict(run_cells(EngineConfig("ray"), os.getenv, asked, gpus=1.0))
    assert set(seen.values()) == {"0", "1"} and len(seen) == 40


@RAY
def test_an_encoder_on_a_gpu_is_given_to_workers_that_have_one(two_gpus, tmp_path):
    table = pd.DataFrame({"id": ["a", "b"], "text": ["hurra", "oh nein"]})
    encoder = OnGpu(width=8)
    store = FeatureStore(tmp_path)
    done = extract_rows(table, {"text": encoder}, store, progress=False, engine=EngineConfig("ray"))
    assert done.done == 2


@RAY
def test_machines_with_more_gpus_than_cpus_are_not_waited_for():
    """Each worker takes a CPU, too: one that gets none would never begin."""
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=1, num_gpus=4, include_dashboard=False, log_to_driver=False,
             object_store_memory=10**8, logging_level="error")  # fmt: skip
    try:
        cells = run_cells(EngineConfig("ray"), abs, range(-8, 0), gpus=1.0)
        assert sorted(dict(cells).values()) == list(range(1, 9))
    finally:
        ray.shutdown()


@RAY
def test_a_cluster_without_a_gpu_is_named(tmp_path):
    table = pd.DataFrame({"id": ["a"], "text": ["hurra"]})
    encoder = OnGpu(width=8)
    with pytest.raises(SemiError, match=r"^the Ray cluster has no GPU for a worker; set device="):
        extract_rows(table, {"text": encoder}, FeatureStore(tmp_path), progress=False,
                     engine=EngineConfig("ray", processes=1))  # fmt: skip


def test_cells_that_keep_their_order_wait_for_the_oldest():
    flight = Flight("abcdefg", most=3)
    given = [flight.take() for _ in range(4)]
    assert given == [(0, "a"), (1, "b"), (2, "c"), None]
    flight.land(1)
    assert flight.take() is None  # 0 is still away
    flight.land(0)
    assert [flight.take(), flight.take(), flight.take()] == [(3, "d"), (4, "e"), None]
    assert list(in_order([(1, "b"), (2, "c"), (0, "a"), (3, "d")])) == list(enumerate("abcd"))


@pytest.mark.parametrize("engine", [
    EngineConfig(), EngineConfig(processes=2),
    pytest.param(EngineConfig("ray", processes=2), marks=RAY),
])  # fmt: skip
def test_cells_come_back_in_order_where_that_is_asked_for(engine):
    taken = []

    def cells():
        for cell in range(40):
            taken.append(cell)
            yield cell if cell % 8 else 3_000 + cell  # every eighth takes longer

    results = run_cells(engine, math.factorial, cells(), ordered=True)
    for number, result in results:
        assert len(taken) <= number + 1 + 8 + 4  # four a worker, and two to begin with
        assert result == math.factorial(number if number % 8 else 3_000 + number)
    assert number == 39
