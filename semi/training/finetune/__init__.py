"""Adapting the encoders themselves to the gold rows."""
