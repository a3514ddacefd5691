"""Observers that log a training beside `metrics.jsonl`: a table always, TensorBoard and Weights & Biases by name in `train.loggers`."""

from __future__ import annotations

import owae
from owae_loggers.table import Csv
from owae_loggers.tensorboard import TensorBoard
from owae_loggers.wandb import Wandb


@owae.hookimpl
def owae_components() -> list[type]:
    return [Csv, TensorBoard, Wandb]
