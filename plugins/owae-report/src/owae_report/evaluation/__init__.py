"""Measures of a trained stack on held-out data: errors, accuracies and the divergence by level.

Start reading at `scores.py`: `evaluate`.
"""
