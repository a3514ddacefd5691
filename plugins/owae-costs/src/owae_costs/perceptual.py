"""The distance of two pictures in the features of a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from owae.errors import ConfigError, DataError, InputError
from owae.interfaces import Cost

# The layers behind whose rectifiers Zhang et al. compare: places in the network's `features`.
LAYERS = {"vgg16": (3, 8, 15, 22, 29), "alexnet": (1, 4, 7, 9, 11), "squeezenet1_1": (1, 4, 7, 9, 10, 11, 12)}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures, on which such networks are trained


class Perceptual(Cost):
    """`C·H·W · mean over layers and places of ‖f(x) − f(y)‖²`, with the features of a frozen network, each of length 1.

    The distance of Zhang, Isola, Efros, Shechtman and Wang (2018), "The unreasonable effectiveness of deep features", before weights are
    fitted to people's judgements. The network is neither trained nor saved with a run: its file must stay where it is. It sees pictures
    of one channel three times. Behind rectifiers it has a kink wherever a feature is 0, and where all features of a place are nearly 0 a
    steep slope: gradients are right, but slopes by differences of pictures are off by some thousandths.

    Args:
        path: The weights: a state dict of torchvision's network, as .safetensors or as .pth, of which tensors alone are read.
        network: Torchvision's name of the network.
        layers: Places in the network's `features` whose outputs are compared, from 0; by default those of the paper.
        resize: Height and width that pictures are brought to before, for small ones vanish in deep layers.
        value_range: The data's values that stand for black and white.

    Errors: `InputError` for events that are not (1, H, W) or (3, H, W), or too small for the network.
    """

    name = "perceptual"

    def __init__(
        self,
        *,
        path: Path,
        network: Literal["vgg16", "alexnet", "squeezenet1_1"] = "vgg16",
        layers: list[int] | None = None,
        resize: tuple[int, int] | None = None,
        value_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        if not value_range[0] < value_range[1]:
            raise ConfigError(f"value_range is {list(value_range)}; it needs a lowest value below the highest")
        features = _loaded(path.expanduser(), network)
        wanted = list(LAYERS[network]) if layers is None else layers
        if not wanted or not all(0 <= layer < len(features) for layer in wanted):
            raise ConfigError(f"layers is {wanted}; {network} has the layers 0 to {len(features) - 1}")
        self.layers, self.resize, self.value_range = sorted(set(wanted)), resize, value_range
        # In a list, so that it is no part of the model: it is neither trained nor saved with it.
        self._network = [features[: max(wanted) + 1].eval().requires_grad_(False)]

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise InputError(
                f"the cost perceptual found events of shape {tuple(x.shape[1:])}; it compares pictures (1, H, W) or (3, H, W)"
            )
        apart = [(a - b).square().sum(1).flatten(1).mean(1) for a, b in zip(self._features(x), self._features(y), strict=True)]
        return x[0].numel() * torch.stack(apart).mean(0)

    def _features(self, x: Tensor) -> list[Tensor]:
        """Outputs of the layers, (B, C, H, W), of length 1 at every place."""
        low, high = self.value_range
        x = (x - low) / (high - low)
        if self.resize is not None:
            x = F.interpolate(x, self.resize, mode="bilinear", antialias=True, align_corners=False)
        mean, deviation = (torch.tensor(each, device=x.device, dtype=x.dtype)[:, None, None] for each in (MEAN, DEVIATION))
        x = (x.expand(-1, 3, -1, -1) - mean) / deviation
        network = self._network[0]
        first = next(network.parameters())
        if first.device != x.device or first.dtype != x.dtype:
            network.to(x.device, x.dtype)
        found = []
        for place, layer in enumerate(network):
            if isinstance(layer, nn.MaxPool2d) and min(x.shape[2:]) < 2:
                raise InputError(
                    f"the cost perceptual found pictures that have shrunk to {tuple(x.shape[2:])} before layer {place}; "
                    "resize = [64, 64], or fewer layers, would work"
                )
            x = layer(x)
            if place in self.layers:
                found.append(x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt())
        return found


def _loaded(path: Path, name: str) -> nn.Sequential:
    """Builds the network and reads its weights."""
    try:
        from torchvision import models
    except ImportError as error:
        raise ConfigError(
            f"perceptual takes its networks from torchvision ({error}); pip install 'owae-costs[perceptual]' brings it"
        ) from error
    state = _weights(path)
    features = getattr(models, name)(weights=None).features
    own = {key.removeprefix("features."): value for key, value in state.items() if not key.startswith("classifier.")}
    try:
        features.load_state_dict(own)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} holds other weights than those of torchvision's {name}: {str(error).splitlines()[-1].strip()}"
        ) from error
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # outputs that are compared stay as they are
    return features


def _weights(path: Path) -> dict[str, Any]:
    """Reads the tensors of a file, and nothing else."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"it holds a {type(state).__name__}")
        return state
    except Exception as error:  # what is raised depends on what is wrong with the file
        raise DataError(
            f"{path} cannot be read as weights ({str(error).splitlines()[0]}); a state dict as .safetensors or .pth would work"
        ) from error
