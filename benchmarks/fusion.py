"""One epoch of each fusion model beside its plain statement in PyTorch, alone and 15 at once.

usage: python benchmarks/fusion.py [--rows 1024] [--dims 395,512] [--batch 64] [--hidden 128]
                                   [--members 15] [--repeats 3] [-o OUT.md]

`PLAIN` states each model as one would write it down from its paper: a loop over modalities, one
line a step. It reads the same parameters, so that both are checked to give the same logits before
anything is timed. Then, by turns, in CPU-seconds (medians):

  plain    the statement, one model, AdamW
  ours     the module of models.fusion, one model, the same loop
  at once  the module, all members stacked and run by vmap, the same batches; beside as many plain
           epochs one after another

Made-up features of real widths: this measures speed, never quality. cross_attention has 16 frames.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from models.fusion import FusionConfig, build_fusion
from models.fusion.attention_layers import positions
from models.fusion.base import input_norm
from models.fusion.config import KINDS
from semi.training.ensemble import Ensemble

CLASSES, FRAMES, HEAD_WEIGHT = 6, 16, 0.3
Plain = Callable[[Any, list[Tensor]], Tensor]


def embed(m: Any, x: list[Tensor]) -> list[Tensor]:
    """Returns the embedding of each modality, all of which are present."""
    return [m.drop(F.gelu(m.encoders.first[i](input_norm(v)))) for i, v in enumerate(x)]


def each(layer: Any, h: list[Tensor]) -> list[Tensor]:
    """Returns a linear layer of its own for each modality."""
    return [v @ layer.weight[i] + layer.bias[i] for i, v in enumerate(h)]


def gate(m: Any, x: list[Tensor]) -> list[Tensor]:
    """Returns every vector scaled dimension by dimension, given all of them."""
    narrow = F.relu(m.gate.down(torch.cat(x, -1))).chunk(len(x), -1)
    return [v * torch.sigmoid(g) for v, g in zip(x, each(m.gate.up, list(narrow)), strict=True)]


def mixed(m: Any, h: list[Tensor]) -> Tensor:
    """Returns one hidden layer over the concatenation."""
    return m.drop(F.gelu(m.mix(torch.cat(h, -1))))


def attend(block: Any, x: Tensor, source: Tensor) -> Tensor:
    """Returns a pre-norm transformer block whose keys and values come from `source`."""
    heads = block.heads

    def split(t: Tensor) -> Tensor:
        return t.unflatten(-1, (heads, -1)).transpose(1, 2)

    key, value = block.key_value(block.norm_kv(source)).chunk(2, -1)
    seen = F.scaled_dot_product_attention(split(block.query(block.norm_q(x))), split(key),
                                          split(value))  # fmt: skip
    x = x + F.dropout(block.out(seen.transpose(1, 2).flatten(2)), block.dropout, block.training)
    inner = block.down(F.gelu(block.up(block.norm(x))))
    return x + F.dropout(inner, block.dropout, block.training)


def split_vectors(m: Any, h: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Returns private and shared vectors."""
    x = [F.layer_norm(v, v.shape[-1:]) for v in h]
    return [torch.tanh(p) for p in each(m.private, x)], [torch.tanh(m.shared(v)) for v in x]


def low_rank(m: Any, h: list[Tensor]) -> Tensor:
    """LMF."""
    product = torch.stack(each(m.factor, h)).prod(0).unflatten(-1, (m.config.rank, -1))
    fused = (product * m.rank_weight).sum(-2)
    return m.drop(F.layer_norm(fused, fused.shape[-1:]))


def tensor(m: Any, h: list[Tensor]) -> Tensor:
    """TFN."""
    z = [F.pad(torch.tanh(v), (0, 1), value=1.0) for v in each(m.narrow, h)]
    product = z[0]
    for other in z[1:]:
        product = torch.einsum("bi,bj->bij", product, other).flatten(1)
    return m.drop(F.gelu(m.mix(product)))


def private_shared(m: Any, h: list[Tensor]) -> Tensor:
    """LMR."""
    private, shared = split_vectors(m, h)
    both = [torch.cat(pair, -1) for pair in zip(private, shared, strict=True)]
    return mixed(m, gate(m, both))


def misa(m: Any, h: list[Tensor]) -> Tensor:
    """MISA."""
    private, shared = split_vectors(m, h)
    tokens = torch.stack([*private, *shared], 1)
    for block in m.blocks:
        tokens = attend(block, tokens, tokens)
    return m.drop(F.gelu(m.mix(tokens.flatten(1))))


def attention(m: Any, h: list[Tensor]) -> Tensor:
    """A weighted mean of the modalities."""
    share = m.score(F.gelu(m.look(torch.cat(h, -1)))).softmax(-1)
    return (share[..., None] * torch.stack(h, 1)).sum(1)


def topn(m: Any, h: list[Tensor]) -> Tensor:
    """A weighted mean of the best few."""
    score = torch.cat(each(m.score, [torch.tanh(v) for v in h]), -1)
    least = score.topk(min(m.config.top, len(h)), -1).values[:, -1:]
    share = score.masked_fill(score < least, -torch.inf).softmax(-1)
    return m.drop(F.gelu(m.mix((share[..., None] * torch.stack(h, 1)).sum(1))))


def mixer(m: Any, h: list[Tensor]) -> Tensor:
    """MLP-Mixer."""
    x = torch.stack(h, 1)
    for layer in m.mixers:
        x = x + layer.tokens(layer.norm_1(x).transpose(1, 2)).transpose(1, 2)
        inner = F.dropout(F.gelu(layer.up(layer.norm_2(x))), layer.dropout, layer.training)
        x = x + layer.down(inner)
    return F.layer_norm(x.mean(1), x.shape[-1:])


def cross(m: Any, x: list[Tensor]) -> Tensor:
    """MulT over frames (B, T, D)."""
    tokens = [h + positions(h.shape[1], h.shape[2], h) for h in embed(m, x)]
    seen, layers = [], m.config.layers
    for i, own in enumerate(tokens):
        source = torch.cat([t for k, t in enumerate(tokens) if k != i], 1)
        for layer in range(layers):
            own = attend(m.blocks[i * layers + layer], own, source)
        seen.append(input_norm(own).mean(1))
    return m.drop(F.gelu(m.mix(torch.cat(seen, -1))))


# kind -> the fused vector (B, H) from embeddings; cross_attention from the inputs
PLAIN: dict[str, Plain] = {
    "contrastive": mixed,
    "concat": mixed,
    "add": lambda m, h: torch.stack(h).sum(0),
    "gated": lambda m, h: mixed(m, gate(m, h)),
    "attention": attention,
    "low_rank": low_rank,
    "tensor": tensor,
    "private_shared": private_shared,
    "misa": misa,
    "mlp_mixer": mixer,
    "cross_attention": cross,
    "topn_attention": topn,
}


def plain_logits(kind: str, m: Any, x: list[Tensor]) -> list[Tensor]:
    """Returns the logits of the fused head and of each modality's."""
    if kind == "cross_attention":
        h = [(t + positions(t.shape[1], t.shape[2], t)).mean(1) for t in embed(m, x)]
        return [m.head(cross(m, x)), *each(m.modality_heads, h)]
    h = embed(m, x)
    fused = PLAIN[kind](m, h)
    if kind == "contrastive":  # what its pairs are compared by belongs to the model
        _ = [m.project(v) for v in h], each(m.project_rest, h), m.project_fused(fused)
    return [m.head(fused), *each(m.modality_heads, h)]


def our_logits(m: nn.Module, x: list[Tensor], present: Tensor) -> list[Tensor]:
    """Returns the same of the module."""
    names: Any = m.names
    out = m(dict(zip(names, x, strict=True)), present)
    return [out.logits, *out.modality_logits.values()]


def cost(logits: list[Tensor], label: Tensor) -> Tensor:
    """Returns the loss of all heads."""
    each_head = [F.cross_entropy(z, label) for z in logits]
    return each_head[0] + HEAD_WEIGHT * torch.stack(each_head[1:]).sum()


def epoch(step: Callable[[Tensor], Tensor], params: list[Tensor], rows: int, batch: int) -> float:
    """Returns the CPU-seconds of one epoch in random order."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(params, lr=1e-3, fused=True)
    begin = time.process_time()
    for at in order.split(batch):
        loss = step(at)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return time.process_time() - begin


def measure(kind: str, args: argparse.Namespace) -> dict[str, float]:
    """Returns the medians of one kind, and the largest difference of its two statements."""
    draw = torch.Generator().manual_seed(0)
    dims = {f"m{i}": int(d) for i, d in enumerate(args.dims.split(","))}
    frames = (FRAMES,) if kind == "cross_attention" else ()
    data = [torch.randn(args.rows, *frames, d, generator=draw) for d in dims.values()]
    label = torch.randint(CLASSES, (args.rows,), generator=draw)
    present = torch.ones(args.rows, len(dims), dtype=torch.bool)
    config = FusionConfig(kind=kind, hidden=args.hidden, heads=4, top=2)
    torch.manual_seed(0)
    module = build_fusion(config, dims, CLASSES).eval()
    few = [x[:8] for x in data]
    both = zip(plain_logits(kind, module, few), our_logits(module, few, present[:8]), strict=True)
    gap = max(float((a - b).detach().abs().max()) for a, b in both)
    if gap > 1e-4:
        raise SystemExit(f"{kind}: the plain statement differs by {gap:.1e}")
    module.train()
    params = [p for p in module.parameters() if p.requires_grad]

    def plain(at: Tensor) -> Tensor:
        return cost(plain_logits(kind, module, [x[at] for x in data]), label[at])

    def ours(at: Tensor) -> Tensor:
        return cost(our_logits(module, [x[at] for x in data], present[at]), label[at])

    stack = Ensemble.create(config, dims, CLASSES, count=args.members, seed=0)
    stacked = {k: v.clone().requires_grad_() for k, v in stack.params.items()}
    template = stack.template.train()

    def member(p: dict, b: dict, x: list[Tensor], here: Tensor, y: Tensor) -> Tensor:
        out = functional_call(template, (p, b), (dict(zip(dims, x, strict=True)), here))
        return cost([out.logits, *out.modality_logits.values()], y)

    run = vmap(member, in_dims=(0, 0, None, None, None), randomness="different")

    def at_once(at: Tensor) -> Tensor:
        return run(stacked, stack.buffers, [x[at] for x in data], present[at], label[at]).sum()

    programs = {"plain": (plain, params), "ours": (ours, params),
                "at once": (at_once, list(stacked.values()))}  # fmt: skip
    seen: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(args.repeats + 1):
        for name, (step, given) in programs.items():
            spent = epoch(step, given, args.rows, args.batch)
            seen[name] += [spent] * (turn > 0)
    return {"gap": gap, **{name: statistics.median(s) for name, s in seen.items()}}


def main() -> None:
    """Prints the table."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    for name, value in (("rows", 1024), ("batch", 64), ("hidden", 128), ("members", 15),
                        ("repeats", 3)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dims", default="395,512")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        f"One epoch over {args.rows} rows of ({args.dims}) features, batch {args.batch}, hidden "
        f"{args.hidden}, one CPU thread, torch {torch.__version__}. Ratios above 1 are in our "
        f"favour; `at once` is {args.members} members against {args.members} plain epochs.",
        "",
        "| kind | largest difference of the logits | plain, CPU s | ours against plain | "
        "at once against plain |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for kind in KINDS:
        m = measure(kind, args)
        lines.append(
            f"| {kind} | {m['gap']:.0e} | {m['plain']:.2f} | {m['plain'] / m['ours']:.2f}x | "
            f"{args.members * m['plain'] / m['at once']:.1f}x |"
        )
        print(lines[-1], flush=True)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
