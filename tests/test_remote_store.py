"""A feature store on an object store: the same bytes as in a folder, whole at any moment."""

import re
import socket
import subprocess
import sys
import threading
import time

import fsspec
import numpy as np
import pytest
from broken_corpus import broken_corpus
from fsspec.core import url_to_fs
from two_runs import settings, write_manifest

import semi
from models.encoders.char_ngram import CharNgramEncoder
from semi.cli import main
from semi.config.schema import load_config
from semi.errors import StoreError
from semi.features import encode, fill
from semi.features.extract import extract
from semi.features.merge import Shard, merge
from semi.features.store import FeatureStore
from semi.self_training.run_dir import Run

CHANGING = re.compile(r"(store|quarantine)-[0-9a-f]{16}(?=\.)")  # named by content there
S3 = pytest.mark.extras("s3fs", "moto", "boto3")


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A home for the copies, as of a machine that knows nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda name: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


@pytest.fixture
def address(disk):
    fsspec.filesystem("memory").store.clear()
    return "memory://bucket/store"


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    return broken_corpus(folder, 45)


def words(manifest, store, *more):
    return ["extract", f"data.manifest={manifest}", f"features.store={store}",
            "encoders.speech.model=acoustic", "encoders.text.model=none", *more]  # fmt: skip


def objects(address):
    fs, root = url_to_fs(address)
    fs.invalidate_cache()
    found = fs.find(root)
    content = {name.partition(root.strip("/") + "/")[2]: fs.cat_file(name) for name in found}
    plain = {CHANGING.sub(r"\1", name): c for name, c in content.items()}
    assert len(plain) == len(content)  # one state of each encoder
    return plain


def stopped_at(shard, manifest, address, monkeypatch):
    """Extracts until Ctrl-C comes as the shard of that number, from 1, is to be encoded."""
    real, seen = fill.encode_task, []

    def stops(*given):
        seen.append(1)
        if len(seen) == shard:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(fill, "encode_task", stops)
        with pytest.raises(KeyboardInterrupt):
            extract(load_config(None, words(manifest, address)[1:]), progress=False)


def in_folder(store):
    found = {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    return {name: c for name, c in found.items() if "lock" not in name and "sha256" not in name}


def test_extraction_to_an_object_store_gives_the_bytes_of_a_folder(
    speech, address, disk, tmp_path, capsys
):
    assert main(words(speech, tmp_path / "folder")) == 0
    assert main(words(speech, address)) == 0
    assert objects(address) == in_folder(tmp_path / "folder")
    assert "quarantine.csv" in str(list(objects(address)))
    disk("another machine")
    capsys.readouterr()
    assert main(words(speech, address)) == 0
    assert "speech: 0 encoded, 12 in the store already" in capsys.readouterr().out
    assert main(["verify", address]) == 0
    assert (
        f"{address}: feature store of 5 files, all as they were written" in capsys.readouterr().out
    )


def test_a_run_keeps_the_address_of_its_store(address, tmp_path):
    write_manifest(tmp_path)
    run = semi.self_train(settings(tmp_path, "r", f"features.store={address}"), progress=False)
    assert Run.open(run.path).config.features.store == address
    assert semi.load(run.path).predict(texts=["hurra toll"])["label"].notna().tolist() == [True]
    assert any(name.startswith("text-") for name in objects(address))


def test_a_flipped_bit_of_an_object_is_found(speech, address, disk, capsys):
    assert main(words(speech, address)) == 0
    fs = fsspec.filesystem("memory")
    (data,) = [name for name in fs.find("/bucket") if "data-" in name]
    content = bytearray(fs.cat_file(data))
    content[-3] ^= 4
    fs.pipe_file(data, bytes(content))
    capsys.readouterr()
    assert main(["verify", address]) == 2
    assert "do not match their SHA-256" in capsys.readouterr().out
    disk("another machine")
    assert main(words(speech, address)) == 2
    assert "is damaged: the contents of data-" in capsys.readouterr().err


def shelf_at(address):
    return FeatureStore(address).shelf("speech", {"model": "a"})


def add(shelf, *numbers):
    """Merges one shard with these items, as an extraction does."""
    keys = np.array([f"{n:064x}" for n in numbers], "S64")
    rows = np.array(numbers, np.float32)[:, None] + np.zeros(3, np.float32)
    with shelf.locked():
        shelf.describe()
        path = shelf.folder / "part.npz"
        Shard(keys, np.ones(len(keys), np.float32), rows, None).save(path)
        merge(shelf, [path])
        path.unlink()


def test_a_copy_that_is_written_is_not_brought_up_to_date_at_the_same_time(address):
    """A list of all shelves waits for whoever changes one, as opening it does."""
    shelf, found = shelf_at(address), []
    add(shelf, 1)
    store = FeatureStore(address)
    lister = threading.Thread(target=lambda: found.extend(store.shelves()))
    with shelf.locked():
        lister.start()
        lister.join(0.5)
        assert lister.is_alive() and not found
    lister.join()
    assert [one.folder for one in found] == [shelf.folder]


def test_of_two_writers_at_once_neither_loses_anything(address, disk, monkeypatch):
    """The second machine ends its merge between the first one's reading and writing."""
    first = shelf_at(address)
    add(first, 1)
    assert first.remote is not None
    real, others = first.remote.push, [2]

    def push():
        if others:
            number = others.pop()
            disk("another machine")
            add(shelf_at(address), number)
            disk("cache")
        return real()

    monkeypatch.setattr(first.remote, "push", push)
    add(first, 3)
    disk("third machine")
    assert len(shelf_at(address).open()) == 3
    assert sum("data-" in name for name in objects(address)) == 1  # nothing old is left behind


def test_a_reader_on_the_same_machine_takes_nothing_from_a_writer(address, disk, monkeypatch):
    """It looks between the writer's merge and its upload, when the address has the old state."""
    writer, found = shelf_at(address), []
    reader = threading.Thread(target=lambda: found.append(len(shelf_at(address).open())))
    assert writer.remote is not None
    real = writer.remote.push

    def push():
        reader.start()
        reader.join(0.5)
        return real()

    monkeypatch.setattr(writer.remote, "push", push)
    add(writer, 1)
    reader.join()
    assert found == [1]
    disk("another machine")
    assert len(shelf_at(address).open()) == 1


def test_a_finished_shard_outlives_the_machine(speech, address, disk, capsys, monkeypatch):
    monkeypatch.setattr(encode.INPUT_KINDS["audio"], "shard", (5.0, 5.0))
    stopped_at(3, speech, address, monkeypatch)
    shards = [name for name in objects(address) if "/pending/" in name]
    assert len(shards) == 2
    disk("another machine")
    assert main(words(speech, address)) == 0
    shards = [name for name in objects(address) if "pending" in name]
    assert shards == []


def test_a_manifest_is_predicted_from_the_store_of_its_run(address, tmp_path, monkeypatch, capsys):
    write_manifest(tmp_path)
    run = semi.self_train(settings(tmp_path, "r", f"features.store={address}"), progress=False)
    monkeypatch.setattr(CharNgramEncoder, "encode", None)  # nothing is left to encode
    assert main(["predict", str(run.path), "--manifest", str(tmp_path / "m.csv")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 90


def test_an_address_that_cannot_be_had_is_named(speech, disk, capsys):
    assert main(words(speech, "nowhere://bucket/store")) == 2
    assert "nowhere://bucket/store" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["extract", "check"])
def test_a_kind_of_address_that_nobody_knows_is_refused_with_the_settings(speech, verb, capsys):
    assert main([verb, *words(speech, "nowhere://bucket/store")[1:]]) == 2
    assert (
        "features.store: nowhere://bucket/store: no library knows addresses of 'nowhere://'; name "
        "a folder, s3://bucket/prefix, gs://bucket/prefix or another address that fsspec opens "
        "(command line)"
    ) in capsys.readouterr().err


@pytest.mark.parametrize(("address", "remedy"), [
    ("s3://bucket/store", "pip install 'semi-emotion[s3]'"),
    ("gs://bucket/store", "install gcsfs with pip"),
    ("hdfs://there/store", "Install it from somewhere"),
])  # fmt: skip
def test_an_address_without_its_library_is_refused_with_the_settings(
    speech, address, remedy, capsys, monkeypatch
):
    def missing(protocol):
        raise ImportError("Install it from somewhere")

    monkeypatch.setattr("fsspec.get_filesystem_class", missing)
    sentence = f"{address} needs a library that is not installed here: {remedy}"
    assert main(["check", *words(speech, address)[1:]]) == 2
    assert f"features.store: {sentence} (command line)" in capsys.readouterr().err
    assert main(["verify", address]) == 2
    assert f"semi: error: {sentence}" in capsys.readouterr().err


def test_a_state_that_is_none_is_refused(address, disk):
    add(shelf_at(address), 1)
    fs = fsspec.filesystem("memory")
    (state,) = fs.glob(f"/bucket/store/{shelf_at(address).folder.name}/store-*.json")
    fs.pipe_file(state, b"[")
    with pytest.raises(StoreError, match=r"store\.json is not as it was written"):
        shelf_at(address).open()


@pytest.fixture(scope="module")
def bucket():
    """The address of a bucket of moto's server, which speaks S3 on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    names = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
             "AWS_DEFAULT_REGION": "us-east-1",
             "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}  # fmt: skip
    patch = pytest.MonkeyPatch()
    for name, value in names.items():
        patch.setenv(name, value)
    try:
        while server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        import boto3  # pyright: ignore[reportMissingImports]

        boto3.client("s3").create_bucket(Bucket="speech")
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # of another server's address
        yield "s3://speech/store"
    finally:
        patch.undo()
        server.terminate()
        server.wait()


@S3
def test_extraction_to_s3_gives_the_bytes_of_a_folder(speech, bucket, disk, tmp_path, capsys):
    assert main(words(speech, tmp_path / "folder")) == 0
    assert main(words(speech, bucket)) == 0
    assert objects(bucket) == in_folder(tmp_path / "folder")
    disk("another machine")
    capsys.readouterr()
    assert main(words(speech, bucket)) == 0
    assert "speech: 0 encoded, 12 in the store already" in capsys.readouterr().out
    assert main(["verify", bucket]) == 0


@S3
@pytest.mark.extras("ray")
def test_workers_on_ray_put_their_shards_to_s3(speech, bucket, disk, tmp_path):
    assert main(words(speech, tmp_path / "folder")) == 0
    there = f"{bucket}-ray"
    assert main(words(speech, there, "engine=ray", "processes=2")) == 0
    assert objects(there) == in_folder(tmp_path / "folder")


@S3
def test_a_bucket_that_is_not_there_is_named(speech, bucket, disk, capsys):
    assert main(words(speech, "s3://another/store")) == 2
    assert "s3://another/store" in capsys.readouterr().err
