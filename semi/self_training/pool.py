"""What a selection rule is shown: the pool as one chain's teacher sees it, and gold beside it.

Letters: G chains (last one holds nothing out), E members of a chain, H heads, P pool rows, n gold
rows, C classes, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pseudo_label import SelectionConfig
from pseudo_label.selection import Gold, Pool

from ..config.training import TrainConfig
from ..features.principal import principal
from ..training.dataset import Dataset
from ..training.ensemble import Ensemble
from ..training.projection import averaged
from ..training.teacher import Voter
from .state import RoundState

WITH_FEATURES = ("label_propagation",)  # rules that compare rows with each other
WITH_MEMBERS = ("ups",)  # rules that look at the spread of the members
GRAPH_DIMS = 128  # wider features are cut to this many principal components for the graph


def pool_of(
    dataset: Dataset,
    state: RoundState,
    chain: int,
    config: SelectionConfig,
    *,
    rate: float,
    number: int,
    features: Tensor | None = None,
    assumed: Tensor | None = None,
) -> Pool:
    """Returns the pool as the teacher of `chain` sees it; no gold row it holds out is in it.

    Args:
        dataset: the data.
        state: the last accepted round; its models, where a rule asks each of them.
        chain: number of the chain.
        config: section `select`.
        rate: coverage asked of the round.
        number: number of the round to come.
        features: (N, D) of all rows; see `graph_features`.
        assumed: (C,) what the models took the class shares to be; see `assumed_shares`.
    """
    outputs, before = state.outputs, state.pseudo_labels
    here = dataset.present[dataset.pool]
    by_head = outputs.voter.by_head(outputs.pool_logits[chain])  # (H, P, C)
    views = len(dataset.dims)
    many = views > 1 and len(by_head) > views  # the last heads are those of the modalities
    kept = dataset.fold != chain  # it must not even be judged on the gold it holds out
    gold_rows = dataset.gold[kept]
    members = None
    if needs_members(config) and state.ensemble is not None:
        members = member_probs(dataset, state.ensemble, outputs.voter, chain)
    return Pool(
        probs=outputs.voter.vote(by_head, here),
        prior=dataset.prior(),
        assumed=assumed,
        tie=dataset.tie(),
        rate=rate,
        round=number,
        classes=dataset.classes,
        by_modality=by_head[-views:] if many else None,
        present=here if many else None,
        members=members,
        external=None if dataset.external is None else dataset.external[:, dataset.pool],
        gold=Gold(
            probs=outputs.oof[kept],
            label=dataset.label[gold_rows],
            by_modality=outputs.oof_heads[-views:, kept] if many else None,
            features=None if features is None else features[gold_rows],
            group=dataset.group_code(gold_rows),
        ),
        features=None if features is None else features[dataset.pool],
        group=dataset.group_code(dataset.pool),
        state=before.state[chain] if before else {},
    )


def assumed_shares(dataset: Dataset, config: TrainConfig) -> Tensor:
    """Returns the class shares (C,) that models of a training that evens classes out assume.

    To estimate the pool's shares from what they say, this is what must be taken out of it: with the
    labelled shares in its place, a class of 5 % of the rows was taken for 17 %.
    """
    power = 0.0 if config.imbalance == "none" else config.imbalance_power
    shares = dataset.prior() ** (1 - power)
    return shares / shares.sum()


def needs_members(config: SelectionConfig) -> bool:
    """Says whether the rule, or the agreement before it, asks every member by itself."""
    voting = config.agreement.mode != "off" or config.rule == "agreement"
    return config.rule in WITH_MEMBERS or (voting and "members" in config.agreement.over)


@torch.no_grad()
def member_probs(dataset: Dataset, ensemble: Ensemble, voter: Voter, chain: int) -> Tensor:
    """Returns (E, P, C): the calibrated vote of each member of one chain on the pool."""
    size = ensemble.count // (dataset.folds + 1)
    mine = ensemble.select(slice(chain * size, (chain + 1) * size))
    rows = dataset.pool
    here = dataset.present[rows]
    values = dataset.values
    if dataset.seen is not None:  # linear models of this dataset need no more
        values, mine = dataset.seen, mine.on_axes()
    logits = mine.predict_logits({m: v[rows] for m, v in values.items()}, here)
    heads = torch.stack([logits.heads()[h].log_softmax(-1) for h in voter.heads])  # (H, E, P, C)
    return torch.stack([voter.vote(voter.by_head(heads[:, e]), here) for e in range(size)])


def graph_features(dataset: Dataset, config: SelectionConfig) -> Tensor | None:
    """Returns (N, D) features for rules that compare rows, or None where the rule does not.

    Every modality has the same say, whatever its width; beyond GRAPH_DIMS columns the principal
    components of training rows stand for them.
    """
    if config.rule not in WITH_FEATURES:
        return None
    views = [averaged(v) for v in dataset.values.values()]
    parts = [v / max(v.shape[1], 1) ** 0.5 for v in views]
    joined = torch.cat(parts, 1)
    if joined.shape[1] <= GRAPH_DIMS:
        return joined
    train = torch.cat([dataset.gold, dataset.pool])
    axes, _ = principal(joined[train], GRAPH_DIMS)
    return joined @ axes.to(joined)
