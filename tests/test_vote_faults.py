"""`semi vote` and a server that fails: asked again, or one sentence; no row is lost."""

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pandas as pd
import pytest
from chat_server import HANG, by_letters, by_words, chat_server
from test_vote import asked
from two_runs import write_manifest

from semi.errors import RunError, SemiError
from semi.outside import endpoint as endpoints
from semi.outside.answer_cache import CACHE_VERSION
from semi.outside.endpoint import Endpoint, EndpointError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with m.csv of twelve rows; nobody waits long before a question is asked again."""
    monkeypatch.setattr(endpoints, "FIRST_WAIT", 0.01)
    write_manifest(tmp_path, rows=12)
    return tmp_path


GARBAGE = [b"<html>", b"", b"{}", b"[]", b'"text"', b'{"choices": []}', b'{"choices": 3}', b"\xff",
           b'{"choices": [{"message": {"content": 7}}]}', b'{"choices": [{"message": ', b"null",
           b'{"choices": [{"message": {"content": "A"}, "logprobs": {"content": [{}, 3]}}]}',
           ]  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [("status", 500), ("status", 502, b"<html>bad gateway</html>"), ("status", 503), ("drop",),
     ("status", 429), ("status", 408), ("short",), *[("garbage", data) for data in GARBAGE]],
)  # fmt: skip
def test_a_fault_that_passes_costs_one_more_question(small, fault):
    with chat_server(faults=[fault]) as server:
        summary, votes = asked(small, server)
        assert len(server.bodies) == 13
    assert summary.counts["votes"] == 12 and votes["label"].notna().all()


def test_a_length_that_is_no_number_is_not_heeded(small):
    with chat_server(faults=[("odd_length",)]) as server:
        summary, _ = asked(small, server)
        assert len(server.bodies) == 12
    assert summary.counts["votes"] == 12


@pytest.mark.parametrize("fault", [("hang",), ("drip",)])
def test_a_server_that_hangs_is_left_and_asked_again(small, fault):
    with chat_server(faults=[fault]) as server:
        began = time.monotonic()
        summary, _ = asked(small, server, timeout=0.3)
        assert time.monotonic() - began < HANG
    assert summary.counts["votes"] == 12


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_heeded_by_all_questions(small, form):
    later = datetime.now(timezone.utc) + timedelta(seconds=2)
    value = "1" if form == "seconds" else format_datetime(later, usegmt=True)
    with chat_server(faults=[("slow_down", value)]) as server:
        asked(small, server, answers="logprobs", parallel=1)
        first, second = server.times[:2]
    assert 0.9 < second - first < 3


@pytest.mark.parametrize("value", ["soon", "-3", "", "nan", "Wed, 99 Foo 2026"])
def test_a_retry_after_that_is_none_does_not_stop_anybody(small, value):
    with chat_server(faults=[("slow_down", value)]) as server:
        summary, _ = asked(small, server)
    assert summary.counts["votes"] == 12


def test_a_text_that_the_server_refuses_is_kept_without_a_vote_and_told(small):
    refusal = ("status", 400, {"error": {"message": "This model's maximum context is 8 tokens"}})
    with chat_server(faults=[refusal]) as server:
        summary, votes = asked(small, server, answers="logprobs", parallel=1)
        assert len(server.bodies) == 12
    assert votes["id"].tolist() == pd.read_csv(small / "m.csv")["id"].tolist()
    assert votes["note"][0] == "refused: 400 This model's maximum context is 8 tokens"
    assert summary.counts["failed"] == 1 and "no vote: 1 row without an answer" in str(summary)
    with chat_server() as server:  # what failed is asked again, the rest is known
        summary, _ = asked(small, server, answers="logprobs")
        assert len(server.bodies) == 1 and summary.counts["votes"] == 12


def test_a_server_without_log_probabilities_is_asked_for_json(small):
    faults = [("status", 400, {"error": "logprobs are not supported"})] * 3
    with chat_server(by_words, faults) as server:
        summary, votes = asked(small, server)
        assert len(server.bodies) == 3 + 12
    assert summary.method == "json" and votes["label"].notna().all()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (("status", 401), r"answers no question \(401 status 401\); put the server's key"),
        (("status", 403), r"answers no question \(403 status 403\); put the server's key"),
        (("status", 404, {"error": {"message": "model 'tiny' not found"}}),
         r"\(404 model 'tiny' not found\); correct --endpoint or --model"),
        (("moved", "https://evil.example/v1"), r"redirects to https://evil\.example/v1; name the"),
    ],
)  # fmt: skip
def test_a_server_that_will_never_answer_is_asked_once(small, fault, told):
    with chat_server(faults=[fault]) as server:
        with pytest.raises(EndpointError, match=told):
            asked(small, server, answers="logprobs", parallel=1)
        assert len(server.bodies) == 1


def test_a_server_that_is_not_there_is_named_at_once(small):
    with chat_server() as server:
        pass
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"no server answers at .*: Connection refused; start"):
        asked(small, server, retries=5)
    assert time.monotonic() - began < 2
    server.address = "http://no.such.host.invalid/v1"
    with pytest.raises(EndpointError, match=r"no server answers at http://no\.such\.host\.invalid"):
        asked(small, server, retries=5)


def test_an_address_without_the_protocol_is_named(small):
    with chat_server() as server:
        server.address = server.address.replace("/v1", "/api")
        with pytest.raises(EndpointError, match=r"/api answers no question \(404 Not Found\); cor"):
            asked(small, server)


def test_a_server_that_goes_away_ends_the_command_and_what_it_answered_is_kept(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(endpoints, "FIRST_WAIT", 0.01)
    write_manifest(tmp_path, rows=40)
    good = [by_letters] * 15
    told = (
        "left 10 questions in a row without an answer, the last one: 503 status 503; 15 new "
        "answers are kept, the same line asks the rest"
    )
    with (
        chat_server(faults=[*good, *[("status", 503)] * 1000]) as server,
        pytest.raises(SemiError, match=told),
    ):
        asked(tmp_path, server, answers="logprobs", parallel=1, retries=0)
    assert not (tmp_path / "v.csv").exists()
    with chat_server() as server:
        summary, votes = asked(tmp_path, server, answers="logprobs")
        assert len(server.bodies) == 25 and len(votes) == summary.counts["votes"] == 40


def test_a_server_that_never_answered_is_given_up_soon(small):
    with chat_server(faults=[("status", 500)] * 100) as server:
        with pytest.raises(SemiError, match=r"answers no question: 500 status 500"):
            asked(small, server, answers="logprobs", parallel=2, retries=1)
        assert len(server.bodies) <= 6


def test_no_more_questions_are_asked_in_a_minute_than_allowed(small):
    with chat_server() as server:
        asked(small, server, answers="logprobs", per_minute=600, parallel=8)
        gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert sum(gaps) > 0.1 * 11 * 0.9


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to be read" * 50])
def test_a_file_that_holds_no_answers_is_named(small, damage):
    (small / "cache.sqlite").write_bytes(damage)
    with chat_server() as server:
        if not damage:  # SQLite begins with an empty file
            assert asked(small, server)[0].counts["votes"] == 12
            return
        with pytest.raises(RunError, match=r"cache\.sqlite cannot be used as the file of answers"):
            asked(small, server)
        assert server.bodies == []


def test_a_file_of_another_program_is_left_alone(small):
    import sqlite3

    with sqlite3.connect(small / "cache.sqlite") as base:
        base.execute("CREATE TABLE mine (a)")
    base.close()
    with (
        chat_server() as server,
        pytest.raises(RunError, match=r"holds no answers that this version of semi reads; name an"),
    ):
        asked(small, server)
    with sqlite3.connect(small / "cache.sqlite") as base:
        assert [name for (name,) in base.execute("SELECT name FROM sqlite_master")] == ["mine"]
    base.close()


def test_a_file_whose_maker_was_killed_is_used(small):
    import sqlite3

    with sqlite3.connect(small / "cache.sqlite") as base:
        base.execute(f"PRAGMA user_version={CACHE_VERSION}")  # and no table yet
    base.close()
    with chat_server() as server:
        asked(small, server)
        asked(small, server)
        assert len(server.bodies) == 12


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_was_ended_asks_only_the_rest(tmp_path, end):
    write_manifest(tmp_path, rows=60)
    hung = [by_letters] * 20 + [("hang",)] * 1000

    with chat_server(faults=hung) as server:
        words = [
            "vote", str(tmp_path / "m.csv"), "--endpoint", server.address, "--model", "tiny",
            "-o", str(tmp_path / "v.csv"), "--cache", str(tmp_path / "cache.sqlite"),
            "--answers", "logprobs", "--parallel", "2",
        ]  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "semi", *words], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        while len(server.bodies) < 22 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(end)
        _, errors = process.communicate(timeout=60)
        if end == signal.SIGINT:
            assert process.returncode == 130
            assert "what is answered is kept; go on with: semi vote" in errors
    assert not (tmp_path / "v.csv").exists()
    with chat_server() as server:
        summary, votes = asked(tmp_path, server, answers="logprobs")
        assert len(server.bodies) == 40
    assert summary.counts["votes"] == len(votes) == 60
    with chat_server() as server:
        _, whole = asked(tmp_path, server, answers="logprobs", cache=str(tmp_path / "new.sqlite"))
    pd.testing.assert_frame_equal(votes, whole)


def test_a_proxy_of_the_environment_is_passed_by_for_this_machine(small, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with chat_server() as server:
        assert asked(small, server)[0].counts["votes"] == 12


def test_a_key_that_no_header_may_hold_is_refused():
    for key in ("sk-1\nX-Evil: 1", "ключ", "two words"):
        with pytest.raises(SemiError, match="the server's key in the environment is no key"):
            Endpoint("http://127.0.0.1:1/v1", key)
