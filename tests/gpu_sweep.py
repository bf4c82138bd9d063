"""Everything that has a GPU's way, on the pretend GPU: `make gpu-sweep`, some minutes of one core.

    python tests/gpu_sweep.py [encoders | texts | fits | rules ...]

Every encoder in every layout, pooling and precision, every pruning method and schedule, every
architecture of texts, every fusion with every loss, every rule on several pools. Prints launches
and waits of each case; ends with 1 where a case has other numbers than the CPU, mixes devices or
waits more often than it may.
The tests (test_pretend_gpu_*.py) take a part of this.
"""

import dataclasses
import itertools
import sys
import tempfile
import time
from pathlib import Path

import torch
from moved import moved
from pretend_gpu import pretend_gpu
from selection_pools import make_pool
from test_pretend_gpu_encoders import encoder
from test_pretend_gpu_training import with_pseudo
from test_text_encoder import KINDS as TEXT_MODELS
from test_text_encoder import TEXTS, folder
from tiny_dataset import tiny_config, tiny_dataset
from tiny_speech import NAMES, tiny, waves

from models.encoders import PruningConfig, TextConfig, build_text_encoder
from models.encoders.config import TEXT_POOLING
from models.encoders.merging import METHODS
from models.encoders.pruning import SCHEDULES, SCORES, supports_pruning
from models.fusion import ContrastConfig, FusionConfig
from models.fusion.config import KINDS
from noise import NoiseConfig
from pseudo_label import RULES, SelectionConfig, select
from semi.training.fit import fit
from semi.training.initialisation import fresh_ensemble
from semi.training.losses import LOSSES
from semi.training.steps import FitConfig

NEAR = {"fp32": 1e-5, "bf16": 0.3, "fp16": 0.1}  # of vectors whose numbers are near 1
STEPS = 34  # long enough for a graph


def encoders():
    """Yields every case of an encoder: title, what the CPU gives, what the GPU gives, waits."""
    sounds = waves(9000, 16000, 5000)
    base = {"layers": [1, 3], "combine": "views"}
    for name in NAMES:
        model = tiny(name)
        cases = [
            (layout, pooling, precision, PruningConfig())
            for layout, pooling, precision in itertools.product(
                ("rows", "padded", "packed"), ("mean", "mean_std", "frames"), NEAR
            )
        ]
        if supports_pruning(model.config.model_type)[0]:
            cases += [
                (
                    layout,
                    "mean",
                    "fp32",
                    PruningConfig(
                        method,
                        0.5,
                        layer=0,
                        k_min=4,
                        schedule=schedule,
                        min_keep_rate=0.4,
                        score=score,
                        proportional_attention=weighs,
                    ),
                )
                for layout, method, schedule, score, weighs in itertools.product(
                    ("padded", "packed"), METHODS, SCHEDULES, SCORES, (True, False)
                )
            ]
        for layout, pooling, precision, pruning in cases:
            given = base | {"layout": layout, "pooling": pooling, "pruning": pruning}
            ask = "encode_frames" if pooling == "frames" else "encode"
            here = encoder(model, "cpu", precision=precision, **given)
            want = getattr(here, ask)(sounds)
            with pretend_gpu() as work:
                there = encoder(model, "cuda", precision=precision, **given)
                there.backbone.to("cuda")
                work.waits.clear()
                work.launches.clear()
                got = getattr(there, ask)(there.staged(sounds))
            title = f"{name} {layout} {pooling} {precision} {pruning.method}"
            allowed = 3 if layout == "rows" else 1
            yield title, want, got, NEAR[precision], work, allowed


def texts():
    """Yields every architecture of texts in every pooling and precision."""
    for kind, pooling, precision in itertools.product(TEXT_MODELS, TEXT_POOLING, NEAR):
        with tempfile.TemporaryDirectory() as path:
            config = TextConfig(model=str(folder(kind, Path(path))), pooling=pooling)
            ask = "encode_frames" if pooling == "frames" else "encode"
            want = getattr(build_text_encoder(config, precision=precision), ask)(TEXTS)
            with pretend_gpu() as work:
                there = build_text_encoder(config, device="cuda", precision=precision)
                there.model.to("cuda")
                work.waits.clear()
                work.launches.clear()
                got = getattr(there, ask)(TEXTS)
        yield f"{kind} {pooling} {precision}", want, got, NEAR[precision], work, 1


def fits():
    """Yields a fit of every fusion with every loss; its waits are those of its beginning."""
    for kind, loss in itertools.product(KINDS, LOSSES):
        config = tiny_config(model=FusionConfig(kind=kind, hidden=8, projection=4, dropout=0.1))
        config.train = dataclasses.replace(
            config.train, steps=STEPS, loss=loss, folds=2, members=1, noisy_share=0.3
        )
        config.noise = NoiseConfig(mixup_alpha=0.4)
        config.contrast = ContrastConfig(intra=0.1, inter=0.1)

        def run(dataset, config=config):
            start = fresh_ensemble(dataset, config, {})
            done = fit(start, with_pseudo(dataset), FitConfig.of(config), seed=1)
            return done.predict_logits(dataset.values, dataset.present).fused.cpu()

        dataset = tiny_dataset(folds=2)
        want = run(dataset)
        with pretend_gpu() as work:
            got = run(moved(dataset, "cuda"))
        yield f"{kind} {loss}", want, got, 2e-2, work, 30


def rules():
    """Yields every rule on pools of several sizes."""
    for rule, (rows, classes) in itertools.product(RULES, [(300, 4), (40, 1), (1, 3), (0, 4)]):
        pool, config = make_pool(rows, classes), SelectionConfig(rule=rule)
        want = select(pool, config)
        with pretend_gpu() as work:
            got = moved(select(moved(pool, "cuda"), config), "cpu")
        yield f"{rule} {rows} x {classes}", want.weight, got.weight, 1e-5, work, 400


PARTS = {"encoders": encoders, "texts": texts, "fits": fits, "rules": rules}


def main(parts):
    """Prints a line for each case; returns how many are wrong."""
    began, wrong, count = time.process_time(), 0, 0
    chosen = [PARTS[part]() for part in parts or PARTS]
    for title, want, got, near, work, allowed in itertools.chain(*chosen):
        pairs = zip(want, got, strict=True) if isinstance(want, list) else [(want, got)]
        far = max((float((a - b).abs().max()) for a, b in pairs if a.numel()), default=0.0)
        waits = sum(work.waits.values())
        bad = not far <= near or waits > allowed
        wrong, count = wrong + bad, count + 1
        print(f"{title:60s} {far:9.1e} {sum(work.launches.values()):6d} launches {waits:4d} waits",
              "WRONG" if bad else "", flush=True)  # fmt: skip
        if bad:
            print(work.table())
    print(f"{count} cases, {wrong} wrong, {time.process_time() - began:.0f} CPU-seconds")
    return wrong


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(bool(main(sys.argv[1:])))
