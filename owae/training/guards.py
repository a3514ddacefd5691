"""Undoes what a step that failed has changed, and refuses components that seed torch's generator."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from owae.errors import PluginError
from owae.model.context import Context
from owae.model.stack import Stack
from owae.torch_state import own_randomness

logger = logging.getLogger(__name__)

_NOBODYS = 0x5EED_0F_0AE


class Guard:
    """Keeps copies of what a forward pass changes: the buffers of a stack, such as batch norm's running statistics."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._tried = stack, False
        self._buffers = list(stack.buffers())
        self._kept = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """Copies the buffers before a step, of which `x` is the first batch; before the first step it tries the components."""
        if self._kept:
            torch._foreach_copy_(self._kept, self._buffers)  # pyright: ignore[reportPrivateImportUsage]
        if not self._tried:
            self._tried = True
            self._try(x)
            self.undo()

    def _try(self, x: Tensor) -> None:
        """Runs the objective under a seed that nobody chooses: a component that seeds torch's generator is then refused (`PluginError`)."""
        try:
            with own_randomness(_NOBODYS, self._stack.device):
                self._stack(x, context=Context(check=False))
        except PluginError:
            raise
        except Exception as error:  # the step meets it too, and says where
            logger.debug("the components could not be tried: %s", error)

    @torch.no_grad()
    def undo(self) -> None:
        """Restores the buffers of `begin`."""
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(kept)
