"""Semi-supervised self-training of multimodal emotion models."""
