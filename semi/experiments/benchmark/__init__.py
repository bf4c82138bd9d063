"""Every rule on every corpus, budget and draw, against supervised training."""
