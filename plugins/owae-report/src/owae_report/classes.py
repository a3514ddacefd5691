"""A prior on one class of a run's training data, whatever prior the run was trained with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from owae.data.sources import examples
from owae.errors import DataError, suggestion
from owae.interfaces import DataSource
from owae.model.inference import evaluating

if TYPE_CHECKING:
    from owae.run.opened import Run

KIND = "class-conditional"
MOST = 5000  # examples of a class that are encoded
_CHUNK = 250


def class_prior(run: Run, label: str, level: int | None = None, seed: int = 0) -> tuple[Any, int, int]:
    """Returns a prior on a level with `of_class`, fitted to a class's training examples; the class's number; the level.

    It is the run's own prior, where that is of the kind "class-conditional", else one with that kind's defaults.

    Args:
        run: The run, whose training data are read.
        label: The class, by its number or name.
        level: Counted from 1; the matched one unless given. A level below it tells classes better apart and leaves less to the hierarchy.
        seed: Decides the draws of codes and the fit.

    Raises:
        DataError: The data have no labels, or not this one, or the stack has no such level.
        PluginError: owae-priors is not installed.
    """
    source, stack = run.source("train"), run.model
    level = stack.matched_level if level is None else level
    if not 1 <= level <= stack.matched_level:
        raise DataError(f"level is {level}; of this stack, 1 to {stack.matched_level} would work")
    number = class_number(source, label)
    labels = source.labels
    assert labels is not None
    rows = (labels == number).nonzero()[:, 0]
    rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), MOST)).round().long()]
    prior: Any = stack.prior
    if getattr(prior, "name", None) != KIND or level < stack.depth:
        prior = run.registry.create("prior", KIND, tuple(stack.layers[level - 1].latent_shape)).to(stack.prior.anchor)
    with evaluating(stack, seed) as device:
        chunks = rows.split(_CHUNK)
        codes = [stack.encode(examples(source, chunk, device), sample=True)[level - 1] for chunk in chunks]
    prior.fit(torch.cat(codes), labels[rows], seed=seed)
    return prior, number, level


def class_number(source: DataSource, label: str) -> int:
    """Returns the number of a class that is called by its number or name.

    Raises:
        DataError: There are no labels, or not this one.
    """
    if source.labels is None or not (source.labels >= 0).any():
        raise DataError("the data have no labels, so there is no class to draw samples of; --label left out draws of all")
    present = source.labels[source.labels >= 0].unique().tolist()
    names = source.class_names
    by_name = {str(number) if names is None else names[number]: number for number in present}
    if label in by_name:
        return by_name[label]
    if label.isdecimal() and int(label) in present:
        return int(label)
    raise DataError(f"no training example is of class '{label}'; {suggestion(label, by_name)}")


def safe_name(label: str) -> str:
    """Returns a label as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", label).strip("-.") or "class"
