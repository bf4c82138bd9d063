"""Metrics and how they are shown: numbers, figures, TensorBoard, the report."""
