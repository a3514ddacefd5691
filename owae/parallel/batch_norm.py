"""Batch norm over a batch whose rows several processes share."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from owae.parallel.world import World, all_reduce, peers


def synchronise(model: nn.Module, world: World) -> None:
    """Let every batch norm of a model, of any class, take its statistics over all processes while it is in training.

    In place: a module gets a class derived from its own, and keeps its parameters, buffers and names. torch's SyncBatchNorm needs
    CUDA and makes new modules. Other norms look at one row at a time.
    """
    if world.size == 1:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm | _Synchronised):
            module.__class__ = _synchronised(type(module))


class _Synchronised(_BatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        self._check_input_dim(input)
        wide = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        output, mean, variance, count = _Normalise.apply(wide, self.weight, self.bias, self.eps)  # pyright: ignore[reportGeneralTypeIssues]
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            self._follow(mean, variance * count / (count - 1).clamp(min=1))
        return output.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        share: Any = self.momentum
        if share is None:
            assert self.num_batches_tracked is not None
            share = 1.0 / self.num_batches_tracked.to(mean.dtype)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


@cache
def _synchronised(cls: type) -> type:
    return type(f"Synchronised{cls.__name__}", (_Synchronised, cls), {})


class _Normalise(torch.autograd.Function):
    """`(x − m) / √(v + ε) · w + b` with mean and (biased) variance over rows and pixels of all processes.

    Both ways exchange one message a layer: forward each process's count, mean and sum of squares about its own mean, joined by
    Chan's formula, which loses no digits where the mean is large; backward the two sums of the closed form of the gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        axes = [0, *range(2, x.ndim)]
        channels, own = x.shape[1], x.numel() // x.shape[1]
        mean = x.mean(axes) if own else x.new_zeros(channels)
        squares = (x - _over(mean, x)).square().sum(axes)
        message = torch.cat([x.new_full((1,), own), mean, squares])
        messages = [torch.empty_like(message) for _ in range(dist.get_world_size())]
        with peers():
            dist.all_gather(messages, message)
        counts, means, sums = torch.stack(messages).split([1, channels, channels], 1)
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        variance = (sums + counts * (means - mean).square()).sum(0) / count
        scale = (variance + eps).rsqrt()
        normal = (x - _over(mean, x)) * _over(scale, x)
        ctx.save_for_backward(normal, weight, scale, count)
        ctx.mark_non_differentiable(mean, variance, count)
        output = normal if weight is None else normal * _over(weight, x)
        return output if bias is None else output + _over(bias, x), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        gradient = gradients[0]
        normal, weight, scale, count = ctx.saved_tensors
        axes = [0, *range(2, normal.ndim)]
        along, total = (gradient * normal).sum(axes), gradient.sum(axes)
        means = all_reduce(torch.cat([along, total])) / count
        mean_along, mean_total = means.chunk(2)
        x = gradient - _over(mean_total, normal) - normal * _over(mean_along, normal)
        scale = scale if weight is None else scale * weight
        return x * _over(scale, normal), None if weight is None else along, total if ctx.needs_input_grad[2] else None, None


def _over(channels: Tensor, x: Tensor) -> Tensor:
    return channels.view(1, -1, *[1] * (x.ndim - 2))
