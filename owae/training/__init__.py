"""Training: an iterator of steps, and what it is fed with and saved to."""

from owae.training.devices import choose_device
from owae.training.distributed import World
from owae.training.launching import launch
from owae.training.loop import Fit, Step, fit

__all__ = ["Fit", "Step", "World", "choose_device", "fit", "launch"]
