"""From tensors to trained members."""
