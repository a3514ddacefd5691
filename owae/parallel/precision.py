"""Sets the precision that networks run in: float32, or half by autocast, with the loss scaled under float16.

Costs, penalties and divergences are float32 whatever is chosen here: the stack switches autocast off around them.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from lightning_fabric.plugins.precision import MixedPrecision, Precision

from owae.errors import TrainingError

PRECISIONS = ("32", "bf16-mixed", "16-mixed")


class MixedNetworks(MixedPrecision):
    """Runs networks in mixed precision as Fabric does, but leaves the data float32, for costs compare with them."""

    def convert_input(self, data: Any) -> Any:
        return data


def precision_plugin(name: str, device: torch.device) -> Precision:
    """Makes Fabric's plugin for the precision of that name on a device.

    Raises:
        TrainingError: There is none of that name, or not on this device.
    """
    if name not in PRECISIONS:
        raise TrainingError(f"found precision '{name}'; '32', 'bf16-mixed' and '16-mixed' would work")
    if name == "32":
        return Precision()
    if device.type == "cuda" and name == "bf16-mixed" and not torch.cuda.is_bf16_supported():
        raise TrainingError("this GPU has no bfloat16; precision '16-mixed' or '32' would work")
    return MixedNetworks(cast(Literal["bf16-mixed", "16-mixed"], name), device.type)
