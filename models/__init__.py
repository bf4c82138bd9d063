"""Torch modules and pure loss functions; imports nothing else of this project."""
