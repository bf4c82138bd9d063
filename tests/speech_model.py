"""A model of random parameters that reads real speech and text, saved as a run's model is."""

import torch

from pseudo_label.calibration import fit_calibration
from semi.config.schema import load_config
from semi.data.corpora import bundled_emodb
from semi.features.extract import extract_rows, open_encoders
from semi.features.standardize import Standardizer
from semi.features.store import FeatureStore
from semi.features.table import load_features
from semi.runs.utterances import utterances
from semi.self_training.model_dir import Model, save_model
from semi.training.ensemble import Ensemble
from semi.training.voter import Voter

CLASSES = ["anger", "joy", "sadness"]


def speech_model(folder):
    """Saves the model in `folder`/model and returns the folder."""
    audio = sorted((bundled_emodb().parent / "audio").glob("*.opus"))[:60:10]
    config = load_config(None, ["data.manifest=m.csv", "model.hidden=16"])
    table = utterances(audio, ["so", "ja", None, "na", "o", "a"])
    encoders, store = open_encoders(config), FeatureStore(folder / "store")
    extract_rows(table, encoders, store, progress=False)
    raw = load_features(table, encoders, store)
    standardizer = Standardizer.fit(raw, torch.ones(len(audio)).bool(), config.features, None)
    dims = standardizer.apply(raw, None).dims
    heads = ["fused", *dims]
    logits, label = torch.randn(3, 30, 3, generator=torch.manual_seed(0)), torch.arange(30) % 3
    model = Model(
        config=config,
        classes=CLASSES,
        ensemble=Ensemble.create(config.model, dims, 3, count=6, seed=1),
        voter=Voter(
            heads,
            {h: fit_calibration(logits[i], label) for i, h in enumerate(heads)},
            torch.tensor([0.5, 0.3, 0.2]),
        ),
        chains=3,
        standardizer=standardizer,
        identities={n: e.identity() for n, e in encoders.items()},
        facts={"round": 2},
    )
    save_model(folder / "model", model)
    return folder
