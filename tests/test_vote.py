"""`semi vote`: every row of a table put before a model, its answers as probabilities; one file."""

import json

import numpy as np
import pandas as pd
import pytest
from chat_server import by_letters, by_words, chat_server, of_text
from two_runs import write_manifest

from semi.cli import main
from semi.data.config import DataConfig
from semi.data.external_votes import outside_votes
from semi.data.manifest import load_manifest
from semi.errors import ConfigError, ManifestError
from semi.outside.settings import VoteSettings
from semi.outside.vote import Ballot, vote

CLASSES = ["anger", "calm", "joy"]


def asked(folder, server, *words, table="m.csv", output="v.csv", **options):
    """Returns (summary, table) of the votes on a table of the folder."""
    options = {"cache": str(folder / "cache.sqlite"), "retries": 1, "timeout": 10, **options}
    settings = VoteSettings(server.address, "tiny", **options)
    summary = vote(folder / table, settings, folder / output, words, progress=False)
    read = pd.read_parquet if output.endswith(".parquet") else pd.read_csv
    return summary, read(folder / output)


@pytest.fixture
def small(tmp_path):
    """A folder with m.csv of twelve rows."""
    write_manifest(tmp_path, rows=12)
    return tmp_path


@pytest.mark.parametrize("answer", [by_letters, by_words])
@pytest.mark.parametrize("output", ["v.csv", "v.parquet"])
def test_every_text_has_the_probabilities_of_the_model(small, answer, output):
    with chat_server(answer) as server:
        summary, votes = asked(small, server, output=output)
    given = pd.read_csv(small / "m.csv")
    assert votes["id"].tolist() == given["id"].tolist()
    probs = votes[[f"p_{c}" for c in CLASSES]].to_numpy()
    assert np.allclose(probs.sum(1), 1, atol=1e-6)
    assert (np.array(CLASSES)[probs.argmax(1)] == votes["label"]).all()
    assert (votes["label"] == given["label"]).mean() > 0.6  # half of the words are its own
    read = outside_votes([str(small / output)], given["id"].to_numpy(), CLASSES)
    assert read is not None and np.allclose(read[0].numpy(), probs, atol=1e-6)
    assert summary.method == ("logprobs" if answer is by_letters else "json")
    assert summary.counts["votes"] == 12


def test_a_prompt_is_rendered_once_for_all_samples_of_a_row(small):
    settings = VoteSettings("http://127.0.0.1:9", "tiny", answers="samples", samples=5)
    config = DataConfig(manifest=str(small / "m.csv"))
    ballot, rendered = Ballot(load_manifest(config.manifest, config), settings), []

    class Counting:
        def of(self, turns, method):
            rendered.append(turns)
            return prompt.of(turns, method)

    prompt, ballot.prompt = ballot.prompt, Counting()
    keys = ballot.keys("samples")
    assert [len(own) for own in keys] == [5] * 12 and len({k for own in keys for k in own}) == 60
    bodies = [ballot.body(at, "samples", sample) for at in ballot.asked for sample in range(5)]
    assert len(rendered) == 12 and [body["seed"] for body in bodies] == list(range(5)) * 12
    texts = [body["messages"][0]["content"] for body in bodies]
    assert texts == [text for text in texts[::5] for _ in range(5)]


def test_samples_are_counted(small):
    turn = iter(range(10_000))

    def wavering(body):
        return {
            "message": {"content": ["Joy!", "**calm**", "joy", "I cannot say."][next(turn) % 4]}
        }

    with chat_server(wavering) as server:
        _, votes = asked(small, server, answers="samples", samples=4, parallel=1)
        assert len(server.bodies) == 4 * 12
        assert {body["seed"] for body in server.bodies} == {0, 1, 2, 3}
    assert np.allclose(votes[["p_anger", "p_calm", "p_joy"]], [0, 1 / 3, 2 / 3], atol=1e-6)
    assert (votes["named"] == 0.75).all()


def test_answers_that_name_no_label_and_empty_texts_are_abstentions_that_are_counted(small):
    table = pd.read_csv(small / "m.csv")
    table["text"] = table["text"].astype(object)
    table.loc[[2, 5], "text"] = [None, "   "]
    table["audio"] = [f"{name}.wav" for name in table["id"]]  # heard by others, not by this verb
    table.to_csv(small / "m.csv", index=False)
    turn = iter(range(10_000))

    def unsure(body):
        if next(turn) % 2:
            return {"message": {"content": "As an AI I have no feelings."}}
        return {"message": {"content": '{"joy": 1}'}}

    with chat_server(unsure) as server:
        summary, votes = asked(small, server, answers="json", parallel=1)
        assert len(server.bodies) == 10
    assert votes["id"].tolist() == table["id"].tolist()
    assert votes["note"][[2, 5]].tolist() == ["no text", "no text"]
    without = votes["p_joy"].isna()
    assert without.sum() == 7 and (votes["label"].isna() == without).all()
    counts = {"rows": 12, "votes": 5, "no_text": 2, "abstained": 5, "failed": 0}
    assert summary.counts == counts
    assert "no vote: 5 rows whose answer names no label" in str(summary)
    assert "names no label: As an AI I have no feelings." in str(summary)


def test_the_turns_before_a_text_are_shown_in_their_order(tmp_path):
    said = [("d1", 3, "Ann", "three"), ("d1", 1, "Ann", "one"), ("d2", 1, "Cyd", "other"),
            ("d1", 2, "Bob", "two"), ("d1", 4, "Bob", "four")]  # fmt: skip
    table = pd.DataFrame(said, columns=["dialogue", "turn", "speaker", "text"])
    table.insert(0, "id", [f"u{k}" for k in range(5)])
    table.to_csv(tmp_path / "m.csv", index=False)
    words = "data.classes=[joy,calm]"
    with chat_server(of_text('{"joy": 1}')) as server:
        asked(tmp_path, server, words, context=2, order="turn", answers="json", parallel=1)
    contents = [body["messages"][0]["content"] for body in server.bodies]
    assert "Bob: two" in contents[0] and contents[0].index("Ann: one") < contents[0].index("two")
    assert "Turns of a conversation" not in contents[2] and "Cyd: other" in contents[2]
    assert "Ann: one" not in contents[4] and "Ann: three" in contents[4]  # the two before it
    made = json.loads((tmp_path / "v.csv.json").read_text())
    assert made["ordered_by"] == "turn" and made["context"] == 2


def test_a_prompt_of_ones_own_reads_the_row_but_never_its_label(small):
    (small / "p.txt").write_text(
        "{{ how_to_answer }} Speaker {{ speaker }} ({{ row['speaker'] }}), {{ row['label'] }} said "
        "{{ text }}; {{ labels | join('/') }}"
    )
    with (
        chat_server() as server,
        pytest.raises(ConfigError, match=r"p\.txt cannot be filled in for row 'u0': .*label"),
    ):
        asked(small, server, prompt=str(small / "p.txt"))
    (small / "p.txt").write_text(
        "Speaker {{ row['speaker'] }} said {{ text }} {{ labels | join('/') }}"
    )
    with chat_server(of_text('{"happy": 1}')) as server:
        _, votes = asked(
            small,
            server,
            prompt=str(small / "p.txt"),
            names={"joy": "happy"},
            answers="json",
            parallel=1,
        )
    content = server.bodies[0]["messages"][0]["content"]
    assert content.startswith("Speaker s0 said ") and "anger/calm/happy" in content
    assert "JSON object" in content and set(votes["label"]) == {"joy"}


def test_the_same_question_is_asked_once_and_never_again(small):
    table = pd.read_csv(small / "m.csv")
    table["text"], table["speaker"] = "toll", "s0"
    table.to_csv(small / "m.csv", index=False)
    with chat_server() as server:
        _, first = asked(small, server)
        assert len(server.bodies) == 1
        _, second = asked(small, server, output="again.csv")
        assert len(server.bodies) == 1
        asked(small, server, request={"top_logprobs": 3})
        assert len(server.bodies) == 2  # another setting is another question
    pd.testing.assert_frame_equal(first, second)


def test_the_key_comes_from_the_environment_and_is_written_nowhere(small, monkeypatch, capsys):
    monkeypatch.setenv("MY_KEY", "sk-secret-1")
    words = ["vote", str(small / "m.csv"), "--model", "tiny", "--key-env", "MY_KEY"]
    words += ["-o", str(small / "v.csv"), "--cache", str(small / "c.sqlite")]
    refusal = ("status", 401, {"error": {"message": "wrong key sk-secret-1"}})
    with chat_server(faults=[refusal]) as server:
        assert main([*words, "--endpoint", server.address]) == 2
        assert main([*words, "--endpoint", server.address]) == 0
    assert server.headers[0]["Authorization"] == "Bearer sk-secret-1"
    out = "".join(capsys.readouterr())
    assert "answers no question (401 wrong key ***); put the server's key into the env" in out
    written = b"".join(path.read_bytes() for path in small.iterdir() if path.is_file())
    assert "sk-secret" not in out and b"sk-secret" not in written
    assert main([*words, "--endpoint", "http://x:sk-secret-1@127.0.0.1/v1"]) == 2
    assert main([*words[:-4], "--key-env", "sk-secret-1", "--endpoint", server.address]) == 2
    told = capsys.readouterr().err
    assert "must name a server and a path alone" in told and "never the key" in told
    assert "sk-secret" not in told


def test_the_summary_tells_how_right_the_model_is_on_gold_training_rows_alone(tmp_path):
    write_manifest(tmp_path, rows=60)
    table = pd.read_csv(tmp_path / "m.csv")
    table["split"] = np.where(table["speaker"].isin(["s0", "s1"]), "test", "train")
    table.to_csv(tmp_path / "m.csv", index=False)
    with chat_server(of_text('{"joy": 1}')) as server:
        summary, _ = asked(tmp_path, server, answers="json")
    gold = table[table["split"] == "train"]["label"]
    assert summary.gold.rows == len(gold) == 42
    assert summary.gold.right == (gold == "joy").sum() == 14
    assert "it is 33 % right [21, 48] on 42 gold training rows (chance: 33 %)" in str(summary)
    assert "joy 33 % of 42" in str(summary)
    assert "data.outside=" in str(summary) and "select.rule=external" in str(summary)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"answers": "guess"}, "--answers must be one of auto, logprobs, json, samples, got"),
        ({"context": 2}, "--context shows the turns before a row, but the table names no dialogue"),
        ({"context": -1}, "--context must be 0 to 1000, got -1"),
        ({"parallel": 0}, "--parallel must be 1 to 256, got 0"),
        ({"timeout": 0}, r"--timeout must be in \(0, 3600\] seconds, got 0"),
        ({"per_minute": -1}, "--rate must be 0 to 1,000,000 a minute, got -1"),
        ({"request": {"messages": []}}, "--request cannot set messages"),
        ({"names": {"jyo": "happy"}}, "--name jyo=.*: no label of the table; did you mean 'joy'"),
        ({"names": {"joy": "Calm!"}}, "two labels would be called 'calm'"),
        ({"prompt": "none.txt"}, "--prompt none.txt: no such file"),
        ({"key_env": "NOT_SET_AT_ALL"}, "--key-env names an environment variable that is not set"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_in_one_sentence(small, options, told):
    with chat_server() as server:
        with pytest.raises(ConfigError, match=told):
            asked(small, server, **options)
        assert server.bodies == []


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://x/v1", "http://", "http://a:b/v1",
                                     "http://127.0.0.1:99999/v1", "", "http://[::1",
                                     "http://127.0.0.1:0/v1", "http://127.0.0.1/ä"])  # fmt: skip
def test_what_is_no_address_is_refused(small, address):
    with pytest.raises(ConfigError, match=r"--endpoint .*is no address of a server; write it as"):
        vote(small / "m.csv", VoteSettings(address, "tiny"), small / "v.csv", progress=False)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("What is {{ txt }}?", r"p\.txt reads 'txt'; did you mean 'text'\?; a prompt may read"),
        ("Which emotion?", r"p\.txt never reads the text; write \{\{ text \}\} where"),
        ("{{ text ", r"p\.txt: no Jinja template \(line 1: "),
        ("{{ text.__class__.__mro__ }}", r"p\.txt cannot be filled in for row 'u0': .*unsafe"),
        ("{{ text | nofilter }}", r"p\.txt: no Jinja template"),
    ],
)
def test_what_is_no_prompt_is_refused(small, prompt, told):
    (small / "p.txt").write_text(prompt)
    with chat_server() as server:
        with pytest.raises(ConfigError, match=told):
            asked(small, server, prompt=str(small / "p.txt"))
        assert server.bodies == []


def test_a_table_that_no_model_can_judge_is_refused(tmp_path):
    write_manifest(tmp_path, rows=12)
    table = pd.read_csv(tmp_path / "m.csv")
    table.drop(columns="label").to_csv(tmp_path / "bare.csv", index=False)
    with chat_server(by_words) as server:
        with pytest.raises(ManifestError, match=r"names 0 labels, and a vote needs two.*classes="):
            asked(tmp_path, server, table="bare.csv")
        summary, votes = asked(tmp_path, server, "data.classes=[anger,calm,joy]", table="bare.csv")
    assert len(votes) == 12 and "how right it is, is not known: no row has a label" in str(summary)


def test_a_file_of_settings_names_the_table(small):
    (small / "mine.yaml").write_text(
        f"data:\n  manifest: {small}/m.csv\n  label_map: {{calm: quiet}}\n"
    )
    with chat_server(of_text('{"quiet": 1}')) as server:
        _, votes = asked(small, server, table="mine.yaml", answers="json")
    assert set(votes["label"]) == {"quiet"} and "p_calm" not in votes


def test_a_model_that_never_names_a_label_is_told_what_may_help(small):
    with chat_server(of_text("<think>the speaker seems")) as server:
        summary, votes = asked(small, server)
    assert summary.counts["abstained"] == 12 and votes["label"].isna().all()
    assert "no answer is a vote: see the column answer; --name gives" in str(summary)
    assert "next:" not in str(summary)


def test_two_commands_share_one_file_of_answers(small):
    import threading

    done = []
    with chat_server() as server:

        def one(name):
            done.append(asked(small, server, output=name)[0].counts["votes"])

        threads = [threading.Thread(target=one, args=(f"{k}.csv",)) for k in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done == [12, 12, 12]
        assert len(server.bodies) <= 36
        asked(small, server)
        assert len(server.bodies) <= 36
