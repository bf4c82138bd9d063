"""Shards that workers of other machines put into an object store, one by one."""
# ruff: noqa: F811

import fsspec
import numpy as np
import pytest
from test_remote_store import address, disk, objects, shelf_at  # noqa: F401

from models.encoders.char_ngram import CharNgramEncoder
from semi.features.shard_tasks import ShardTask, ShardWriter
from semi.features.store import FeatureStore


@pytest.mark.parametrize("merged_here", [False, True])
@pytest.mark.parametrize("died_before_it_was_put", [False, True])
def test_a_shard_of_another_machine_is_put_and_leaves_nothing_on_its_disk(
    address, disk, merged_here, died_before_it_was_put
):
    encoder = CharNgramEncoder(width=8)
    shelf = FeatureStore(address).shelf("text", encoder.identity())
    folder = shelf.folder / "pending" / "plan"
    if merged_here:
        folder.mkdir(parents=True)
        (folder / "begun").touch()
    task = ShardTask(0, "text", np.array(["a" * 64], "S64"), np.ones(1), ["u"], [""], ["so"], str)
    write = ShardWriter(encoder, folder, 1, shelf.remote)
    if died_before_it_was_put:
        assert ShardWriter(encoder, folder, 1)(task) == 0
    assert write(task) == 0
    assert [name.partition("/")[2] for name in objects(address)] == ["pending/plan/000000.npz"]
    assert (folder / "000000.npz").exists() == merged_here


def test_a_shard_of_another_machine_is_seen_where_listings_are_kept(address, disk, monkeypatch):
    """As s3fs keeps them."""
    kind, kept = type(fsspec.filesystem("memory")), {}
    real = kind.glob

    def glob(self, path):
        return kept.setdefault(path, real(self, path))

    monkeypatch.setattr(kind, "glob", glob)
    monkeypatch.setattr(kind, "invalidate_cache", lambda self: kept.clear())
    remote = shelf_at(address).remote
    assert remote is not None
    (plan := remote.folder / "pending" / "plan").mkdir(parents=True)
    remote.get_shards(plan, "000001.npz")
    fsspec.filesystem("memory").pipe_file(f"{remote.url}/pending/plan/000001.npz", b"a shard")
    remote.get_shards(plan, "000001.npz")
    assert (plan / "000001.npz").read_bytes() == b"a shard"
