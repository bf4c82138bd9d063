"""`semi serve RUN` as people start it: what it says, what it answers, how it ends."""

import builtins
import json
import re
import shlex
import signal
import urllib.error
import urllib.request

import pytest
from served_run import EXTRAS, service
from server_process import ROOT
from test_new_arrays import run as arrays_run  # noqa: F401  a fixture
from test_review_kinds import run_of

import semi
from semi.cli import main
from semi.serving.labelling import RunLabeller
from semi.serving.serve import example

extras = pytest.mark.extras(*EXTRAS)


def posted(address, sound, headers=()):
    """Sends a sound as a form and returns the answer."""
    body = (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            + sound + b"\r\n--b--\r\n")  # fmt: skip
    request = urllib.request.Request(f"{address}/predict", body, dict(headers))
    request.add_header("Content-Type", "multipart/form-data; boundary=b")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_the_example_sends_what_the_model_reads(arrays_run, heard, tmp_path):  # noqa: F811
    """What is printed when the service starts can be pasted, with a sound or numbers put in."""
    both = 'curl -F file=@a.wav -F text="what was said" http://here/predict'
    assert example(RunLabeller(heard), "http://here") == both
    text = example(RunLabeller(run_of(tmp_path, "affect")), "http://here", " -H X")
    assert text == 'curl -H X -F text="what was said" http://here/predict'
    words = shlex.split(example(RunLabeller(arrays_run), "http://here"))
    assert words[-1] == "http://here/predict/batch" and "file=@a.wav" not in words
    body = words[words.index("-d") + 1]
    assert body == '{"rows": [{"vectors": {"speech": [6 numbers]}}]}'


@extras
def test_it_says_where_it_is_answers_and_ends_at_ctrl_c(heard):
    sound = sorted((heard.parents[1] / "audio").glob("*"))[0]
    row = semi.load(heard).predict([str(sound)]).iloc[0]
    with service(heard) as (server, address, told):
        assert address.startswith("http://127.0.0.1:") and "warning" not in told
        answer = posted(address, sound.read_bytes())
        assert answer["label"] == row["label"]
        assert answer["confidence"] == pytest.approx(row["confidence"], abs=1e-6)
        with urllib.request.urlopen(f"{address}/health", timeout=60) as health:
            assert json.load(health) == {"live": True, "ready": True}
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
        rest = server.stdout.read()
        assert rest.endswith("ended\n") and "Traceback" not in rest


@extras
def test_the_token_may_come_from_the_environment(heard, monkeypatch):
    monkeypatch.setenv("SEMI_SERVE_TOKEN", "key")
    sound = sorted((heard.parents[1] / "audio").glob("*"))[0].read_bytes()
    with service(heard, "--host", "0.0.0.0") as (_, address, told):
        assert "semi: warning: 0.0.0.0 can be reached from other machines, by whoever has" in told
        address = address.replace("0.0.0.0", "127.0.0.1")
        with pytest.raises(urllib.error.HTTPError) as refused:
            posted(address, sound)
        assert refused.value.code == 401
        refused.value.close()
        assert posted(address, sound, {"Authorization": "Bearer key"})["label"]


@extras
@pytest.mark.parametrize("words, told", [
    (["--queue", "0"], "--queue must be from 1 to 10000 utterances, got 0"),
    (["--max-mb", "-1"], "--max-mb must be from 0.1 to 2000, got -1"),
    (["--max-mb", "nan"], "--max-mb must be from 0.1 to 2000, got nan"),
    (["--timeout", "0"], "--timeout must be from 0.1 to 3600 seconds, got 0"),
    (["--host", "no such host"], "--host no such host: "),
    (["--host", "192.0.2.1"], "192.0.2.1:8000 cannot be listened at: "),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(heard, capsys, words, told):
    assert main(["serve", str(heard), *words]) == 2
    assert told in capsys.readouterr().err


@extras
def test_a_port_in_use_and_a_folder_that_is_no_run(heard, tmp_path, capsys):
    with service(heard) as (_, address, _told):
        port = address.rpartition(":")[2]
        assert main(["serve", str(heard), "--port", port]) == 2
        assert f"127.0.0.1:{port} cannot be listened at: Address already in use; name another " in (
            capsys.readouterr().err
        )
    assert main(["serve", str(tmp_path)]) == 2
    assert f"{tmp_path}: holds no model" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["fastapi", "prometheus_client", "python_multipart", "uvicorn"])
def test_without_a_library_it_says_what_to_install(runs, library, monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] == library:
            raise ImportError(f"No module named {name}")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["serve", str(runs[0])]) == 2
    assert "pip install 'semi-emotion[serve]'" in capsys.readouterr().err


# --- the image ---


def instructions():
    """Yields (word, rest) of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split(maxsplit=1)


def test_the_image_copies_what_there_is_and_serves_as_nobody_special():
    found = list(instructions())
    words = [word for word, _ in found]
    assert set(words) <= {"FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "HEALTHCHECK",
                          "ENTRYPOINT", "CMD"}  # fmt: skip
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for _, rest in (line for line in found if line[0] == "COPY"):
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists() and f"!{source}" in ignored
    packages = {p.partition(".")[0] for p in re.findall(
        r'^  "([\w.]+)",$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.M
    ) if (ROOT / p.replace(".", "/")).is_dir()}  # fmt: skip
    copied = " ".join(rest for word, rest in found if word == "COPY").split()
    assert packages <= set(copied)
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert dict(found)["USER"] not in ("root", "0")
    assert words.count("FROM") == 1 and re.fullmatch(r"python:3\.1[0-3]-slim", dict(found)["FROM"])


def test_the_command_of_the_image_is_one_that_semi_takes():
    found = dict(instructions())
    program, *words = [*json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"])]
    from semi.cli import parse_arguments

    args = parse_arguments(words)
    assert (program, args.verb, args.host) == ("semi", "serve", "0.0.0.0")
    assert str(args.port) == found["EXPOSE"]
    probe = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    assert f":{args.port}/health/ready" in probe[-1]
    compile(probe[-1], "probe", "exec")
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert any(shlex.split(line)[-1] == ".[serve]" for line in installs)
