"""`semi review` as a process: killed, interrupted, two at once, a taken port, runs it refuses."""

import json
import os
import re
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest
from spoken_run import copied, serving

from semi.cli import main
from semi.data.reviews import COLUMNS, read_reviews
from semi.evaluation.reviewed_precision import precision_sentence
from semi.review.rows import review_table
from semi.review.serve import MISSING


@pytest.fixture
def run(heard, tmp_path):
    return copied(heard, tmp_path)


def ask(address, path, value=None):
    """Returns what the server says to a request: (status, JSON)."""
    parts = urlsplit(address)
    request = urllib.request.Request(
        f"{parts.scheme}://{parts.netloc}{path}",
        data=None if value is None else json.dumps(value).encode(),
        headers={"X-Review-Token": parse_qs(parts.query)["token"][0],
                 "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def judged(address, name, label, who="Ada"):
    status, answer = ask(
        address, "/api/reviews", {"id": name, "verdict": "label", "label": label, "reviewer": who}
    )
    assert status == 200, answer
    return answer


def test_a_kill_right_after_the_answer_loses_no_review(run):
    columns = review_table(run).columns
    for name in columns["id"][columns["role"] == "pool"][:4]:
        with serving(run) as (server, address):
            judged(address, name, "fear")
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
        assert read_reviews(run / "reviews.csv")[-1].id == name
    with serving(run) as (_, address):
        _, answer = ask(address, "/api/rows?reviewer=Ada&part=pool&reviewed=done")
        assert answer["progress"]["reviewed"] == answer["total"] == 4


def test_two_reviewers_at_once_lose_nothing(run):
    with serving(run) as (_, address):
        _, answer = ask(address, "/api/rows?reviewer=Ada")
        names = [row["id"] for row in answer["rows"]]

        def work(who):
            for name in names:
                judged(address, name, "anger" if who == "Ada" else "fear", who)

        threads = [threading.Thread(target=work, args=(who,)) for who in ("Ada", "Bo")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for who in ("Ada", "Bo"):
            _, answer = ask(address, f"/api/rows?reviewer={who}")
            assert answer["progress"]["reviewed"] == len(names) == 20
    found = read_reviews(run / "reviews.csv")
    assert {(r.id, r.reviewer) for r in found} == {(n, w) for n in names for w in ("Ada", "Bo")}
    assert len(found) == 2 * len(names)


def test_two_servers_of_one_run_see_each_others_words(run):
    with serving(run) as (_, one), serving(run) as (_, two):
        _, answer = ask(one, "/api/rows?reviewer=Ada")
        first, second = (row["id"] for row in answer["rows"][:2])
        judged(one, first, "anger")
        judged(two, second, "fear")
        for address in (one, two):
            _, answer = ask(address, "/api/rows?reviewer=Ada")
            assert answer["progress"]["reviewed"] == 2


def test_it_listens_on_this_machine_alone_and_with_a_new_token_each_time(run):
    tokens = set()
    for _ in range(2):
        with serving(run) as (_, address):
            assert urlsplit(address).hostname == "127.0.0.1"
            token = parse_qs(urlsplit(address).query)["token"][0]
            assert len(token) >= 32
            tokens.add(token)
            elsewhere = socket.socket()
            with elsewhere, pytest.raises(OSError):
                elsewhere.settimeout(5)
                elsewhere.connect(("127.0.0.2", urlsplit(address).port))
    assert len(tokens) == 2


def test_ctrl_c_ends_it_and_says_where_the_reviews_are(run):
    with serving(run) as (server, address):
        name = ask(address, "/api/rows")[1]["rows"][0]["id"]
        judged(address, name, "fear")
        server.send_signal(signal.SIGINT)
        rest = server.stdout.read()
        assert server.wait() == 0
    stated = precision_sentence(run)
    assert "0 of the 50 reviews of random rows" in stated or "1 of the 50" in stated
    assert rest.endswith(f"ended; reviews are in {run / 'reviews.csv'}\n{stated}\n")
    assert "Traceback" not in rest
    with serving(copied(run, run.parent / "other")) as (server, _):
        (run.parent / "other" / "heard" / "reviews.csv").unlink()
        server.send_signal(signal.SIGINT)
        assert server.stdout.read().endswith("ended; nothing was reviewed\n")


def test_ctrl_c_says_where_damaged_reviews_are(run):
    with serving(run) as (server, address):
        judged(address, ask(address, "/api/rows")[1]["rows"][0]["id"], "fear")
        (run / "reviews.csv").write_text("something else\n")
        server.send_signal(signal.SIGINT)
        rest = server.stdout.read()
        assert server.wait() == 0
    assert f"ended; reviews are in {run / 'reviews.csv'}\nwhat they say of the pseudo" in rest
    assert "is no list of reviews" in rest and "Traceback" not in rest


def test_a_taken_port_is_passed_over(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serving(run, "--port", str(port)) as (_, address):
            assert urlsplit(address).port not in (None, port)
            assert ask(address, "/api/rows")[0] == 200


# --- what cannot be reviewed ---


def refused(capsys, *words):
    """Returns what `semi review` says of a run that it refuses."""
    assert main(["review", *map(str, words), "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_runs_that_cannot_be_reviewed_are_refused_in_a_sentence(run, capsys):
    assert "nowhere is not a run: no such folder" in refused(capsys, run.parent / "nowhere")
    assert "is not a run: has no config.yaml" in refused(capsys, run / "round-00")
    (run / "reviews.csv").write_text("id\n1\n")
    said = refused(capsys, run)
    assert f"reviews.csv is no list of reviews: its first line must be {', '.join(COLUMNS)}" in said
    (run / "reviews.csv").unlink()
    ledger = run / "ledger.parquet"
    ledger.write_bytes(ledger.read_bytes()[:-1])
    assert "ledger.parquet is not as it was written" in refused(capsys, run)
    (run / "result.json").unlink()
    said = refused(capsys, run)
    assert "is an unfinished run; go on with semi train ... --resume" in said


def test_a_table_that_changed_or_is_gone_is_told(run, capsys, tmp_path):
    said = refused(capsys, run, f"data.manifest={tmp_path / 'none.csv'}")
    assert "the table that" in said and "name its new place with data.manifest=..." in said
    table = tmp_path / "m.csv"
    table.write_text("id,text,label\na,b,c\n")
    assert "the manifest changed since" in refused(capsys, run, f"data.manifest={table}")


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_that_is_none_is_told(run, capsys, port):
    with pytest.raises(SystemExit) as ended:
        main(["review", str(run), f"--port={port}", "--no-browser"])
    assert ended.value.code == 2
    assert re.search(r"--port: .*0 to 65535", capsys.readouterr().err)


@pytest.mark.parametrize("library", ["uvicorn", "starlette"])
def test_without_the_extra_a_sentence_says_how_to_install_it(run, capsys, monkeypatch, library):
    for name in [n for n in sys.modules if n.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    for name in [n for n in sys.modules if n in ("semi.review.server", "semi.review.guard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    assert MISSING in refused(capsys, run)
    assert "pip install 'semi-emotion[review]'" in MISSING
