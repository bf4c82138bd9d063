"""Fusion models that read sequences of frames."""

import torch
from fusion_models import DIMS, batch, close, every_kind, seeded, small

from models.fusion.base import masked_mean


@every_kind
def test_sequences_are_read_without_their_padding(kind):
    model = small(kind).eval()
    inputs, present = batch()
    frames = {k: torch.randn(9, 6, v.shape[1], generator=seeded(7)) for k, v in inputs.items()}
    length = torch.tensor([1, 2, 3, 4, 5, 6, 6, 2, 1])
    mask = torch.arange(6) < length[:, None]
    masks = dict.fromkeys(frames, mask)
    dirty = {k: torch.where(mask[..., None], v, torch.nan) for k, v in frames.items()}
    longer = {k: torch.cat([v, torch.full_like(v, 7.0)], 1) for k, v in frames.items()}
    more = {k: torch.cat([m, torch.zeros_like(m)], 1) for k, m in masks.items()}
    whole = model(frames, present, masks)
    close(model(dirty, present, masks), whole)
    close(model(longer, present, more), whole)
    for i in (3, 8):
        n = int(length[i])
        alone = model({k: v[i : i + 1, :n] for k, v in frames.items()}, present[i : i + 1])
        close(alone, whole.rows(i, i + 1))


@every_kind
def test_a_vector_is_a_sequence_of_length_one(kind):
    model = small(kind).eval()
    inputs, present = batch()
    close(model({k: v[:, None] for k, v in inputs.items()}, present), model(inputs, present))


def test_cross_attention_reads_the_order_of_frames():
    model = small("cross_attention").eval()
    frames = {k: torch.randn(2, 6, d, generator=seeded(7)) for k, d in DIMS.items()}
    present = torch.ones(2, 3, dtype=torch.bool)
    turned = {k: v.flip(1) for k, v in frames.items()}
    assert not torch.allclose(model(frames, present).logits, model(turned, present).logits)
    first = model({**frames, "text": frames["text"].roll(1, 0)}, present)
    moved = first.logits - model(frames, present).logits
    assert moved.abs().max() > 1e-3  # speech looked at text


def test_cross_attention_without_real_frames_is_a_missing_modality():
    model = small("cross_attention").eval()
    frames = {k: torch.randn(2, 6, d, generator=seeded(7)) for k, d in DIMS.items()}
    present = torch.ones(2, 3, dtype=torch.bool)
    masks = {"text": torch.zeros(2, 6, dtype=torch.bool)}
    absent = torch.tensor([True, False, True]).expand(2, 3)
    close(model(frames, present, masks), model(frames, absent))


def test_masked_mean_averages_real_frames_only():
    x = torch.tensor([[[1.0], [3.0], [torch.nan]], [[5.0], [torch.nan], [torch.nan]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(x, mask).tolist() == [[2.0], [0.0]]
