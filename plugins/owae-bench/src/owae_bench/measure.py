"""One measurement: time, memory and error of a divergence at one size."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from owae.interfaces import Divergence
from owae.model.defaults import StandardNormal
from owae.registry.registry import Registry
from owae_bench.bench import ENOUGH_SECONDS
from owae_bench.memory import peak_bytes

REFERENCE_PAIRS = 4096**2  # beyond these a dense float64 reference needs gigabytes, and is left out


def measure(registry: Registry, request: dict[str, Any]) -> dict[str, Any]:
    """Measure what a request asks for.

    Args:
        registry: Where the divergence is found.
        request: `distribution`, `plugin`, `name`, `options` and `reference` of a case; `n`, `d`, `device`, `repeats`, `against`.

    Returns:
        Times in seconds, `peak_bytes`, `value`, and the errors relative to float64 where they are known (see `_errors`).
    """
    entry = next(
        entry
        for entry in registry.entries
        if all(getattr(entry, key) == request[key] for key in ("distribution", "plugin", "name"))
        and entry.interface == "divergence"
    )
    n, d, device = request["n"], request["d"], torch.device(request["device"])
    x, y = _clouds(n, d)
    call = _Call(entry.cls(**request["options"]).to(device), x.to(device), y.to(device), request["against"])
    first = _time(call.both, device)
    value, gradient = call.both()
    both = _times(call.both, device, request["repeats"])
    _time(call.forward, device)
    forward = _times(call.forward, device, request["repeats"])
    result = {
        "forward": statistics.median(forward),
        "forward_spread": _spread(forward),
        "both": statistics.median(both),
        "both_spread": _spread(both),
        "repeats": len(both),
        "compile": max(0.0, first - statistics.median(both)),
        "peak_bytes": peak_bytes(call.both, device),
        "value": value.item(),
    }
    if n * n <= REFERENCE_PAIRS:
        exact = _Call(entry.cls(**request["reference"]), x.double(), y.double(), request["against"])
        result |= _errors(call, exact, value, gradient)
    return result


def _clouds(n: int, d: int) -> tuple[Tensor, Tensor]:
    """Clouds of different distributions, so that no value is 0 and a relative error means something; the same on every device."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, d, generator=generator), torch.randn(n, d, generator=generator)
    return 0.5 + 1.5 * x, y


class _Call:
    """A divergence on two clouds, or on the first against the standard normal prior."""

    def __init__(self, divergence: Divergence, x: Tensor, y: Tensor, against: str) -> None:
        self.divergence, self.x, self.y = divergence, x.requires_grad_(), y
        self.prior = StandardNormal(x.shape[1:]).to(x.device, x.dtype) if against == "prior" else None

    def value(self) -> Tensor:
        return self.divergence(self.x, self.y) if self.prior is None else self.divergence.to_prior(self.x, self.prior)

    def forward(self) -> Tensor:
        with torch.no_grad():
            return self.value()

    def both(self) -> tuple[Tensor, Tensor]:
        value = self.value()
        (gradient,) = torch.autograd.grad(value, self.x)
        return value.detach(), gradient


def _errors(call: _Call, exact: _Call, value: Tensor, gradient: Tensor) -> dict[str, float]:
    """`value_error` and `gradient_error` relative to float64; none where the estimate is random, which float64 would draw anew."""
    torch.manual_seed(1)
    again = call.forward()
    torch.manual_seed(2)
    if not torch.allclose(again, call.forward(), rtol=1e-5) or not torch.allclose(again, value, rtol=1e-5):
        return {}
    right, slope = exact.both()
    off = (value.cpu().double() - right).abs() / right.abs()
    turned = (gradient.cpu().double() - slope).norm() / slope.norm()
    return {"value_error": off.item(), "gradient_error": turned.item()}


def _time(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()
    return time.perf_counter() - start


def _times(call: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    times: list[float] = []
    while len(times) < repeats and not (len(times) >= 3 and sum(times) > ENOUGH_SECONDS):
        times.append(_time(call, device))
    return times


def _spread(times: list[float]) -> float:
    """The range of the middle half."""
    if len(times) < 2:
        return 0.0
    lower, _, upper = statistics.quantiles(times, n=4, method="inclusive")
    return upper - lower
