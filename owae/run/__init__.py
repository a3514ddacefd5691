"""Run folders: training from a config with logs and checkpoints, resuming, and opening what was trained.

May import: everything up to config.
Start reading at `train.py`, which writes a run; then `opened.py`, which reads one.
"""
