"""Acquisition rules that look at the whole batch: BATCH_RULES maps names to functions.

Each takes `QueryPool`, the number of rows wanted and a generator; it returns a function that,
given the row taken last (None at first), returns the value (P,) >= 0 of every row beside those
taken so far. No memory grows with P^2: rules that compare all rows with each other look at some
(MOST_COMPARED) of them, in the order that seed and ids decide.

Letters: P pool rows, n gold rows, C classes, D features, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from .clusters import k_means, nearest_distance
from .query_pool import QueryPool
from .row_rules import margin
from .strata import by_class, by_speaker

MOST_COMPARED = 8000  # rows that are compared with each other
NEIGHBOURS = 20  # of TypiClust's typicality
MOST_CLUSTERS = 500  # of TypiClust
BETA = 10  # rows of `cluster_margin` for each that is wanted
TRIED = 300  # rows of `output_change`
GOLD_WEIGHT = 5.0  # pool rows that a gold row counts for in `output_change`
PURITY = 0.95  # of ProbCover's balls
SMALLEST_SHARE = (
    1e-3  # of the mean value, in `stratified`: sure rows of a stratum come before other strata
)
FLOOR_OF_VALUE = 1e-6  # where the model is sure of every row, strata alone decide
LATER = 1e-9  # of their value is left to rows whose stratum has had its share

Values = Callable[[int | None], Tensor]
BatchRule = Callable[[QueryPool, int, Generator], Values]


def core_set(pool: QueryPool, count: int, generator: Generator) -> Values:
    """Returns each row's distance to the nearest row that is labelled or taken: greedy k-centre.

    Sener and Savarese 2018, https://arxiv.org/abs/1708.00489.
    """
    x = pool.features
    size, distance = x.square().sum(1), nearest_distance(x, pool.gold_features)

    def values(last: int | None) -> Tensor:
        if last is not None:
            square = size + size[last] - 2 * (x @ x[last])
            torch.minimum(distance, square.clamp(min=0).sqrt(), out=distance)
        return distance

    return values


def cluster_margin(pool: QueryPool, count: int, generator: Generator) -> Values:
    """Returns margin, of rows in the clusters that nothing was taken of yet.

    Zhdanov 2019, https://arxiv.org/abs/1901.05954: of the rows of the greatest margin BETA times as
    many as are wanted are clustered, and one of each cluster is taken.
    """
    value = margin(pool)
    some = value.argsort(descending=True, stable=True)[: BETA * count]
    code = torch.full((len(pool),), -1)
    code[some] = k_means(pool.features[some], count, generator)[0]
    taken = torch.zeros(int(code.max()) + 1)

    def values(last: int | None) -> Tensor:
        if last is not None and code[last] >= 0:
            taken[code[last]] += 1
        again = torch.where(code >= 0, taken[code.clamp(min=0)], torch.inf)
        return (value + 1e-6) / (1 + again) ** 4

    return values


def output_change(pool: QueryPool, count: int, generator: Generator) -> Values:
    """Returns how much the answers to all rows would change if this one were known, expected.

    Expected model output change (Freytag et al. 2014,
    https://doi.org/10.1007/978-3-319-10593-2_37), of one step of EM over Gaussian classes of one
    covariance: a class mean moves by (1 - p) (x - mean) / (rows of the class). Only the rows of
    the greatest margin are tried.
    """
    if pool.multi:
        raise ValueError("output_change is of Gaussian classes, of which a row has one")
    value, x, probs = torch.zeros(len(pool)), pool.features, pool.probs
    rows = margin(pool).argsort(descending=True, stable=True)[:TRIED]
    mass = probs.sum(0) + pool.gold_count * GOLD_WEIGHT  # (C,)
    mean = probs.T @ x / probs.sum(0).clamp(min=1e-6)[:, None]
    scatter = (x.T @ x - (mean * probs.sum(0)[:, None]).T @ mean) / len(x)
    size = scatter.diagonal().mean().clamp(min=1e-6)
    scatter = 0.2 * scatter + 0.8 * size * torch.eye(len(scatter))
    white = torch.linalg.cholesky(torch.linalg.inv(scatter))
    z, centre = x @ white, mean @ white
    for row in rows.tolist():
        p, total = probs[row], 0.0
        for c in p.topk(min(2, len(p))).indices.tolist():
            step = (torch.eye(len(p))[c] - p) * GOLD_WEIGHT / mass  # (C,)
            shift = step[:, None] * (z[row] - centre)  # (C, D)
            # log odds change by z.shift - (|centre + shift|^2 - |centre|^2) / 2
            bias = (centre * shift).sum(1) + 0.5 * shift.square().sum(1)
            moved = (probs.clamp(min=1e-6).log() + (z @ shift.T - bias)).softmax(1)
            total += float(p[c]) * float((moved - probs).abs().sum()) / 2
        value[row] = total
    return lambda last: value


def badge(pool: QueryPool, count: int, generator: Generator) -> Values:
    """Returns values whose largest is one draw of k-means++ over gradient embeddings.

    BADGE, Ash et al. 2020, https://arxiv.org/abs/1906.03671. The embedding of a row is the gradient
    of a linear student's loss at its own answer, (p - onehot(p)) x features: as a product it is
    never written down, so the memory is that of the features. Unlike in the paper the origin is
    among the centres from the start: it is where rows lie that the model has learned.
    """
    answered = pool.probs.argmax(1)
    error = pool.probs.clone()
    if pool.multi:
        error -= (pool.probs > 0.5).to(error)
    else:
        error[torch.arange(len(pool)), answered] -= 1
    x = torch.cat([pool.features, torch.ones(len(pool), 1)], 1)  # with the gradient of the bias
    size = error.square().sum(1) * x.square().sum(1)
    distance = size.clone()

    def values(last: int | None) -> Tensor:
        if last is None:
            return size  # as in the paper, the row of the largest gradient is the first
        product = (error @ error[last]) * (x @ x[last])
        torch.minimum(distance, (size + size[last] - 2 * product).clamp(min=0), out=distance)
        # the largest of d^2 / e, with e exponential, is a draw in proportion to d^2
        return distance / torch.empty_like(distance).exponential_(generator=generator)

    return values


def stratified(pool: QueryPool, count: int, generator: Generator) -> Values:
    """Returns `badge` within strata: every speaker and every class has its share of the batch.

    Proportional allocation (Neyman 1934, https://doi.org/10.2307/2342192). A learner takes class
    shares, and which of its models is best, from gold: what is hard alone misleads it. Where both
    shares cannot be had, that of the speaker comes first. Several labels a row: speakers alone.
    """
    beside = badge(pool, count, generator)
    speakers = by_speaker(pool, count, generator)
    classes = None if pool.multi else by_class(pool, count, generator)

    def values(last: int | None) -> Tensor:
        value = beside(last).double()
        value = value.clamp(min=max(SMALLEST_SHARE * float(value.mean()), FLOOR_OF_VALUE))
        later = torch.zeros(len(pool), dtype=torch.float64)
        for strata, rank in ((speakers, 2), (classes, 1)):
            if strata is not None:
                if last is not None:
                    strata.take(last)
                later += rank * strata.served()
        return value * LATER**later

    return values


def typiclust(pool: QueryPool, count: int, generator: Generator) -> Values:
    """Returns typicality, of rows in the largest of the clusters with the fewest labels.

    TypiClust, Hacohen et al. 2022, https://arxiv.org/abs/2202.02794: as many clusters as there will
    be labels; a row is typical as the inverse of its mean distance to its nearest neighbours.
    """
    seen = min(len(pool), MOST_COMPARED)
    x = torch.cat([pool.features[:seen], pool.gold_features])
    clusters = min(len(pool.gold_features) + count, MOST_CLUSTERS, len(x))
    code, centers = k_means(x, clusters, generator)
    size = torch.bincount(code, minlength=len(centers))
    labelled = torch.bincount(code[seen:], minlength=len(centers))
    code = code[:seen]
    typical = _typicality(pool.features[:seen], code, len(centers))
    small = size < min(5, int(size.max()))  # as in the paper, clusters of a few rows are left out
    free = torch.bincount(code, minlength=len(centers))

    def values(last: int | None) -> Tensor:
        if last is not None and last < seen:
            labelled[code[last]] += 1
            free[code[last]] -= 1
        rank = -labelled.double() - small * 1e6 + size / (size.max() + 1.0)
        rank[free <= 0] = -torch.inf
        # by cluster first, then by typicality: a cluster is left when its turn is over
        place = rank.argsort(stable=True).argsort().double()
        found = torch.zeros(len(pool), dtype=torch.float64)
        found[:seen] = place[code] + typical / (typical.max() + 1e-9) * 0.999
        return found

    return values


def _typicality(x: Tensor, code: Tensor, clusters: int) -> Tensor:
    """Returns the inverse mean distance (P,) of each row to its nearest rows of its cluster."""
    found = torch.zeros(len(x), dtype=torch.float64)
    for k in range(clusters):
        rows = torch.nonzero(code == k)[:, 0]
        if len(rows) < 2:
            continue
        near = torch.cdist(x[rows], x[rows]).topk(min(NEIGHBOURS + 1, len(rows)), largest=False)
        found[rows] = 1 / (near.values[:, 1:].double().mean(1) + 1e-6)
    return found


def probcover(pool: QueryPool, count: int, generator: Generator) -> Values:
    """Returns how many rows a row would newly cover with a ball around it.

    ProbCover, Yehuda et al. 2022, https://arxiv.org/abs/2205.11320. The radius is the largest at
    which PURITY of the balls hold rows of one answer alone.
    """
    seen = min(len(pool), MOST_COMPARED)
    x, answered = pool.features[:seen], pool.probs[:seen].argmax(1)
    radius = _radius(x, answered)
    near = torch.cdist(x, x) <= radius  # (seen, seen)
    if len(pool.gold_features):
        near &= (nearest_distance(x, pool.gold_features) > radius)[None]  # the covered need no more

    def values(last: int | None) -> Tensor:
        if last is not None and last < seen:
            near[:, near[last].clone()] = False
        found = torch.zeros(len(pool))
        found[:seen] = near.sum(1)
        return found

    return values


def _radius(x: Tensor, answered: Tensor) -> Tensor:
    """Returns the largest radius at which PURITY of the balls hold one answer alone."""
    parts = []
    for rows in torch.arange(len(x)).split(1024):
        same = answered[rows, None] == answered[None]
        parts.append(torch.cdist(x[rows], x).masked_fill(same, torch.inf).amin(1))
    other = torch.cat(parts)  # to the nearest row of another answer
    finite = other[other.isfinite()]
    return finite.quantile(1 - PURITY) if len(finite) else torch.tensor(torch.inf)


BATCH_RULES: dict[str, BatchRule] = {
    "core_set": core_set,
    "cluster_margin": cluster_margin,
    "output_change": output_change,
    "badge": badge,
    "stratified": stratified,
    "typiclust": typiclust,
    "probcover": probcover,
}
