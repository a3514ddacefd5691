"""Training: an iterator of steps, and what it is fed with and saved to."""

from owae.training.loop import Fit, Step, choose_device, fit

__all__ = ["Fit", "Step", "choose_device", "fit"]
