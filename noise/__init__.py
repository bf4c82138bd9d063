"""Noise schedules and corruptions of embeddings; imports nothing else of this project."""
