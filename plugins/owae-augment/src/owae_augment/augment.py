"""The table [augment] of a config: how training examples are changed at random, and whether the stack is trained on their logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from owae import Stack
from owae.errors import ConfigError
from owae.interfaces import DataSource, Phase
from owae_augment.logits import Logits, OnLogits
from owae_augment.source import augmented
from owae_augment.transforms import checked, made


class Augment(Phase):
    """Changes the examples of training batches at random; those of validation, evaluation and figures are never changed.

    Transforms are those of `torchvision.transforms.v2` by name, with the arguments of their constructors, and `Dequantise`. They are
    given one example at a time, mapped onto [0, 1], on the training's device. What they draw is decided by the seed, the epoch and the
    example's index: it is the same for any number of workers and processes, and after a resumption.

    Args:
        transforms: The transforms, in order: tables as `{ name = "RandomCrop", padding = 4 }`, or names alone.
        logit: Train the stack on `logit(a + (1 - 2a) x)`, with x mapped onto [0, 1] and this a. What the stack encodes and decodes
            stays data in their own range.
    """

    name = "augment"
    first = True

    def __init__(
        self,
        *,
        transforms: Annotated[Sequence[Any], AfterValidator(checked)] = (),
        logit: Annotated[float, Field(ge=1e-6, lt=0.5)] | None = None,
    ) -> None:
        self.transforms, self.logit = checked(transforms), logit

    def extend(self, stack: Stack) -> Stack:
        """Returns the stack, of whose levels those with a cost on the data see logits, if asked for.

        Raises:
            ConfigError: A transform does not fit the examples, or the bottom decoder is bounded, which logits are not.
        """
        made(self.transforms, tuple(stack.layers[0].in_shape))
        if self.logit is None:
            return stack
        bottom = stack.layers[0]
        if bottom.output_range is not None:
            raise ConfigError(
                f"logit: the bottom decoder's mean lies in {list(bottom.output_range)}, and logits are not bounded; "
                'output = "linear" in its layer would work'
            )
        layer = Logits(bottom, self.logit)
        levels: Any = stack.levels
        for number, level in enumerate(levels):
            if number == 0 or level.space == "data":
                level.cost = OnLogits(level.cost, layer)
        levels[0].layer = layer
        return stack

    def examples(self, data: DataSource) -> DataSource:
        return augmented(data, self.transforms) if self.transforms else data

    def prepare(self, stack: Stack, data: DataSource) -> None:
        """Tells the bottom layer the range of the data, where it maps them to logits."""
        layer: Any = stack.layers[0]
        while not isinstance(layer, Logits):
            if not hasattr(layer, "layer"):
                return
            layer = layer.layer
        layer.set_range(data.value_range)
