"""A metric of one model on gold rows, or the difference of two, with its interval over groups."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..evaluation.intervals import Interval, intervals
from ..evaluation.multitask import Sums, affect_sums, multi_sums, of_sums
from ..training.dataset import Dataset
from ..training.teacher import Prediction, TeacherOutputs


def measure(dataset: Dataset, name: str, rows: Tensor, answers: list[Prediction]) -> Interval:
    """Returns a metric of one model on R rows, or the difference of two, with its interval."""
    at = rows.cpu().numpy()
    group = dataset.group[at]
    probs = [a.probs.cpu().numpy() for a in answers]
    sums: list[Sums] = []
    if name == "ccc" and dataset.affect is not None:
        truth = dataset.affect[rows].cpu().numpy()
        sums = [affect_sums(a.affect.cpu(), truth) for a in answers if a.affect is not None]
    elif dataset.multi is not None:
        truth = dataset.multi[rows].cpu().numpy()
        sums = [multi_sums(p, truth) for p in probs]
    if sums:
        found = of_sums(sums[0], sums[1] if len(sums) > 1 else None, group)[name]
    else:
        found = intervals(probs, dataset.label[rows].cpu().numpy(), group)[name]
    return replace(found, kind=dataset.group_kind)


def out_of_fold(outputs: TeacherOutputs) -> Prediction:
    """Returns what the chains say of the gold rows that they never saw."""
    affect = None if outputs.affect is None else outputs.affect.oof
    return Prediction(outputs.oof, outputs.oof[None], affect)
