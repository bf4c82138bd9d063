"""Trackers together: one that fails costs a sentence, a resumed run shows what is not shown yet."""

import errno
import os
import sys

import pytest
from event_files import event_values
from two_runs import settings, write_manifest

import semi
from semi.cli import main
from semi.config.reads import settings_read
from semi.errors import SemiError
from semi.evaluation.text import run_words
from semi.evaluation.trackers.opening import missing_library
from semi.evaluation.trackers.several import open_trackers
from semi.evaluation.trackers.tracker import Tracker, part_names
from semi.files import read_json, write_json
from semi.runs.verify import verify

WORDS = ["tracking=true", "rounds.max_rounds=2", "rounds.accept_se=99", "rounds.min_change=0"]


class Notebook(Tracker):
    """Keeps what it is given; fails where it is told to."""

    def __init__(self, fails=""):
        self.calls, self.fails = [], fails

    def note(self, what, *more):
        self.calls.append((what, *more))
        if what == self.fails:
            raise ConnectionError("no route\nto host")

    def begin_round(self, number):
        self.note("begin_round", number)

    def scalars(self, step, values, curve="rounds"):
        self.note("scalars", step, dict(values), curve)

    def end_round(self):
        self.note("end_round")

    def settings(self, values):
        self.note("settings")

    def final(self, step, values):
        self.note("final", step, dict(values))

    def close(self, finished):
        self.note("close", finished)


def scalars(folder):
    """Returns {tag: steps} of the scalars in TensorBoard's run `rounds` of a run's folder."""
    found = {}
    for step, value in event_values(folder / "tb" / "rounds"):
        if value.HasField("simple_value") or value.metadata.plugin_data.plugin_name == "scalars":
            found.setdefault(value.tag, []).append(step)
    return found


def show_two_rounds(trackers):
    trackers.settings({"seed": 1})
    for number in (0, 1):
        trackers.begin_round(number)
        trackers.step(5, {"loss/total": 0.5})
        trackers.scalars({"oof/waf": 0.5, "oof/ccc": None, "oof/ece": float("nan")})
        trackers.end_round()
    trackers.final(1, {"oof/waf": 0.5})
    trackers.close()


@pytest.mark.parametrize(
    "fails", ["settings", "begin_round", "scalars", "end_round", "final", "close"]
)
def test_a_tracker_that_fails_is_left_out_with_one_sentence(tmp_path, capsys, fails):
    whole, broken = Notebook(), Notebook(fails)
    openers = {"mlflow": lambda *_: broken, "tensorboard": lambda *_: whole}
    show_two_rounds(open_trackers(openers, tmp_path, "a"))
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "semi: MLflow shows nothing more of this run (no route to host); training goes on, and "
        "--resume of an unfinished run tries it again"
    ]
    names = [what for what, *_ in whole.calls]
    assert names.count("end_round") == 2 and names[-2:] == ["final", "close"]
    called = [what for what, *_ in broken.calls]
    after = called[called.index(fails) + 1 :]
    assert after == ["close"], "nothing is asked of it any more, but to close"


def test_a_tracker_that_cannot_be_opened_is_left_out(tmp_path, capsys):
    def refuse(*_):
        raise PermissionError("no key")

    whole = Notebook()
    show_two_rounds(
        open_trackers({"wandb": refuse, "tensorboard": lambda *_: whole}, tmp_path, "a")
    )
    assert "Weights & Biases shows nothing more of this run (no key); " in capsys.readouterr().err
    assert len(whole.calls) > 5


def test_ctrl_c_is_no_failure_of_a_tracker(tmp_path):
    class Stopped(Tracker):
        def end_round(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show_two_rounds(open_trackers({"mlflow": lambda *_: Stopped()}, tmp_path, "a"))


def test_every_tracker_gets_finite_scalars_under_the_same_names(tmp_path):
    one, other = Notebook(), Notebook()
    show_two_rounds(open_trackers({"a": lambda *_: one, "b": lambda *_: other}, tmp_path, "a"))
    assert one.calls == other.calls
    assert [c for c in one.calls if c[0] == "scalars"] == [
        ("scalars", 5, {"loss/total": 0.5}, "round-00"),
        ("scalars", 0, {"oof/waf": 0.5}, "rounds"),
        ("scalars", 5, {"loss/total": 0.5}, "round-01"),
        ("scalars", 1, {"oof/waf": 0.5}, "rounds"),
    ]
    assert one.calls[-2] == ("final", 1, {"final/oof/waf": 0.5})


def test_a_resumed_run_shows_a_tracker_what_it_lacks_and_others_nothing_twice(tmp_path):
    """The one had failed at round 1; the other has both rounds."""
    one, other = Notebook(), Notebook()
    openers = {"a": lambda *_: one, "b": lambda *_: other}
    show_two_rounds(open_trackers(openers, tmp_path, "a"))
    kept = read_json(tmp_path / "trackers.json")
    kept["a"] = {"rounds": [0], "final": False}
    write_json(tmp_path / "trackers.json", kept)
    one.calls, other.calls = [], []
    trackers = open_trackers(openers, tmp_path, "a")
    assert not trackers.lacking(0)
    assert trackers.lacking(1)
    trackers.scalars({"oof/waf": 0.5})
    trackers.end_round()
    trackers.final(1, {})
    trackers.close()
    assert [c[0] for c in one.calls] == ["begin_round", "scalars", "end_round", "final", "close"]
    assert other.calls == [("close", True)], "it was finished, and stays so"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 3}', '{"a": {"rounds": "x", "run": 7}}'])
def test_a_damaged_trackers_file_only_means_that_all_is_shown_again(tmp_path, text):
    (tmp_path / "trackers.json").write_text(text)
    one = Notebook()
    trackers = open_trackers({"a": lambda *_: one}, tmp_path, "a")
    assert trackers.lacking(0) and trackers.kept.run("a") == ""


def test_names_of_classes_are_fit_for_every_tracker():
    words = ["anger", "a/b", "a*b", "a+b", "기쁨", "..", " so  so ", "a\nb", "🙂", "x:y"]
    names = part_names(words)
    assert names == ["anger", "a_b", "a_b 2", "a_b 3", "기쁨", "__", "so so", "a b", "_", "x_y"]
    assert len(set(names)) == len(words)


# --- whole runs ---


def without_room_for(monkeypatch, name):
    """Lets the disk be full where a file or folder of that name is to appear."""

    def full(real):
        def move(source, target, *more, **how):
            if os.fspath(target).endswith(name):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(target))
            return real(source, target, *more, **how)

        return move

    for function in ("rename", "replace"):
        monkeypatch.setattr(os, function, full(getattr(os, function)))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trackers")
    write_manifest(folder, rows=45)
    semi.self_train(settings(folder, "whole", *WORDS), progress=False)
    return folder


@pytest.mark.parametrize("missing", ["round-02", "trackers.json", "result.json"])
def test_a_resumed_run_shows_every_round_once(home, tmp_path, monkeypatch, missing):
    config = settings(home, "again", *WORDS)
    config.runs_dir = str(tmp_path)
    with monkeypatch.context() as patched:
        without_room_for(patched, missing)
        if missing == "trackers.json":
            semi.self_train(config, progress=False)
        else:
            with pytest.raises(SemiError, match="No space left on device"):
                semi.self_train(config, progress=False)
    semi.self_train(config, resume=True, progress=False)
    again, whole = scalars(tmp_path / "again"), scalars(home / "runs" / "whole")
    assert again == whole and again["round/accepted"] == [0, 1, 2]
    assert {"oof/f1/anger", "test/f1/joy"} <= again.keys()
    assert read_json(tmp_path / "again/trackers.json")["tensorboard"] == {
        "rounds": [0, 1, 2], "final": True,
    }  # fmt: skip
    assert verify(tmp_path / "again").problems == []


def test_the_run_is_the_same_with_and_without_a_tracker(home, tmp_path):
    config = settings(home, "bare", *WORDS, "tracking=false")
    config.runs_dir = str(tmp_path)
    bare, whole = semi.self_train(config, progress=False).path, home / "runs" / "whole"
    for name in ("ledger.csv", "result.json", "model/model.safetensors"):
        assert (bare / name).read_bytes() == (whole / name).read_bytes()
    assert not (bare / "tb").exists() and not (bare / "trackers.json").exists()


def test_a_place_where_tensorboard_cannot_write_costs_a_sentence(home, tmp_path, capsys):
    config = settings(home, "shut", *WORDS)
    config.runs_dir = str(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        real = os.makedirs

        def shut(name, *more, **how):
            if "/tb" in os.fspath(name):
                raise PermissionError(errno.EACCES, "Permission denied", os.fspath(name))
            return real(name, *more, **how)

        patched.setattr(os, "makedirs", shut)
        run = semi.self_train(config, progress=False).path
    told = [t for t in capsys.readouterr().err.splitlines() if "TensorBoard" in t]
    assert len(told) == 1 and "Permission denied" in told[0] and "training goes on" in told[0]
    assert verify(run).problems == []


def test_what_to_type_next_names_the_trackers_that_show_the_run(home, tmp_path):
    write_json(tmp_path / "trackers.json", {"mlflow": {"run": "3f"}, "wandb": {"run": "a1"}})
    for name in ("config.yaml", "result.json"):
        (tmp_path / name).write_bytes((home / "runs" / "whole" / name).read_bytes())
    next_lines = run_words(tmp_path).partition("Next:\n")[2].splitlines()
    assert next_lines[:2] == [
        "  mlflow ui, where the run is 3f",
        "  wandb sync wandb/offline-run-*-a1, unless it was online",
    ]
    assert "tensorboard" not in run_words(tmp_path)
    assert f"tensorboard --logdir {home}/runs/whole/tb" in run_words(home / "runs" / "whole")


# --- settings ---


def test_a_library_that_is_not_installed_is_said(tmp_path, monkeypatch):
    """A folder ./wandb, where W&B writes, is no library, though Python would import it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "wandb").mkdir()
    for name in ("mlflow", "wandb"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        assert missing_library(["tensorboard", name]) == (
            f"{name} needs a library that is not installed here: pip install "
            f"'semi-emotion[{name}]', or take {name} out of track"
        )
    assert missing_library(["nonsense"]) == ""


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("track=tensorbord", "track may name tensorboard, mlflow, wandb, got 'tensorbord'; did you "
      "mean 'tensorboard'?"),
     ("track=[tensorboard, tensorboard]", "track names tensorboard twice"),
     ("track=", "track: is empty; it takes a list"),
     ("track=3", "track may name tensorboard, mlflow, wandb, got '3'"),
     ("track={a: b}", "track: takes a list")],
)  # fmt: skip
def test_what_track_does_not_know_is_one_sentence(tmp_path, capsys, word, sentence):
    assert main(["check", "data.manifest=m.csv", word]) == 2
    assert sentence in capsys.readouterr().err


def test_one_tracker_is_named_without_brackets():
    for word in ("track=tensorboard", "track=[tensorboard]"):
        assert semi.load_config(None, [word, "data.manifest=m.csv"]).track == ["tensorboard"]
    assert semi.load_config(None, ["track=[]", "data.manifest=m.csv"]).track == []


def test_trackers_show_the_settings_that_the_run_reads(home):
    linear = settings_read(settings(home, "a", "model.kind=discriminant", "select.rule=flexmatch"))
    assert {"model.shrinkage", "select.flexmatch.threshold", "train.folds"} <= linear.keys()
    others = {"model.rank", "model.hidden", "train.lr", "select.ups.tau_p", "noise.steps",
              "contrast.tau", "encoders.speech.layers", "select.threshold"}  # fmt: skip
    assert not others & linear.keys()
    stepped = settings_read(settings(home, "a", "model.kind=low_rank", "rounds.max_rounds=0"))
    assert {"model.rank", "train.lr", "noise.steps", "encoders.text.model"} <= stepped.keys()
    assert not [key for key in stepped if key.startswith(("select.", "contrast.", "distill.t"))]
