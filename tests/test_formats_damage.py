"""Damaged files and folders of every format: read, or refused in sentences; never anything else."""

import random
import shutil
from pathlib import Path

import pytest
from format_trees import place, utterances

from semi.data.formats import FORMATS
from semi.data.manifest import load_manifest
from semi.errors import ManifestError

TOKENS = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"-1", b"\n", b"\x00", b"\xff", b"NaN"]
TOKENS += [b'"data":{', b'"annotations":', b'"result":[1]', b'"value":5', b'"choices":5', b" |"]
META = '"annotator": 1, "annotation_id": 7, "lead_time": 1.0'


def parquet(path, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    sounds = [{"bytes": Path(r["audio"]).read_bytes(), "path": f"{r['id']}.opus"} for r in rows]
    table = pa.table({"audio": sounds, "label": [row["label"] for row in rows]})
    pq.write_table(table, path)


def inputs(root):
    """Writes one small input of each kind; returns their paths."""
    rows = utterances(1)
    sounds = {row["id"]: place(row, root / "wav" / f"{row['id']}.opus") for row in rows}
    names = [(row["id"], row["label"], str(sounds[row["id"]])) for row in rows]
    lists = {
        "kaldi/wav.scp": "\n".join(f"{i} {sound}" for i, _, sound in names),
        "kaldi/utt2emo": "\n".join(f"{i} {label}" for i, label, _ in names),
        "folder/metadata.csv": "file_name,label\n" + "\n".join(f"{s},{k}" for _, k, s in names),
        "audb/db.emotion.csv": "file,emotion\n" + "\n".join(f"{s},{k}" for _, k, s in names),
        "audb/db.yaml": "tables: {emotion: {columns: {emotion: {scheme_id: emotion}}}}\n"
        "schemes: {emotion: {labels: {anger: Ärger}}}\n",
        "times.csv": "file,start,end,emotion\n"
        + "\n".join(f"{s},0 days,0 days 00:00:01.5,{k}" for _, k, s in names),
        "tasks.json": "["
        + ",".join(
            f'{{"id": {n}, "data": {{"audio": "{s}"}}, "annotations": [{{"result": [{{"from_name": '
            f'"emotion", "type": "choices", "value": {{"choices": ["{k}"]}}}}]}}]}}'
            for n, (_, k, s) in enumerate(names)
        )
        + "]",
        "min.json": "["
        + ",".join(
            f'{{"audio": "{s}", "id": {n}, "emotion": "{k}", {META}}}'
            for n, (_, k, s) in enumerate(names)
        )
        + "]",
        "brain.json": "{"
        + ",".join(f'"{i}": {{"wav": "{s}", "emo": "{k}"}}' for i, k, s in names)
        + "}",
        "data.json": '{"data": ['
        + ",".join(f'{{"id": "{i}", "audio": "{s}", "label": "{k}"}}' for i, k, s in names)
        + "]}",
    }
    for name, content in lists.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    parquet(root / "sounds.parquet", rows)
    return [root / name for name in ("kaldi", "folder", "audb")] + sorted(
        file for file in root.iterdir() if file.is_file()
    )


def damaged(data, rng):
    """Returns bytes with one to four changes: a bit, something inserted, cut out, or cut off."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 2:
            del data[at : at + rng.choice([1, 3, 20, 200])]
        else:
            data = data[:at]
    return bytes(data)


def test_the_inputs_are_whole_before_they_are_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kinds = set()
    for path in inputs(tmp_path / "whole"):
        manifest = load_manifest(path)
        assert len(manifest) == 3 and len(manifest.classes) == 3, path.name
        kinds.add(manifest.reading.kind)
    assert kinds <= set(FORMATS) and len(kinds) == 7


@pytest.mark.parametrize("seed", range(3))
def test_damage_is_read_or_refused_in_sentences(tmp_path, monkeypatch, seed):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = random.Random(seed)
    refused = 0
    for path in inputs(tmp_path / "whole"):
        for _ in range(12):
            copy = tmp_path / path.name
            if path.is_dir():
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(path, copy)
                file = rng.choice(sorted(f for f in copy.iterdir() if f.is_file()))
            else:
                file = shutil.copy(path, copy)
            file.write_bytes(damaged(file.read_bytes(), rng))
            try:
                load_manifest(copy)
            except ManifestError as error:
                refused += 1
                assert all(len(line) < 700 for line in str(error).splitlines())
    assert refused > 20
