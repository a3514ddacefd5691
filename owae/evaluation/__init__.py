"""Measures of a trained stack: errors and accuracies by level, and the noise floor of a divergence.

May import: everything up to training.
Start reading at `scores.py`: `evaluate`.
"""
