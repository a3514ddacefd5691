"""Run folders: training from a config with logs and checkpoints, resuming, and opening what was trained.

May import: everything up to evaluation.
Start reading at `train.py`: `train` writes a run, `open_run` reads one.
"""
