"""`SelfTrainingEstimator`: the rounds behind scikit-learn's interface.

>>> from semi.estimator import SelfTrainingEstimator
>>> model = SelfTrainingEstimator(random_state=0).fit(X, y)  # y == -1 where unlabelled
>>> GridSearchCV(model, grid, scoring=labeled_scorer("f1_macro"))  # of semi.estimator_labels
>>> model.predict_proba(X_new), model.transduction_, model.termination_condition_

Letters: N rows, D columns, C classes.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from models.fusion import ContrastConfig, FusionConfig
from pseudo_label import SelectionConfig

from .config.learning import LearningConfig
from .config.recipes import AUTO
from .config.training import RoundsConfig, TrainConfig, VoteConfig
from .data.draws import LabelledRows
from .data.folds import assign_folds
from .estimator_columns import ColumnScaling, grouped, plain, validated
from .estimator_labels import UNLABELED, is_labeled, labeled_rows, without_na
from .self_training.model_selection import widest
from .self_training.rounds import Outcome, run_rounds
from .self_training.view_selection import select_views
from .training.dataset import Dataset
from .training.ensemble import Ensemble
from .training.students import STUDENTS
from .training.teacher import answer
from .training.views import joined


class SelfTrainingEstimator(ClassifierMixin, BaseEstimator):
    """Gated self-training on a table of numbers; `y == -1` marks unlabelled rows.

    One class cannot be learned, so -1 beside a single other number is a label: the -1/+1 coding.

    A round is kept only if labelled rows, judged by models that did not see them, do not object;
    otherwise the supervised model ships. Probabilities are calibrated on the same rows.

    Args:
        rule: selection rule, a key of `pseudo_label.RULES`.
        model: discriminant or logistic (linear, solved at once, a hundred times faster), a
            stepped kind: contrastive, concat, gated ... (models.fusion.config.KINDS), or auto:
            discriminant, which starts with logistic regression or linear discriminants where
            these stand clearly above it on labelled rows; they also say which of several `views`
            are heard. Other students and numbers of components are for a search to compare, such
            as GridSearchCV: on eight tables it gained 0.2 points (SE 0.3) for three times the cost.
        coverage: share of the unlabelled rows asked for in rounds 1, 2, ...; the last repeats.
        max_rounds: rounds after the supervised start; 0 = supervised training only.
        precision_target: take only what labelled rows certify to be this precise; None = no cap.
        folds: out-of-fold parts of the labelled rows; fewer where there are fewer rows.
        members: models of each fold that differ in their random start.
        components: principal components of each view that the linear models see.
        steps: optimiser steps of a round (stepped models).
        hidden: width of the model (stepped models).
        lr: peak learning rate of AdamW (stepped models).
        contrast_steps: steps of label-free contrastive training beforehand; 0 = no contrast at all
            (model contrastive).
        views: widths of consecutive groups of columns that are views of the same row, such as
            {"speech": 512, "text": 384}; None = one view.
        standardize: scale every column to mean 0 and deviation 1 over all rows given to `fit`.
        metric: what labelled rows are judged by: macro_f1, waf, uar or accuracy.
        accept_se: a round may fall this many standard errors below the best and still go on.
        device: cpu, cuda or cuda:<number>.
        random_state: seed; None = another one at every fit.

    Attributes:
        classes_: (C,) the labels, sorted.
        transduction_: (N,) given labels and the pseudo-labels of the round that ships; -1 = none.
        labeled_iter_: (N,) 0 = given, t = pseudo-labelled since accepted round t, -1 = never.
        termination_condition_: max_rounds, no_change, converged, all_labeled or gate.
        model_: the kind of model that was fitted, and on how many components.
        n_iter_: rounds tried, rolled-back ones included.
        best_iter_: round whose model ships; 0 = the supervised start.
        scores_: out-of-fold metric on labelled rows of every round, the start first.
        n_features_in_: number of columns.
    """

    def __init__(
        self,
        rule="soft_allocation",
        *,
        model="auto",
        coverage=(0.3, 0.45, 0.6),
        max_rounds=8,
        precision_target=None,
        folds=5,
        members=1,
        components=50,
        steps=200,
        hidden=64,
        lr=2e-3,
        contrast_steps=0,
        views=None,
        standardize=True,
        metric="macro_f1",
        accept_se=1.0,
        device="cpu",
        random_state=None,
    ):
        self.rule = rule
        self.model = model
        self.coverage = coverage
        self.max_rounds = max_rounds
        self.precision_target = precision_target
        self.folds = folds
        self.members = members
        self.components = components
        self.steps = steps
        self.hidden = hidden
        self.lr = lr
        self.contrast_steps = contrast_steps
        self.views = views
        self.standardize = standardize
        self.metric = metric
        self.accept_se = accept_se
        self.device = device
        self.random_state = random_state

    def fit(self, X, y, groups=None, **others):
        """Trains on labelled and unlabelled rows; returns self.

        Args:
            X: (N, D) numbers: array, data frame or tensor.
            y: (N,) labels, -1 where unlabelled; among words, -1 as a text is the same.
            groups: (N,) speakers or the like; rows of one never stand on two sides of a fold.
            others: refused, sample_weight among them.
        """
        if others:
            raise TypeError(
                f"SelfTrainingEstimator.fit takes X, y and groups, not {', '.join(others)}; every "
                "labelled row counts alike. To weigh rows, repeat them, and give copies one group"
            )
        X, y = validated(self, plain(X), without_na(plain(y)), reset=True)
        labeled = labeled_rows(y)
        check_classification_targets(y[labeled])
        self.classes_, code = np.unique(y[labeled], return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "training needs labelled rows of two classes or more, y has 1 class: "
                f"{self.classes_[0]}"
            )
        config = self._learning()
        label = np.full(len(y), UNLABELED)
        label[labeled] = code
        components = None
        if not STUDENTS[config.model.kind].by_steps:
            components = widest(config, int(labeled.sum()))
        self._columns = ColumnScaling.fit(X, self.views, self.standardize, components, self.device)
        dataset = self._dataset(X, label, labeled, grouped(groups, len(y)), config)
        seen = select_views(dataset, config)
        dataset, self._views = seen.dataset, seen.views
        outcome = run_rounds(dataset, seen.config)
        self._keep(outcome, dataset, y)
        self.model_ = self._ensemble.config.kind
        if not STUDENTS[self.model_].by_steps:
            width = min(self._ensemble.config.components, max(self._columns.widths.values()))
            self.model_ += f" on {width} components"
        return self

    def predict_proba(self, X):
        """Returns calibrated probabilities (N, C), columns as in `classes_`."""
        check_is_fitted(self)
        X, _ = validated(self, plain(X), None, reset=False)
        # in float64: a row's answer must not hang on its batch mates
        values = self._columns.values(X, torch.float64, self.device)
        values = values if self._views is None else joined(values, self._views)
        present = torch.ones(len(X), len(values), dtype=torch.bool, device=self.device)
        prediction = answer(_exact(self._ensemble), self._voter, values, present, self._chains)
        probs = prediction.probs.double().cpu().numpy()
        return probs / probs.sum(1, keepdims=True)

    def predict(self, X):
        """Returns the likeliest label of every row (N,)."""
        probs = self.predict_proba(X)
        return self.classes_[probs.argmax(1)]

    def score(self, X, y, sample_weight=None):
        """Returns the accuracy on the labelled rows; rows whose y is -1 are left out.

        Searches and cross-validation on partly labelled data are so scored on labels alone. Where
        -1 is a class that `fit` learned, it is a label here too.
        """
        check_is_fitted(self)
        predicted, y = self.predict(X), column_or_1d(without_na(plain(y)))
        check_consistent_length(predicted, y)
        known = is_labeled(y, self.classes_)
        if not known.any():
            raise ValueError("y has no labelled row to score: every entry is -1")
        if sample_weight is not None:
            sample_weight = np.asarray(plain(sample_weight))[known]
        return float(accuracy_score(y[known], predicted[known], sample_weight=sample_weight))

    def _learning(self) -> LearningConfig:
        """Returns the settings of the rounds; a value out of range is named."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        contrast = ContrastConfig(pretrain_steps=self.contrast_steps)
        if not self.contrast_steps:
            contrast = ContrastConfig(weight=0.0, weight_end=0.0, pretrain_steps=0)
        coverage = [float(c) for c in np.atleast_1d(self.coverage)]
        kind = "discriminant" if self.model == "auto" else self.model
        linear = not STUDENTS[kind].by_steps
        if self.contrast_steps and self.model != "contrastive":
            raise ValueError(f"contrast_steps needs model='contrastive', got model={self.model!r}")
        select = SelectionConfig(
            rule=self.rule, coverage=coverage, precision_target=self.precision_target
        )
        if linear:
            select.soft_allocation.temperature = AUTO["select.soft_allocation.temperature"]
            select.temporal, select.prior = AUTO["select.temporal"], AUTO["select.prior"]
        return LearningConfig(
            seed=seed,
            recipe="auto" if self.model == "auto" else "none",
            model=FusionConfig(
                kind=kind,
                hidden=self.hidden,
                projection=max(1, self.hidden // 2),
                components=self.components,
            ),
            contrast=contrast,
            train=TrainConfig(folds=self.folds, members=self.members, steps=self.steps, lr=self.lr),
            vote=VoteConfig(calibration=AUTO["vote.calibration"] if linear else "auto"),
            select=select,
            rounds=RoundsConfig(
                max_rounds=self.max_rounds,
                metric=self.metric,
                floor=self.model == "auto",
                accept_se=self.accept_se,
                min_change=AUTO["rounds.min_change"] if linear else 0.02,
            ),
        )

    def _dataset(self, X, label, labeled, group, config) -> Dataset:
        gold, pool = np.flatnonzero(labeled), np.flatnonzero(~labeled)
        rows = LabelledRows(np.arange(len(X)).astype(str), label, group).at(gold)
        fold, _ = assign_folds(rows, config.train.folds, config.seed, "group")
        target = torch.zeros(len(X), len(self.classes_))
        target[gold, label[gold]] = 1.0
        where = self.device
        values = self._columns.values(X, torch.float32, where)
        none = torch.zeros(0, dtype=torch.int64, device=where)
        return Dataset(
            ids=np.array([str(i) for i in range(len(X))]),
            values=values,
            present=torch.ones(len(X), len(values), dtype=torch.bool, device=where),
            target=target.to(where),
            label=torch.from_numpy(label).to(where),
            gold=torch.from_numpy(gold).to(where),
            pool=torch.from_numpy(pool).to(where),
            dev=none,
            test=none,
            fold=torch.from_numpy(fold).to(where),
            group=group,
            classes=[str(c) for c in self.classes_],
        )

    def _keep(self, outcome: Outcome, dataset: Dataset, y: np.ndarray) -> None:
        """Keeps the model that ships and the account of the rounds."""
        final = outcome.final
        if final.ensemble is None:
            raise RuntimeError("the round that ships has no model")
        self._ensemble, self._voter = final.ensemble, final.outputs.voter
        self._chains = dataset.folds + 1
        self.termination_condition_ = outcome.stopped
        self.n_iter_, self.best_iter_ = len(outcome.states) - 1, final.number
        self.scores_ = np.array([state.metric for state in outcome.states])
        self.transduction_ = y.copy()
        self.labeled_iter_ = np.full(len(y), UNLABELED)
        self.labeled_iter_[dataset.gold.cpu().numpy()] = 0
        if final.pseudo_labels is None:
            return
        pool = dataset.pool.cpu().numpy()
        chosen = final.pseudo_labels.chosen[-1].cpu().numpy()
        label = final.pseudo_labels.label[-1].cpu().numpy()
        self.transduction_[pool[chosen]] = self.classes_[label[chosen]]
        first = np.full(len(pool), UNLABELED)
        for state in outcome.states[1 : final.number + 1]:
            if state.accepted and state.pseudo_labels is not None:
                taken = state.pseudo_labels.chosen[-1].cpu().numpy()
                first = np.where(taken & (first < 0), state.number, first)
        self.labeled_iter_[pool[chosen]] = first[chosen]


def _exact(ensemble: Ensemble) -> Ensemble:
    """Returns the ensemble in float64, where a row's answer does not hang on its batch mates."""
    params = {k: v.double() for k, v in ensemble.params.items()}
    buffers = {k: v.double() if v.is_floating_point() else v for k, v in ensemble.buffers.items()}
    return Ensemble(ensemble.config, ensemble.dims, ensemble.classes, params, buffers)
