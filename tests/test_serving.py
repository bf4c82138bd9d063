"""A run as a service: its answers are those of `semi predict`, alone and together."""

import asyncio
import json
import re
import shlex
import threading
import time

import numpy as np
import pytest
from served_run import EXTRAS
from spoken_run import run_settings
from starlette.testclient import TestClient
from test_new_arrays import run as arrays_run  # noqa: F401  a fixture
from test_review_kinds import run_of
from tiny_speech import tiny

import semi

pytestmark = pytest.mark.extras(*EXTRAS)


def client_of(run, **words):
    """Returns a client of a run's service, which is to be entered."""
    from semi.serving.app import serving_app
    from semi.serving.labelling import RunLabeller

    labeller = RunLabeller(run)
    labeller.warm_up()
    return TestClient(serving_app(labeller, **words))


@pytest.fixture(scope="module")
def client(heard):
    with client_of(heard) as client:
        yield client


@pytest.fixture(scope="module")
def sounds(heard):
    return sorted((heard.parents[1] / "audio").glob("*"))[:12]


def assert_same(answer, row):
    """Holds an answer against a row of `predict`, to 1e-6."""
    assert answer["label"] == row["label"]
    assert answer["confidence"] == pytest.approx(row["confidence"], abs=1e-6)
    for name, share in answer["probabilities"].items():
        assert share == pytest.approx(row[f"p_{name}"], abs=1e-6)
    for head, vote in answer["votes"].items():
        assert vote["label"] == row[f"{head}_label"]
        assert vote["confidence"] == pytest.approx(row[f"{head}_confidence"], abs=1e-6)
    assert (answer["reason"] or "") == row["note"]


def test_an_answer_is_that_of_predict(client, heard, sounds):
    texts = [f"hallo {k}" if k % 3 else None for k in range(len(sounds))]
    table = semi.load(heard).predict([str(s) for s in sounds], texts=texts)
    for sound, text, row in zip(sounds, texts, table.to_dict("records"), strict=True):
        with open(sound, "rb") as file:
            answer = client.post("/predict", files={"file": file}, data={"text": text or ""})
        assert answer.status_code == 200
        assert_same(answer.json(), row)
        assert sum(answer.json()["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert ("text" in answer.json()["votes"]) == bool(text)


def test_a_text_alone_is_labelled(client, heard):
    answer = client.post("/predict", data={"text": "hallo du"}, files={})
    assert answer.status_code == 415  # a form without a file is urlencoded by some clients
    answer = client.post("/predict", files={"text": (None, "hallo du")})
    assert_same(answer.json(), semi.load(heard).predict(texts=["hallo du"]).iloc[0].to_dict())


def test_many_at_once_are_labelled_as_each_alone(client, heard, sounds):
    table = semi.load(heard).predict([str(s) for s in sounds])
    content = [s.read_bytes() for s in sounds]
    found = {}

    def ask(k):
        found[k] = client.post("/predict", files={"file": content[k]}).json()

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(len(sounds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, row in enumerate(table.to_dict("records")):
        assert_same(found[k], row)
    batch = client.post("/predict/batch", files=[("file", c) for c in content]).json()["answers"]
    for answer, row in zip(batch, table.to_dict("records"), strict=True):
        assert_same(answer, row)


def test_in_a_batch_each_row_has_its_answer_or_its_error(client, sounds):
    files = [("file", sounds[0].read_bytes()), ("file", b"no sound"), ("file", b"")]
    answer = client.post("/predict/batch", files=files)
    good, bad, empty = answer.json()["answers"]
    assert answer.status_code == 200 and good["label"]
    assert bad["error"].startswith("unreadable: ") and empty["error"].startswith("empty: ")
    none = client.post("/predict/batch", files=files[1:])
    assert none.status_code == 422 and none.json()["error"] == "no utterance could be labelled"


def test_a_sound_that_cannot_be_read_is_told_beside_the_texts_answer(client):
    files = {"file": b"no sound", "text": (None, "hallo du")}
    answer = client.post("/predict", files=files)
    assert answer.status_code == 200 and answer.json()["label"]
    assert answer.json()["reason"].startswith("unreadable: ")


def test_vectors_are_labelled_as_the_file_they_stand_in(arrays_run):  # noqa: F811
    with np.load(arrays_run.parent / "train.npz") as file:
        values, ids = file["speech"][:6], file["id"][:6]
    with client_of(arrays_run) as client:
        rows = [{"vectors": {"speech": v.tolist()}} for v in values]
        found = client.post("/predict/batch", json={"rows": rows}).json()["answers"]
        assert [answer["label"] for answer in found] == [i[0] for i in ids]
        import pandas as pd

        table = pd.DataFrame({"id": ids.astype(str), "text": ids.astype(str)})
        expected = semi.load(arrays_run).predict(table)
        for answer, row in zip(found, expected.to_dict("records"), strict=True):
            assert_same(answer, row)
        for given, told in (
            ([1.0] * 5, "row 1, speech: a list of 6 numbers is needed, got 5 of them"),
            (["a"] * 6, "row 1, speech: a list of 6 numbers is needed, got something else"),
            ([1e99] * 6, "row 1, speech: its numbers must be finite"),
            ([True] * 6, "row 1, speech: a list of 6 numbers is needed, got something else"),
        ):
            answer = client.post("/predict/batch", json={"rows": [{"vectors": {"speech": given}}]})
            assert (answer.status_code, answer.json()["error"]) == (422, told)
        answer = client.post("/predict/batch", json={"rows": [{"vectors": {"eeg": [1]}}]})
        assert "takes no vectors eeg; it takes speech (6 numbers)" in answer.json()["error"]


def test_the_example_of_vectors_is_answered_with_numbers_put_in(arrays_run):  # noqa: F811
    from semi.serving.labelling import RunLabeller
    from semi.serving.serve import example

    words = shlex.split(example(RunLabeller(arrays_run), "http://here"))
    body = words[words.index("-d") + 1].replace("6 numbers", "1,2,3,4,5,6")
    with client_of(arrays_run) as client:
        answer = client.post("/predict/batch", json=json.loads(body))
        assert answer.json()["answers"][0]["label"]


@pytest.mark.parametrize("kind", ["multi_label", "joint", "affect"])
def test_every_kind_of_task_has_its_answer(tmp_path, kind):
    path = run_of(tmp_path, kind, *["data.ties=votes"] * (kind == "multi_label"))
    row = semi.load(path).predict(texts=["hurra schön"]).iloc[0].to_dict()
    with client_of(path) as client:
        answer = client.post("/predict", files={"text": (None, "hurra schön")}).json()
    if kind != "multi_label":
        assert answer["valence"] == pytest.approx(row["valence"], abs=1e-6)
    if kind == "affect":
        assert answer["label"] is None and answer["probabilities"] == {}
    else:
        assert_same(answer, row)


def test_health_metrics_and_the_description_need_no_network(client):
    assert client.get("/health").json() == {"live": True, "ready": True}
    assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
    page = client.get("/docs")
    assert "POST /predict/batch" in page.text and "<script" not in page.text
    assert not re.findall(r'(?:src|href)="(?!openapi\.json)', page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    schema = client.get("/openapi.json").json()
    assert {"/predict", "/predict/batch", "/health", "/metrics"} <= set(schema["paths"])
    before = _metric(client, 'semi_requests_total{path="/predict",status="422"}')
    client.post("/predict", files={"file": b""})
    assert _metric(client, 'semi_requests_total{path="/predict",status="422"}') == before + 1
    text = client.get("/metrics").text
    for name in ("semi_request_seconds_bucket", "semi_queue_waiting", "semi_refused_total",
                 "semi_batch_rows_bucket", "semi_batch_seconds_sum"):  # fmt: skip
        assert f"\n{name}" in text


def _metric(client, name):
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


def test_a_full_queue_is_429_with_when_to_come_again(heard, sounds):
    from semi.serving.app import ServiceLimits, serving_app
    from semi.serving.labelling import RunLabeller

    labeller = RunLabeller(heard)
    labeller.warm_up()
    go, real = threading.Event(), labeller.label
    labeller.label = lambda rows: (go.wait(), real(rows))[1]
    limits = ServiceLimits(places=2, together=1)
    app = serving_app(labeller, limits)
    with TestClient(app) as client:
        content, codes = sounds[0].read_bytes(), []

        def ask():
            codes.append(client.post("/predict", files={"file": content}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        while app.state.service.open < 2:  # until both are being answered
            time.sleep(0.001)
        refused = client.post("/predict", files={"file": content})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"].startswith("the queue is full; come again in ")
        assert client.get("/health").status_code == 200
        go.set()
        for thread in threads:
            thread.join()
        assert codes == [200, 200]
        assert client.post("/predict", files={"file": content}).status_code == 200


def test_the_bytes_that_are_held_at_once_are_bounded(heard, sounds):
    from semi.serving.app import ServiceLimits, serving_app
    from semi.serving.labelling import RunLabeller
    from semi.serving.uploads import UploadLimits

    labeller = RunLabeller(heard)
    labeller.warm_up()
    go, real = threading.Event(), labeller.label
    labeller.label = lambda rows: (go.wait(), real(rows))[1]
    content = sounds[0].read_bytes() + bytes(90_000)
    app = serving_app(labeller, ServiceLimits(UploadLimits(bytes=100_000), held=1))
    with TestClient(app) as client:
        codes = []

        def ask():
            codes.append(client.post("/predict", files={"file": content}).status_code)

        thread = threading.Thread(target=ask)
        thread.start()
        while not app.state.service.open:
            time.sleep(0.001)
        assert client.post("/predict", files={"file": content}).status_code == 429
        go.set()
        thread.join()
        assert codes[0] in (200, 422) and app.state.service.open_bytes == 0
        assert client.post("/predict", files={"file": content}).status_code == codes[0]


def test_what_is_not_labelled_in_time_is_503(heard, sounds):
    from semi.serving.app import ServiceLimits, serving_app
    from semi.serving.labelling import RunLabeller

    labeller = RunLabeller(heard)
    labeller.warm_up()
    go, real = threading.Event(), labeller.label
    labeller.label = lambda rows: (go.wait(), real(rows))[1]
    with TestClient(serving_app(labeller, ServiceLimits(seconds=0.05))) as client:
        answer = client.post("/predict", files={"file": sounds[0].read_bytes()})
        go.set()
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert answer.json()["error"] == "not labelled within 0.05 s; come again"
        assert client.get("/health/ready").status_code == 200


def test_a_fault_of_ours_is_no_stack_trace(heard, sounds, capsys):
    from semi.serving.app import serving_app
    from semi.serving.labelling import RunLabeller

    labeller = RunLabeller(heard)
    labeller.warm_up()

    def broken(rows):
        raise RuntimeError("a secret of /home/somebody")

    labeller.label = broken
    with TestClient(serving_app(labeller)) as client:
        answer = client.post("/predict", files={"file": sounds[0].read_bytes()})
        assert (answer.status_code, answer.json()) == (
            500, {"error": "the service failed; its log says why"},
        )  # fmt: skip
        assert "a secret of /home/somebody" in capsys.readouterr().err
        assert client.get("/health/ready").json()["ready"]


def test_without_the_worker_it_is_live_but_not_ready(heard):
    from semi.serving.app import Service, ServiceLimits
    from semi.serving.labelling import RunLabeller

    async def ask():
        service = Service(RunLabeller(heard), ServiceLimits())
        return await service.ready(), await service.live()

    ready, live = asyncio.run(ask())
    assert (ready.status_code, live.status_code) == (503, 200)


def test_a_token_opens_all_but_health(heard, sounds):
    with client_of(heard, token="schlüssel") as client:
        assert client.get("/health").status_code == 200
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 401
        sent = {"files": {"file": sounds[0].read_bytes()}}
        for given in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic schl"}):
            answer = client.post("/predict", headers=given, **sent)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        good = {"Authorization": "Bearer schlüssel".encode()}
        assert client.post("/predict", headers=good, **sent).status_code == 200


@pytest.mark.parametrize("name, words", [
    ("wavlm-base", []), ("hubert-large", []), ("whisper", []),
    ("", ["encoders.speech.pooling=frames", "model.kind=cross_attention"]),
])  # fmt: skip
def test_encoders_that_pad_and_models_of_sequences_answer_as_predict_does(
    heard, sounds, tmp_path, name, words
):
    folder = heard.parents[1]
    if name:
        tiny(name).save_pretrained(tmp_path / "model")
        words = [f"encoders.speech.model={tmp_path}/model", "encoders.speech.layers=[2]"]
    plain = [w for w in run_settings(folder, tmp_path / "store") if not w.startswith("runs_dir")]
    words = [*plain, f"runs_dir={tmp_path}/runs", "data.labeled_fraction=0.5",
             "data.test_fraction=0.3", "data.allow_leaks=[text]", "rounds.max_rounds=0",
             *words]  # fmt: skip
    path = semi.self_train(semi.load_config(None, words), progress=False).path
    table = semi.load(path).predict([str(s) for s in sounds], texts=["ja"] * len(sounds))
    with client_of(path) as client:
        files = [("file", s.read_bytes()) for s in sounds]
        texts = [("text", (None, "ja"))] * len(sounds)
        found = client.post("/predict/batch", files=[*files, *texts]).json()["answers"]
    for answer, row in zip(found, table.to_dict("records"), strict=True):
        assert_same(answer, row)
