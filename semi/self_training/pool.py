"""What a selection rule is shown: the pool as one chain's teacher sees it, and gold beside it.

Letters: G chains (last one holds nothing out), E members of a chain, H heads, P pool rows, n gold
rows, C classes, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pseudo_label import SelectionConfig
from pseudo_label.selection import Gold, Pool

from ..config.learning import LearningConfig
from ..config.training import TrainConfig
from ..features.principal import principal
from ..training.dataset import MANY_ROWS, Dataset
from ..training.ensemble import Ensemble
from ..training.projection import averaged
from ..training.voter import Voter
from .pool_answers import narrowest, pool_logits
from .state import RoundState

WITH_FEATURES = ("label_propagation",)  # rules that compare rows with each other
WITH_MEMBERS = ("ups",)  # rules that look at the spread of the members
AT_ONCE = 65_536  # rows that are brought into it at once
GRAPH_DIMS = 128  # wider features are cut to this many principal components for the graph


class Pools:
    """The pool of a round as each chain's teacher sees it; no gold row it holds out is in it."""

    def __init__(
        self, dataset: Dataset, state: RoundState, config: LearningConfig, rate: float, number: int
    ) -> None:
        """Looks up what the chains have in common.

        Args:
            dataset: the data.
            state: the last accepted round; its models, where a rule asks each of them.
            config: sections select and train.
            rate: coverage asked of the round.
            number: number of the round to come.
        """
        self.dataset, self.state, self.config = dataset, state, config
        self.rate, self.number = rate, number
        self.logits = pool_logits(dataset, state)  # (G, H, P, C)
        self.features = graph_features(dataset, config.select)
        self.assumed = assumed_shares(dataset, config.train)

    def of(self, chain: int) -> Pool:
        """Returns the pool as the teacher of `chain` sees it."""
        dataset, outputs, before = self.dataset, self.state.outputs, self.state.pseudo_labels
        rows, features = dataset.pool, self.features
        by_head = outputs.voter.by_head(self.logits[chain])  # (H, P, C)
        views = len(dataset.dims)
        many = views > 1 and len(by_head) > views  # the last heads are those of the modalities
        here, outside = dataset.present[rows], dataset.outside()
        probs = outputs.voter.vote(by_head, here)
        if dataset.committee is not None and self.number == 1:
            probs = dataset.committee.over(probs, rows, chain)
        return Pool(
            probs=probs,
            prior=dataset.prior(),
            assumed=self.assumed,
            tie=dataset.tie(),
            rate=self.rate,
            round=self.number,
            classes=dataset.classes,
            by_modality=by_head[-views:] if many else None,
            present=here if many else None,
            members=self._members(chain),
            external=None if outside is None else outside.of(rows, chain),
            gold=self._gold(chain, views if many else 0),
            features=None if features is None else features[rows],
            group=dataset.group_code(rows),
            state=before.state[chain] if before else {},
        )

    def _gold(self, chain: int, views: int) -> Gold:
        """Returns the gold rows that `chain` may be judged on: not those it holds out."""
        dataset, outputs, features = self.dataset, self.state.outputs, self.features
        kept, outside = dataset.fold != chain, dataset.outside()
        rows = dataset.gold[kept]
        return Gold(
            probs=outputs.oof[kept],
            label=dataset.label[rows],
            by_modality=outputs.oof_heads[-views:, kept] if views else None,
            features=None if features is None else features[rows],
            group=dataset.group_code(rows),
            external=None if outside is None else outside.gold[chain][:, kept],
        )

    def _members(self, chain: int) -> Tensor | None:
        """Returns what each member says (E, P, C), where the rule asks them."""
        if not needs_members(self.config.select) or self.state.ensemble is None:
            return None
        voter = self.state.outputs.voter
        return member_probs(self.dataset, self.state.ensemble, voter, chain)


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
    values, mine = narrowest(dataset, mine)
    logits = mine.predict_logits({m: v[rows] for m, v in values.items()}, here)
    heads = torch.stack([logits.heads()[h].log_softmax(-1) for h in voter.heads])  # (H, E, P, C)
    return torch.stack([voter.probabilities(heads[:, e], here) for e in range(size)])


def graph_features(dataset: Dataset, config: SelectionConfig) -> Tensor | None:
    """Returns (N, D) features for rules that compare rows, or None where the rule does not."""
    if config.rule not in WITH_FEATURES:
        return None
    return joined_features(dataset, torch.arange(len(dataset.present), device=dataset.device))


def joined_features(dataset: Dataset, rows: Tensor) -> Tensor:
    """Returns (r, D) features by which rows (r,) are compared with each other.

    Every modality has the same say, whatever its width; beyond GRAPH_DIMS columns the principal
    components of training rows stand for them, of many those of the smallest hashes.
    """

    def joined(some: Tensor) -> Tensor:
        views = [averaged(v[some]) for v in dataset.values.values()]
        return torch.cat([v / max(v.shape[1], 1) ** 0.5 for v in views], 1)

    width = sum(dataset.dims.values())
    if width <= GRAPH_DIMS:
        return joined(rows)
    train = dataset.some(torch.cat([dataset.gold, dataset.pool]), MANY_ROWS)
    axes = principal(joined(train), GRAPH_DIMS)[0].to(dataset.device)
    found = axes.new_empty(len(rows), axes.shape[1])
    for start in range(0, len(rows), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        found[part] = joined(rows[part]) @ axes
    return found
