"""The scalars of a run by name: [(step, value)], as each tracker has them."""

import json
import struct

from event_files import event_values

BLOCK, HEAD = 32768, 7  # of the record files that W&B writes offline: LevelDB's log format


def of_tensorboard(run):
    """Returns those of a run's folder; curves of a round stand under its name."""
    found = {}
    for folder in sorted(p for p in (run / "tb").iterdir() if p.is_dir()):
        curve = "" if folder.name in ("rounds", "hparams") else f"{folder.name}/"
        for step, value in event_values(folder):
            if value.HasField("simple_value"):
                found.setdefault(curve + value.tag, []).append((step, value.simple_value))
    return found


def of_mlflow(client, run):
    """Returns those of an MLflow run."""
    names = client.get_run(run).data.metrics
    return {n: [(m.step, m.value) for m in client.get_metric_history(run, n)] for n in names}


def of_wandb(folder):
    """Returns those of the offline parts of a W&B run."""
    import wandb  # pyright: ignore[reportMissingImports]

    wandb.teardown()  # as the end of a program does: until then its service may still write
    found = {}
    for path in sorted(folder.glob("offline-run-*/run-*.wandb")):
        for record in _records(path.read_bytes()):
            row = {
                "".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
                if len(item.nested_key) < 2  # others tell of a picture, clip or histogram
            }
            for name, value in row.items():
                if isinstance(value, (int, float)) and name[0] != "_":
                    step = row.get("round", row.get(f"{name.partition('/')[0]}/step"))
                    found.setdefault(name, []).append((step, value))
    return {n: v for n, v in found.items() if n != "round" and not n.endswith("/step")}


def _records(data):
    """Yields the records of one file."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportMissingImports]

    at, whole = HEAD, b""  # the file begins with a header of its own
    while at + HEAD <= len(data):
        if BLOCK - at % BLOCK < HEAD:
            at += BLOCK - at % BLOCK
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + HEAD])
        whole += data[at + HEAD : at + HEAD + size]
        at += HEAD + size
        if kind in (1, 4):  # full, or the last part
            yield Record.FromString(whole)
            whole = b""
