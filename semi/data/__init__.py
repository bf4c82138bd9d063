"""Utterances in: manifest, audio, splits and the leak report."""
