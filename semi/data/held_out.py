"""Which groups are held out as test: of many draws one of the most class-even."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .draws import GoldRows, hashed, shuffled

if TYPE_CHECKING:
    import numpy as np

DRAWS = 2000  # orders of the groups that are looked at
FEWEST = 16  # of them however many groups there are: many groups are even anyhow
CELLS = 1_000_000  # draws x groups
ALIKE = 0.01  # draws whose unevenness differs by less are taken for equally even


def choose_groups(rows: GoldRows, classes: int, fraction: float, seed: int) -> set[str]:
    """Returns the groups to hold out: about `fraction` of the rows of every class.

    Groups are taken in an order drawn by seed as long as each brings the sum nearer to what is
    wanted. Of DRAWS such orders those count that leave most classes in training, then in test; of
    these the ones whose unevenness (see `unevenness`) is within ALIKE of the least; of these the
    first. So another seed chooses others only among draws that are as even. Empty with less than
    two groups.
    """
    import numpy as np

    names, index = np.unique(rows.group.astype(str), return_inverse=True)
    if len(names) < 2:
        return set()
    if len(names) == len(rows):
        label = rows.label[np.argsort(index)]
        return {str(names[i]) for i in _each_its_own(label, names, fraction, seed)}
    counts = np.zeros((len(names), classes))  # (G, C) gold rows
    np.add.at(counts, (index, rows.label), 1)
    taken = draws(names, counts.sum(1), fraction * len(rows), seed)  # (T, G)
    held, total = taken @ counts, counts.sum(0)  # (T, C), (C,)
    lacking = (total - held < np.minimum(total, 1)).sum(1) * (classes + 1) + (
        (held == 0) & (total > 0)
    ).sum(1)
    uneven = np.where(lacking == lacking.min(), unevenness(held, total, fraction), np.inf)
    first = int(np.argmax(uneven <= uneven.min() + ALIKE))
    return {str(name) for name in names[taken[first]]}


def unevenness(held: np.ndarray, total: np.ndarray, fraction: float) -> np.ndarray:
    """Returns how far (T,) the held share of each class is from `fraction`: root mean square.

    Args:
        held: (T, C) rows of each class that T draws hold out.
        total: (C,) rows of each class; classes without any do not count.
        fraction: the share that is wanted.
    """
    import numpy as np

    known = total > 0
    off = held[:, known] / total[known] - fraction
    return np.sqrt((off**2).mean(1))


def draws(names: np.ndarray, sizes: np.ndarray, wanted: float, seed: int) -> np.ndarray:
    """Returns T sets of groups (T, G) bool whose sizes come near `wanted`: one at least, never all.

    Draw t takes the groups (G,) by a hash of seed, t and name, so a group that is added moves few.
    """
    import numpy as np

    number = max(FEWEST, min(DRAWS, CELLS // len(names)))
    salt = hashed(range(number), seed, "test draw")[:, None]
    order = np.argsort(_mixed(hashed(names.tolist(), 0, "group") ^ salt), axis=1, kind="stable")
    taken = np.zeros((number, len(names)), dtype=bool)
    every, held = np.arange(number), np.zeros(number)
    for group in order.T:  # (T,)
        size = sizes[group]
        nearer = np.abs(held + size - wanted) < np.abs(held - wanted)
        taken[every, group] = nearer
        held += size * nearer
    none, full = ~taken.any(1), taken.all(1)
    taken[none, order[none, 0]] = True  # every group is larger than twice what is wanted
    taken[full, order[full, -1]] = False
    return taken


def _mixed(bits: np.ndarray) -> np.ndarray:
    """Returns the finalizer of SplitMix64 of each number: unrelated for numbers that are alike."""
    import numpy as np

    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _each_its_own(label: np.ndarray, names: np.ndarray, fraction: float, seed: int) -> list[int]:
    """Returns the places of groups of one row each, as many of every class as `fraction` says."""
    import numpy as np

    order = shuffled(names, seed, "test row")
    chosen: list[int] = []
    for c in np.unique(label):
        mine = order[label[order] == c]
        wanted = max(1, int(fraction * len(mine) + 0.5))
        chosen += mine[: min(wanted, len(mine) - 1)].tolist()
    return chosen or order[:1].tolist()
