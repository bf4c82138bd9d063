"""What an outside voter brings, through the whole way: `semi vote`, then `semi train` by consensus.

    python benchmarks/outside_voters.py FEATURES DATA WORK [--corpora mosi meld]
        [--budgets 50 200] [--seeds 0 1 2 3 4]

FEATURES holds mosi.npz, meld.npz and emodb_goemotions.npz (see benchmarks/corpora.yaml), DATA the
folders mosi, meld_text and emodb_goemotions with their texts. No language model was at hand, so
the voters are small and served by a server on this machine that speaks OpenAI's chat protocol:

- mosi (two sentiments, film reviews): the lexicon VADER (pip install vaderSentiment), which has
  never seen a label of the corpus. It answers with a JSON object, or with the word "neutral", an
  abstention.
- meld (seven emotions, talk of a TV series): logistic regression on sentence embeddings of 454
  sentences of GoEmotions, as first-token probabilities of letters. It knows no "surprise" and no
  sentence of the series; its embeddings are of the same encoder as the student's.

For each corpus, budget and seed, one draw of labels, three ways: the rounds take what the model is
surest of (class_topk, the default), what the voter confirms (external), or the surest of the mean
of both (soft). Kept in WORK/cells.csv: macro-F1 on the official test split of labels alone and of
what ships, and of the first round's pseudo-labels how many there are and how many are right by the
labels that were hidden. Nothing is chosen by them. Finished cells are not done again.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from semi.cli import main
from semi.evaluation.run_json import read_result, round_records
from semi.self_training.run_dir import Run

ARMS = {
    "class_topk": ["select.rule=class_topk"],
    "external": ["select.rule=external"],
    "soft": ["select.agreement.mode=soft", "select.agreement.over=[external]"],
}
GOEMOTIONS = {"happiness": "joy"}  # of the paired sentences -> of meld
MODALITIES = {"mosi": ("speech", "text"), "meld": ("text", "context")}
# A linear student and rounds as they are by default, without the choices of recipe auto: what is
# compared is the selection.
LEARNER = ["recipe=none", "model.kind=discriminant", "train.members=1", "tracking=false",
           "features.standardize=global", "threads=1", "rounds.max_rounds=3"]  # fmt: skip
FIELDS = ["corpus", "budget", "seed", "arm", "start", "ships", "accepted", "added", "right", "cpu"]
Vote = Callable[[str, list[str]], dict]  # text, letters' labels -> choice of a chat completion


def text_of(content: str) -> str:
    """Returns the text that a prompt of `semi vote` asks about."""
    last = content.partition("\n\n")[0].rpartition("\n")[2]
    return last.partition(": ")[2]


def vader() -> Vote:
    """Returns the lexicon's vote: no word of it is an answer that names no label."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    judge = SentimentIntensityAnalyzer()

    def vote(text: str, labels: list[str]) -> dict:
        score = judge.polarity_scores(text.lower())["compound"]
        share = round((1 + score) / 2, 3)
        answer = {"positive": share, "negative": round(1 - share, 3)}
        return {"message": {"content": json.dumps(answer) if score else "neutral"}}

    return vote


def trained_elsewhere(features: Path, data: Path) -> Vote:
    """Returns the vote of a model of GoEmotions sentences, for texts whose embeddings are known."""
    from sklearn.linear_model import LogisticRegression

    known, asked = np.load(features / "emodb_goemotions.npz"), np.load(features / "meld.npz")
    label = np.array([GOEMOTIONS.get(name, name) for name in known["label"]])
    model = LogisticRegression(C=3, class_weight="balanced", max_iter=2000)
    model.fit(known["text"].astype(np.float32), label)
    shares = model.predict_proba(asked["text"].astype(np.float32))
    place = dict(zip(meld(data)["text"], range(len(shares)), strict=True))

    def vote(text: str, labels: list[str]) -> dict:
        found = dict(zip(model.classes_, shares[place[text]], strict=True))
        top = [{"token": chr(65 + k), "logprob": math.log(max(found.get(name, 0), 1e-5))}
               for k, name in enumerate(labels)]  # fmt: skip
        best = max(top, key=lambda one: one["logprob"])
        return {"message": {"content": best["token"]},
                "logprobs": {"content": [best | {"top_logprobs": top}]}}  # fmt: skip

    return vote


@contextlib.contextmanager
def served(vote: Vote) -> Iterator[str]:
    """Yields the address of a server that answers questions of `semi vote` by a function."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

        def do_POST(self) -> None:
            """Answers one question."""
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = body["messages"][0]["content"]
            labels = re.findall(r"^[A-Z]\. (.+)$", content, re.MULTILINE)
            answer = json.dumps({"choices": [vote(text_of(content), labels)]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def meld(data: Path) -> pd.DataFrame:
    """Returns MELD's utterances, in the order and with the ids of meld.npz."""
    parts = []
    for split in ("train", "dev", "test"):
        part = pd.read_csv(data / "meld_text" / f"{split}_sent_emo.csv", dtype=str)
        dialogue = f"{split}-" + part["Dialogue_ID"]
        parts.append(pd.DataFrame(
            {"id": dialogue + "-" + part["Utterance_ID"], "dialogue": dialogue,
             "text": part["Utterance"].str.strip(), "label": part["Emotion"], "split": split}
        ))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def mosi(data: Path) -> pd.DataFrame:
    """Returns CMU-MOSI's utterances; a video is a speaker."""
    table = pd.read_csv(data / "mosi" / "manifest.csv", dtype=str)
    return table.rename(columns={"video": "speaker"})


def table_of(corpus: str, features: Path, data: Path, work: Path) -> Path:
    """Writes a corpus as a table of utterances and returns its path."""
    table = {"meld": meld, "mosi": mosi}[corpus](data)
    ids = np.load(features / f"{corpus}.npz")["id"]
    table = table.set_index("id").loc[ids].reset_index()
    path = work / f"{corpus}.csv"
    table.to_csv(path, index=False)
    return path


def quietly(*words: str) -> str:
    """Runs a command of semi and returns what it printed; RuntimeError where it failed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(list(words))
    if status:
        raise RuntimeError(f"semi {' '.join(words)}: {err.getvalue()}")
    return out.getvalue()


def voted(corpus: str, features: Path, data: Path, work: Path) -> Path:
    """Has the corpus' voter vote on all of its texts; returns the file of votes."""
    votes, table = work / f"{corpus}-votes.parquet", table_of(corpus, features, data, work)
    if votes.exists():
        return votes
    vote = vader() if corpus == "mosi" else trained_elsewhere(features, data)
    names = ["--name", "0=negative", "--name", "1=positive"] if corpus == "mosi" else []
    with served(vote) as address:
        print(quietly("vote", str(table), "--endpoint", address, "--model", f"{corpus}-voter",
                      "-o", str(votes), "--cache", str(work / "cache.sqlite"), *names))  # fmt: skip
    return votes


def cell(corpus: str, budget: int, seed: int, arm: str, features: Path, work: Path) -> dict:
    """Trains one run and returns its line of cells.csv."""
    name, started = f"{corpus}-{budget}-{seed}-{arm}", time.process_time()
    inputs = [f"encoders.extra.{m}.path={features / corpus}.npz:{m}" for m in MODALITIES[corpus]
              if m not in ("speech", "text")]  # fmt: skip
    for m in ("speech", "text"):
        known = m in MODALITIES[corpus]
        inputs.append(f"encoders.{m}.model={'precomputed' if known else 'none'}")
        inputs += [f"encoders.{m}.path={features / corpus}.npz:{m}"] if known else []
    Run.remove(work / "runs" / name)  # of a cell that was interrupted
    quietly(
        "train", f"name={name}", f"runs_dir={work / 'runs'}", f"seed={seed}", *inputs,
        f"data.manifest={work / corpus}.csv", f"features.store={work / 'store'}",
        f"data.outside={work / corpus}-votes.parquet", f"data.labeled_count={budget}",
        "data.allow_leaks=[text,speaker,session]", *LEARNER, *ARMS[arm],
    )  # fmt: skip
    run = work / "runs" / name
    records, result = round_records(run), read_result(run)
    assert result is not None
    pseudo = records[1]["pseudo"]
    return {
        "corpus": corpus, "budget": budget, "seed": seed, "arm": arm,
        "start": round(100 * records[0]["metrics_test"]["macro_f1"], 2),
        "ships": round(100 * records[result["best_round"]]["metrics_test"]["macro_f1"], 2),
        "accepted": sum(record["accepted"] for record in records[1:]),
        "added": pseudo["chosen"], "right": round(100 * pseudo["precision"], 2),
        "cpu": round(time.process_time() - started, 1),
    }  # fmt: skip


def mean_and_se(values: pd.Series) -> str:
    """Returns a mean with its standard error over seeds."""
    return f"{values.mean():.1f} ({values.std() / math.sqrt(len(values)):.1f})"


def summary(cells: pd.DataFrame) -> str:
    """Returns the table of all cells: means over seeds, with the standard error of the mean."""
    lines = [
        "| corpus | labels | rounds take | pseudo-labels | of these right | labels alone | ships | "
        "gained | over class_topk |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (corpus, budget), part in cells.groupby(["corpus", "budget"], sort=False):
        plain = part[part["arm"] == "class_topk"].set_index("seed")
        for arm in ARMS:
            own = part[part["arm"] == arm].set_index("seed")
            over = own["ships"] - plain.loc[own.index, "ships"]
            numbers = (own["right"], own["start"], own["ships"], own["ships"] - own["start"], over)
            lines.append(f"| {corpus} | {budget} | {arm} | {own['added'].mean():,.0f} | "
                         + " | ".join(map(mean_and_se, numbers)) + " |")  # fmt: skip
    return "\n".join(lines)


def alone(corpus: str, work: Path) -> str:
    """Returns what a voter is worth by itself, on the test rows that it votes on."""
    table = pd.read_csv(work / f"{corpus}.csv", dtype=str)
    votes = pd.read_parquet(work / f"{corpus}-votes.parquet").set_index("id")["label"]
    test = table[table["split"] == "test"]
    named = votes.loc[test["id"]].to_numpy(dtype=object)
    heard = np.array([isinstance(name, str) for name in named])
    gold = test["label"].to_numpy(dtype=object)
    score = f1_score(gold[heard], named[heard], average="macro", zero_division=0)
    named[~heard] = votes.mode()[0]
    filled = f1_score(gold, named, average="macro", zero_division=0)
    return (f"the voter of {corpus} alone: macro-F1 {100 * score:.1f} on the {heard.sum():,} of "
            f"{len(test):,} test rows that it votes on, {100 * filled:.1f} on all of them if its "
            "abstentions are taken for its most frequent label")  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Does what is not done yet and prints the table."""
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    path = work / "cells.csv"
    known = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=FIELDS)
    done = set(known[FIELDS[:4]].itertuples(index=False, name=None))
    for corpus in arguments.corpora:
        voted(corpus, arguments.features, arguments.data, work)
        for budget in arguments.budgets:
            for seed in arguments.seeds:
                for arm in ARMS:
                    if (corpus, budget, seed, arm) in done:
                        continue
                    found = cell(corpus, budget, seed, arm, arguments.features, work)
                    with open(path, "a", newline="", encoding="utf-8") as file:
                        writer = csv.DictWriter(file, FIELDS)
                        if not file.tell():
                            writer.writeheader()
                        writer.writerow(found)
    print(summary(pd.read_csv(path)), *(alone(c, work) for c in arguments.corpora), sep="\n")


if __name__ == "__main__":
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_it_is)
    parser.add_argument("features", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--corpora", nargs="+", default=["mosi", "meld"], choices=list(MODALITIES))
    parser.add_argument("--budgets", nargs="+", type=int, default=[50, 200])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    run(parser.parse_args())
