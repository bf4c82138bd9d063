"""Models by their names on the Hugging Face hub: fetched, kept, checked, refused in a sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hub_server import TOKEN, hub_server, no_hub, own_places
from huggingface_hub import constants

import semi
from semi.checksums import seal
from semi.cli import main
from semi.hub_names import HubName, hub_name
from semi.runs.hub_download import FILES, readable_size
from semi.runs.hub_upload import push

TEXTS = ["hurra toll", "nein weg", "ruhig so"]


@pytest.fixture(scope="module")
def model(runs, tmp_path_factory):
    """Returns a folder as `semi push` would upload it."""
    folder = tmp_path_factory.mktemp("pushed") / "model"
    push(runs[0], "lab/emo", dry_run=folder)
    return folder


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    own_places(monkeypatch, tmp_path)


@pytest.fixture
def hub(monkeypatch):
    """Returns a hub on this machine."""
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def refusal(name):
    with pytest.raises(semi.RunError) as caught:
        semi.load(name)
    said = str(caught.value)
    assert "\n" not in said and "Traceback" not in said
    return said


def test_a_model_of_the_hub_answers_as_the_run(hub, model, runs):
    hub.repo("lab/emo", model)
    expected = semi.load(runs[0]).predict(texts=TEXTS)
    pd.testing.assert_frame_equal(semi.load("lab/emo").predict(texts=TEXTS), expected)


def test_what_is_fetched_is_said_with_its_size_once(hub, model, capsys):
    hub.repo("lab/emo", model)
    semi.load("lab/emo")
    size = readable_size(sum((model / name).stat().st_size for name in FILES))
    assert f"semi: fetching lab/emo ({hub.repos['lab/emo'].refs['main'][:8]}): 4 files, {size}" in (
        capsys.readouterr().err
    )
    semi.load("lab/emo")
    assert "fetching" not in capsys.readouterr().err
    assert sorted(hub.fetched()) == sorted(FILES)


def test_nothing_else_of_a_repository_is_fetched(hub, model, tmp_path):
    shutil.copytree(model, tmp_path / "more")
    for name in ("pytorch_model.bin", "evil.py", "model.pkl", "notes.txt", "sub/model.json"):
        (tmp_path / "more" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "more" / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    hub.repo("lab/emo", tmp_path / "more")
    semi.load("lab/emo")
    assert sorted(hub.fetched()) == sorted(FILES)


def test_a_whole_run_put_there_by_hand_gives_its_model_alone(hub, runs):
    hub.repo("lab/run", Path(runs[0]))
    assert semi.load("lab/run").classes == semi.load(runs[0]).classes
    assert set(hub.fetched()) == {*FILES}
    assert not any("splits" in where or "round" in where for _, where, _ in hub.asked)


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, model, runs, tmp_path):
    repo = hub.repo("lab/emo", model)
    first = repo.refs["main"]
    push(runs[1], "lab/emo", dry_run=tmp_path / "other")
    repo.add({p.name: p.read_bytes() for p in (tmp_path / "other").iterdir()})
    repo.refs["v1"] = first
    names = ["lab/emo", "lab/emo@v1", f"lab/emo@{first}", "hf://lab/emo@v1"]
    kinds = [semi.load(name).model.config.model.kind for name in names]
    assert kinds == ["concat", "contrastive", "contrastive", "contrastive"]
    assert refusal("lab/emo@v9") == (
        f"lab/emo on {hub.address} has no revision 'v9'; name one of its branches, tags or "
        "commits, or leave @ out"
    )


def test_a_folder_of_that_name_wins(hub, model, runs, tmp_path):
    hub.repo("lab/emo", model)
    shutil.copytree(runs[1], "lab/emo")
    assert semi.load("lab/emo").model.config.model.kind == "concat"
    assert hub.asked == []
    assert semi.load("hf://lab/emo").model.config.model.kind == "contrastive"


@pytest.mark.parametrize("name", ["runs/demo", "lab/other", "lab/emo/", "./lab/emo", "a/b/c", "x"])
def test_what_looks_like_a_folder_is_never_asked_for(hub, model, name, tmp_path):
    hub.repo("runs/demo", model)
    (tmp_path / "here" / "lab").mkdir()
    assert "no such folder; give a run such as runs/demo" in refusal(name)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["hf://lab", "hf://lab/emo/file", "hf://", "hf://lab/e mo",
                                  "hf://../x", "hf://lab/a--b", "hf://lab/x@"])  # fmt: skip
def test_what_cannot_be_a_name_is_said(hub, name):
    assert "is no name of a model on the Hugging Face hub; it is org/name" in refusal(name)
    assert hub.asked == []


def test_names():
    assert hub_name("lab/emo@refs%2Fpr%2F1") == HubName("lab/emo", "refs%2Fpr%2F1")
    assert hub_name("my-lab/Emo_1.5") == HubName("my-lab/Emo_1.5")
    assert str(HubName("a/b", "v1")) == "a/b@v1" and str(HubName("a/b")) == "a/b"


def test_what_was_fetched_needs_no_network(hub, model, monkeypatch, capsys):
    hub.repo("lab/emo", model)
    before = semi.load("lab/emo").predict(texts=TEXTS)
    asked = len(hub.asked)
    offline(monkeypatch)
    pd.testing.assert_frame_equal(semi.load("lab/emo").predict(texts=TEXTS), before)
    assert len(hub.asked) == asked
    assert refusal("lab/never") == (
        f"lab/never is neither a folder here nor whole in the cache "
        f"{constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set; take it away once, "
        "or name a local folder"
    )


def test_a_hub_that_is_gone_leaves_what_was_fetched(hub, model, monkeypatch):
    hub.repo("lab/emo", model)
    semi.load("lab/emo")
    with no_hub() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert semi.load("lab/emo").classes
        said = refusal("lab/never")
    assert "lab/never is neither a folder here nor whole in the cache" in said
    assert f"and {address} cannot be reached; connect to the network once" in said


def test_a_model_that_is_not_there(hub):
    expected = (
        f"lab/none is neither a folder here nor a model that you may see on {hub.address}; correct "
        "the name, or, if it is private, log in with hf auth login or set HF_TOKEN"
    )
    assert refusal("lab/none") == expected


def test_a_private_model_needs_a_token(hub, model, monkeypatch):
    hub.repo("lab/emo", model, private=True)
    assert "if it is private, log in with hf auth login" in refusal("lab/emo")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert refusal("lab/emo") == (
        f"{hub.address} does not know your token; log in with hf auth login, or set HF_TOKEN anew"
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert semi.load("lab/emo").classes


def test_a_gated_model(hub, model):
    hub.repo("lab/emo", model, gated=True)
    assert refusal("lab/emo") == (
        f"lab/emo is gated: its owner must let you in; ask at {hub.address}/lab/emo, then log in "
        "with hf auth login, or set HF_TOKEN"
    )


@pytest.mark.parametrize(
    "faults",
    [
        [("/api/models", ("", 500))],
        [("/api/models", ("", 429)), ("/api/models", ("", 503))],
        [("resolve/", ("GET", 500))],
        [("model.safetensors", ("GET", "cut"))],
        [("model.json", ("GET", "cut")), ("config.yaml", ("GET", 502))],
        [("/api/models", ("", "cut"))],
    ],
)
def test_a_passing_fault_passes(hub, model, faults):
    hub.repo("lab/emo", model)
    hub.faults = list(faults)
    assert semi.load("lab/emo").predict(texts=TEXTS)["label"].notna().all()
    assert hub.faults == []


def test_a_lasting_fault_is_named(hub, model, monkeypatch):
    monkeypatch.setattr("semi.runs.hub_errors.WAITS", (0.0, 0.0))
    hub.repo("lab/emo", model)
    hub.faults = [("model.safetensors", ("GET", 500))] * 50
    said = refusal("lab/emo")
    assert said == f"{hub.address} cannot serve lab/emo at the moment (status 500); try again later"


def test_another_kind_of_model_is_refused(hub, tmp_path):
    (tmp_path / "bert").mkdir()
    for name in ("config.json", "model.safetensors", "pytorch_model.bin"):
        (tmp_path / "bert" / name).write_text("{}")
    hub.repo("lab/bert", tmp_path / "bert")
    said = refusal("lab/bert")
    assert said.startswith(
        "lab/bert is no model of semi: it lacks model.json and model.safetensors"
    )
    assert said.endswith(
        "name one that semi push made, or, where it is an encoder, set "
        "encoders.speech.model=lab/bert to train"
    )
    assert hub.fetched() == []
    hub.repo("lab/empty")
    assert "it holds .gitattributes" in refusal("lab/empty")


def test_a_model_of_a_later_version_is_refused(hub, model, tmp_path):
    shutil.copytree(model, tmp_path / "later")
    saved = json.loads((tmp_path / "later/model.json").read_text())
    (tmp_path / "later/model.json").write_text(json.dumps({**saved, "format": 2}))
    seal(tmp_path / "later", leave_out=("README.md",))
    hub.repo("lab/later", tmp_path / "later")
    said = refusal("lab/later")
    assert "has format 2, this version reads 1; use the version of semi that wrote it" in said


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "config.yaml"])
def test_a_model_that_was_tampered_with_is_refused(hub, model, tmp_path, name):
    shutil.copytree(model, tmp_path / "bad")
    data = bytearray((tmp_path / "bad" / name).read_bytes())
    data[-2] ^= 1
    (tmp_path / "bad" / name).write_bytes(bytes(data))
    hub.repo("lab/bad", tmp_path / "bad")
    said = refusal("lab/bad")
    assert said.startswith("lab/bad is not as it was written: ") and f"/{name} is not as" in said
    assert said.endswith(
        f"delete {constants.HF_HUB_CACHE}/models--lab--bad, and it is fetched "
        "again, or, where it is so on the hub as well, tell its owner"
    )


def test_places_of_somebody_else_are_not_followed(hub, model, tmp_path):
    shutil.copytree(model, tmp_path / "odd")
    path = tmp_path / "odd/config.yaml"
    words = path.read_text().replace("store: feature_store", "store: s3://theirs/store")
    path.write_text(words.replace("manifest: unpublished.csv", "manifest: /etc/passwd"))
    seal(tmp_path / "odd", leave_out=("README.md",))
    hub.repo("lab/odd", tmp_path / "odd")
    config = semi.load("lab/odd").model.config
    assert config.features.store == "feature_store" and config.data.manifest == "unpublished.csv"


def test_the_command_line_takes_the_same_names(hub, model, capsys, tmp_path):
    hub.repo("lab/emo", model)
    assert main(["predict", "lab/emo", "--text", TEXTS[0]]) == 0
    assert semi.load("lab/emo").predict(texts=TEXTS[:1])["label"][0] in capsys.readouterr().out
    pd.DataFrame({"id": ["a", "b"], "text": TEXTS[:2]}).to_csv(tmp_path / "new.csv", index=False)
    words = ["--manifest", str(tmp_path / "new.csv"), "-o", str(tmp_path / "out.csv")]
    assert main(["predict", "lab/emo", *words]) == 0
    assert pd.read_csv(tmp_path / "out.csv")["label"].notna().all()
    assert main(["predict", "lab/none", "--text", "x"]) == 2
    assert "semi: error: lab/none is neither a folder here" in capsys.readouterr().err
    assert main(["export", "lab/emo", "-o", str(tmp_path / "model.pt2")]) == 0


def test_the_environment_of_the_hub_is_heeded_by_a_process_of_its_own(hub, model, tmp_path):
    hub.repo("lab/emo", model)
    env = {**os.environ, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "semi", "predict", "lab/emo", "--text", TEXTS[0]]
    root = Path(__file__).parents[1]
    online = subprocess.run(line, env=env, cwd=root, capture_output=True, text=True)
    assert online.returncode == 0, online.stderr
    asked = len(hub.asked)
    again = subprocess.run(
        line, env={**env, "HF_HUB_OFFLINE": "1"}, cwd=root, capture_output=True, text=True
    )
    assert again.returncode == 0 and again.stdout == online.stdout, again.stderr
    assert len(hub.asked) == asked and (tmp_path / "home/hub/models--lab--emo").is_dir()


NEED_A_RUN = ["evaluate {}", "evaluate {} --by speaker", "compare {} lab/b", "report {}", "next {}",
              "suspects {}", "review {}", "verify {}", "ensemble {} lab/b", "submit {} -o s.csv",
              "select {} --dry-run select.rule=threshold", "export {} -o p.csv", "card {}",
              "export {} -o set --dataset", "push {} lab/new",
              "distill {} student.yaml"]  # fmt: skip


@pytest.mark.parametrize("name", ["lab/emo", "lab/emo@v1", "hf://lab/emo"])
@pytest.mark.parametrize("line", NEED_A_RUN)
def test_what_needs_a_run_says_what_takes_a_name_of_the_hub(hub, model, capsys, line, name):
    hub.repo("lab/emo", model)
    assert main(line.format(name).split()) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("semi: error: ") and "no such folder, and this needs a run of" in told
    known = name.removeprefix("hf://")
    assert f"semi predict {known} --manifest mine.csv -o answers.csv" in told
    assert hub.asked == [] and list(Path().iterdir()) == []


def test_what_needs_a_run_says_so_in_python(hub, model):
    hub.repo("lab/emo", model)
    with pytest.raises(semi.RunError, match="a model on the Hugging Face hub has no rows"):
        semi.evaluate("lab/emo")
