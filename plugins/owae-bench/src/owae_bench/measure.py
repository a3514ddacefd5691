"""One measurement: time, memory and error of a divergence at one size."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from owae.interfaces import Divergence
from owae.model.defaults import StandardNormal
from owae.registry.registry import Entry, Registry
from owae_bench.bench import ENOUGH_SECONDS
from owae_bench.memory import peak_bytes

REFERENCE_PAIRS = 4096**2  # beyond these a dense float64 reference needs gigabytes, and is left out


def measure(registry: Registry, request: dict[str, Any]) -> dict[str, Any]:
    """Measure what a request asks for.

    Args:
        registry: Where the divergence is found.
        request: `distribution`, `plugin`, `name`, `options` and `reference` of a case; `n`, `d`, `device`, `repeats`, `against`;
            `shared`, a folder for what several cases need.

    Returns:
        Times in seconds, `peak_bytes`, `value`, and the errors relative to float64 (see `_errors`) unless
        the estimate is random or float64 would need too much memory.
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
    first, (value, gradient) = _timed(call.both, device)
    both = _times(call.both, device, request["repeats"])
    _, again = _timed(call.forward, device)
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
    if n * n <= REFERENCE_PAIRS and torch.allclose(again, value, rtol=1e-5):  # float64 would draw a random estimate anew
        result |= _errors(value, gradient, *_exact(entry, request, x, y))
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


def _exact(entry: Entry, request: dict[str, Any], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The value and the gradient in float64, which the first of the backends computes for all."""
    keys = ("distribution", "plugin", "name", "reference", "n", "d")
    path = Path(request["shared"], hashlib.sha256(json.dumps([request[key] for key in keys]).encode()).hexdigest() + ".npy")
    if not path.exists():
        value, gradient = _Call(entry.cls(**request["reference"]), x.double(), y.double(), request["against"]).both()
        np.save(path, torch.cat([value[None], gradient.flatten()]).numpy())
    known = torch.from_numpy(np.load(path, allow_pickle=False))
    return known[0], known[1:].reshape(x.shape)


def _errors(value: Tensor, gradient: Tensor, right: Tensor, slope: Tensor) -> dict[str, float]:
    """`value_error` and `gradient_error`, relative to the right ones."""
    off = (value.cpu().double() - right).abs() / right.abs()
    turned = (gradient.cpu().double() - slope).norm() / slope.norm()
    return {"value_error": off.item(), "gradient_error": turned.item()}


def _timed(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """The seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    returned = call()
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()
    return time.perf_counter() - start, returned


def _times(call: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    times: list[float] = []
    while len(times) < repeats and sum(times) < ENOUGH_SECONDS:
        times.append(_timed(call, device)[0])
    return times


def _spread(times: list[float]) -> float | None:
    """The range of the middle half; None of a single time."""
    if len(times) < 2:
        return None
    lower, _, upper = statistics.quantiles(times, n=4, method="inclusive")
    return upper - lower
