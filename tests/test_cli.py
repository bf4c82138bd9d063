"""The command line: one sentence an error, exit statuses, the same names as the library."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from semi.cli import VERBS, main
from semi.errors import RunError
from semi.verbs import Verb, takes_settings

ROOT = Path(__file__).parents[1]


def say(capsys, *words):
    """Runs `semi words...` and returns (exit status, stdout, stderr)."""
    try:
        status = main(list(words))
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def verb(monkeypatch):
    """Installs a verb `try` that does what the test wants."""

    def install(run, again=""):
        monkeypatch.setitem(VERBS, "try", Verb("try", takes_settings, run, again))

    return install


def boom(error):
    def run(args):
        raise error

    return run


def test_help_names_every_verb(capsys):
    status, out, _ = say(capsys, "--help")
    assert status == 0
    for name in ("manifest", "check", "extract", "train", "evaluate", "predict", "report", "demo"):
        assert f"    {name} " in out, name


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_verb_has_help(capsys, name):
    status, out, _ = say(capsys, name, "--help")
    assert status == 0 and out.startswith(f"usage: semi {name}")


def test_an_unknown_verb_names_the_nearest(capsys):
    status, _, err = say(capsys, "tran")
    assert status == 2
    assert "no such verb 'tran'; did you mean 'train'?; verbs are manifest, check," in err


def test_settings_may_stand_anywhere_but_without_dashes(capsys, verb):
    seen = []
    verb(lambda args: seen.append((args.words, getattr(args, "debug", False))))
    assert say(capsys, "try", "x.yaml", "--debug", "seed=1")[0] == 0
    assert seen == [(["x.yaml", "seed=1"], True)]
    status, _, err = say(capsys, "try", "--seed=1")
    assert status == 2 and "settings are written without dashes: seed=1" in err
    status, _, err = say(capsys, "predict", "run", "--manifst", "x")
    assert status == 2 and "'--manifst' is not an option of semi predict" in err


def test_two_files_are_refused(capsys):
    status, _, err = say(capsys, "check", "a.yaml", "b.yaml")
    assert status == 2
    assert err == (
        "semi: error: one recipe or YAML file at most, got a.yaml and b.yaml; settings are "
        "key=value\n"
    )


def test_a_users_error_is_one_sentence_without_a_stack(capsys, verb):
    verb(boom(RunError("runs/x is busy")))
    assert say(capsys, "try") == (2, "", "semi: error: runs/x is busy\n")


def test_a_rule_of_our_own_packages_is_a_users_error_too(capsys, verb):
    from noise import NoiseConfig

    verb(lambda args: NoiseConfig(impulse=7.0))
    status, _, err = say(capsys, "try")
    assert status == 2 and err == "semi: error: impulse must be in [0, 1), got 7.0\n"


def test_a_file_that_is_not_there_is_a_users_error(capsys, verb):
    verb(lambda args: Path("no/such/file").read_text())
    assert say(capsys, "try")[::2] == (
        2,
        "semi: error: no/such/file: No such file or directory; correct the path\n",
    )


def test_an_unexpected_error_says_how_to_see_more(capsys, verb):
    verb(lambda args: {}["missing"])
    status, _, err = say(capsys, "try")
    assert status == 1 and "Traceback" not in err
    assert err.startswith("semi: error: unexpected KeyError: 'missing' (test_cli.py:")
    assert err.endswith("--debug shows where\n")
    status, _, err = say(capsys, "try", "--debug")
    assert status == 1 and err.startswith("Traceback")


def test_a_value_error_of_a_library_is_not_blamed_on_the_user(capsys, verb):
    import json

    verb(lambda args: json.loads("{"))
    assert say(capsys, "try")[0] == 1


def test_ctrl_c_says_how_to_go_on(capsys, verb):
    verb(boom(KeyboardInterrupt()), "resume with: {line} --resume")
    status, _, err = say(capsys, "try", "x.yaml")
    assert (status, err) == (130, "\ninterrupted; resume with: semi try x.yaml --resume\n")


def test_a_real_interrupt_ends_with_130(tmp_path):
    program = (
        "import sys, time\nfrom semi import cli\nfrom semi.verbs import Verb, takes_settings\n"
        "def wait(args):\n    print('up', flush=True)\n    time.sleep(600)\n"
        "cli.VERBS['try'] = Verb('try', takes_settings, wait)\n"
        "sys.exit(cli.main(['try']))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # a shell that runs the tests in the background hands down SIGINT as ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "up\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130 and err == "\ninterrupted\n"


def test_a_reader_that_leaves_early_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -c \"import sys; from semi import cli; from semi.verbs import Verb, "
        "takes_settings; cli.VERBS['try'] = Verb('try', takes_settings, lambda a: "
        "[print(i) for i in range(99999)]); "
        "sys.exit(cli.main(['try']))\" | head -1",
        shell=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_check_tells_the_problems_of_settings_and_manifest_at_once(capsys, tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text("id,audio,text,label\nu1,no.wav,a,joy\nu1,no.wav,b,joy\n")
    status, out, err = say(capsys, "check", f"data.manifest={manifest}", "train.lr=-1", "sede=3")
    assert (status, out) == (2, "")
    for told in (
        "semi: error: 2 problems in the configuration:",
        "  sede: no such setting; did you mean 'seed'? (command line)",
        "  train.lr must be positive, got -1.0 (command line)",
        f"in {manifest}:",
        "no.wav",
    ):
        assert told in err, told


def test_check_prints_settings_that_read_back_and_what_was_found(capsys, tmp_path):
    from semi.config.schema import load_config

    manifest = tmp_path / "m.csv"
    rows = [
        f"u{k},text {k},{'joy' if k % 2 else 'anger'},s{k % 5}" for k in range(24)
    ] + ["u99,more,,s2"]  # fmt: skip
    manifest.write_text("\n".join(["id,text,label,speaker", *rows]) + "\n")
    words = [f"data.manifest={manifest}", "encoders.speech.model=none", "train.folds=2"]
    status, found, err = say(capsys, "check", *words)
    assert (status, err) == (0, "")
    assert found.startswith(
        f"read {manifest} (comma, utf-8): 25 of 25 rows\n"
        "  columns: id, text, label, speaker\n"
        "  labels: anger 12, joy 12\n"
        "  unlabelled: 1 row (empty 1)\n"
    )
    assert "labeled: 20 rows by 4 speakers (anger: 10, joy: 10)\n" in found
    assert "pool: 1 row by 1 speaker\n" in found
    assert "out-of-fold parts: 2\n" in found
    assert "\nwarning: test has fewer than 5 rows of 'anger' (2 of 12), 'joy' (2 of 12)" in found
    assert found.endswith("\n1 warning, nothing was trained\n")
    status, well, _ = say(capsys, "check", *words, "data.test_fraction=0")
    assert status == 0 and well.endswith("\nnothing was trained; all is well\n")
    assert "seed:" not in found
    status, out, err = say(capsys, "check", *words, "--settings")
    assert (status, err) == (0, "")
    assert out.startswith("".join(f"# {line}\n" for line in found.splitlines()))
    printed = tmp_path / "printed.yaml"
    printed.write_text(out)
    assert load_config(printed) == load_config(None, words)


def test_manifest_of_an_unknown_corpus_names_the_known(capsys, tmp_path):
    status, _, err = say(capsys, "manifest", "emodd", str(tmp_path))
    assert status == 2 and "unknown corpus 'emodd'; did you mean 'emodb'?" in err


@pytest.mark.parametrize("name", ["evaluate", "report", "predict"])
def test_a_run_that_is_not_there(capsys, tmp_path, name):
    status, _, err = say(capsys, name, str(tmp_path / "no"), *(["a.wav"] * (name == "predict")))
    assert status == 2 and err.startswith("semi: error: ") and str(tmp_path / "no") in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("encoders.speech.model=acoustic",),
         "no row has audio, which encoders.speech.model=acoustic reads; fill the column "
         "audio, or set encoders.speech.model=none"),
        (("encoders.speech.model=precomputed", "encoders.speech.column=spech"),
         "no column spech, which encoders.speech.column=spech asks for; did you mean 'speech'?; "
         "name another or set encoders.speech.model=none"),
        (("encoders.speech.model=precomputed", "encoders.speech.path=a.npz",
          "encoders.speech.column=values"), "is named behind its path, path=file.npz:array"),
        (("encoders.extra={face: {column: video}}",),
         "no column video, which encoders.extra.face.column=video asks for"),
        (("encoders.speech.model=none", "encoders.text.model=./gone"),
         "encoders.text.model=./gone is not a folder"),
        (("encoders.speech.model=precomputed", "encoders.speech.path=gone.npz"),
         "path=gone.npz is neither a folder"),
    ],
)  # fmt: skip
def test_check_tells_what_no_encoder_could_read(capsys, tmp_path, words, told):
    manifest = tmp_path / "m.csv"
    rows = [f"u{k},text {k},{'ab'[k % 2]},s{k % 5},x.npy" for k in range(24)]
    manifest.write_text("\n".join(["id,text,label,speaker,speech", *rows]) + "\n")
    off = () if not words or "speech" in words[0] else ("encoders.speech.model=none",)
    status, out, err = say(capsys, "check", f"data.manifest={manifest}", *off, *words)
    assert (status, out) == (2, "") and "semi: error: " in err and told in err
    assert err.startswith((f"read {manifest} (comma, utf-8): 24 of 24 rows\n", "semi: error: "))


def test_check_says_that_a_hub_model_was_not_looked_for(capsys, tmp_path):
    manifest = tmp_path / "m.csv"
    rows = [f"u{k},text {k},{'ab'[k % 2]},s{k % 5}" for k in range(24)]
    manifest.write_text("\n".join(["id,text,label,speaker", *rows]) + "\n")
    words = ["encoders.speech.model=none", "encoders.text.model=nobody/nothing"]
    status, out, _ = say(capsys, "check", f"data.manifest={manifest}", *words)
    assert status == 0 and "encoders.text.model=nobody/nothing: not looked for;" in out


@pytest.mark.parametrize("name", VERBS)
def test_what_may_be_left_out_is_not_called_required(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    usage = " ".join(capsys.readouterr().out.partition("\n\n")[0].split())
    needed = re.sub(r"\[[^\[\]]*\]", "", usage)
    with pytest.raises(SystemExit) as ended:
        main([name, "--no-such-option"])  # so that a verb that needs nothing stops here as well
    said = capsys.readouterr().err
    assert ended.value.code == 2
    _, _, required = said.partition("the following arguments are required: ")
    assert all(part.strip().partition("/")[0] in needed for part in required.split(", "))
