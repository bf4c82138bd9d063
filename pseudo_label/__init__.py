"""Selection rules, calibration and voting over probabilities; imports nothing else of this project."""
