"""Synchronises batch norm over processes that share a batch: by torch's SyncBatchNorm on CUDA, by ours elsewhere."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from owae.distributions import at_least_float32
from owae.errors import TrainingError
from owae.parallel.gather import gather


def sync_batchnorm(model: nn.Module, device: torch.device, ranks: int) -> None:
    """Lets every batch norm of a model, in place, take its statistics over all processes while it is in training.

    On CUDA a batch norm is replaced by torch's SyncBatchNorm. Elsewhere, and where a subclass has a `forward` of its own, the module
    gets a class derived from its own, in which `super().forward` is synchronised. Parameters, buffers and their names stay. A subclass
    that normalises without `super().forward` is refused with a TrainingError when it is first called in training.
    """
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if not isinstance(module, _BatchNorm) or isinstance(module, nn.SyncBatchNorm | _SyncedBatchNorm):
                continue
            has_own = not _forward_is_torchs(module)
            if device.type == "cuda" and not has_own:
                setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(module))
                continue
            module.__class__ = _synced(type(module), ranks)
            if has_own:
                module.register_forward_hook(_require_synchronised)


def _forward_is_torchs(module: nn.Module) -> bool:
    owner = next(cls for cls in type(module).__mro__ if "forward" in vars(cls))
    return owner.__module__.startswith("torch.nn.")


def _require_synchronised(module: nn.Module, inputs: object, output: object) -> None:
    assert isinstance(module, _SyncedBatchNorm)
    if module.training and not module.called:
        raise TrainingError(
            f"{type(module).__name__.removeprefix('Synced')} is a batch norm whose forward does not call super().forward, so its "
            "statistics cannot be taken over several processes; one device, or a module that contains a batch norm instead of being "
            "one, would work"
        )
    module.called = False


class _SyncedBatchNorm(_BatchNorm):
    """Comes between a subclass of batch norm and batch norm itself in the order of classes, so `super().forward` is this one's."""

    ranks: int
    called = False

    def forward(self, input: Tensor) -> Tensor:
        self.called = True
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        x = at_least_float32(input)
        mean, variance, count = _statistics(x, self.ranks)
        if self.track_running_stats:
            self._follow(mean, variance * count / (count - 1).clamp(min=1))
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        output = (x - _over(mean, x)) * _over(scale, x)
        return (output if self.bias is None else output + _over(self.bias, x)).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics towards a batch's, as torch does."""
        if self.running_mean is None or self.running_var is None:
            return
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1.0 / self.num_batches_tracked.to(mean.dtype) if share is None else share
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)  # pyright: ignore[reportArgumentType, reportCallIssue]
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)  # pyright: ignore[reportArgumentType, reportCallIssue]


@cache
def _synced(cls: type, ranks: int) -> type:
    return type(f"Synced{cls.__name__}", (cls, _SyncedBatchNorm), {"ranks": ranks})


def _statistics(x: Tensor, ranks: int) -> tuple[Tensor, Tensor, Tensor]:
    """Computes mean and biased variance, (C,), over rows and pixels of all processes, and their number; differentiable.

    Each process sends its count, mean and sum of squares about its own mean; they are joined by Chan's formula, which loses no digits where
    the mean is large.
    """
    axes = [0, *range(2, x.ndim)]
    channels, own = x.shape[1], x.numel() // x.shape[1]
    mean = x.mean(axes) if own else x.sum(axes)  # without rows: zeros that are still joined to the graph
    squares = (x - _over(mean, x)).square().sum(axes)
    message = torch.cat([x.new_full((1,), own), mean, squares])
    counts, means, sums = gather(message[None], [1] * ranks).split([1, channels, channels], 1)
    count = counts.sum()
    mean = (counts * means).sum(0) / count
    variance = (sums + counts * (means - mean).square()).sum(0) / count
    return mean, variance, count


def _over(channels: Tensor, x: Tensor) -> Tensor:
    return channels.view(1, -1, *[1] * (x.ndim - 2))
