"""TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Mapping

from owae.interfaces import Observer, Picture
from owae.run.observers import Training
from owae_loggers.shared import numbers, require


class TensorBoard(Observer):
    """Event files in the folder `tensorboard` of a run; a run gone on with replaces the steps that it takes again."""

    name = "tensorboard"

    def __init__(self, training: Training, /) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(training.folder / "tensorboard"), purge_step=training.step + 1)

    @classmethod
    def require(cls) -> None:
        require(cls.name, "torch.utils.tensorboard")

    def values(self, values: Mapping[str, float | None]) -> None:
        for name, value in numbers(values).items():
            self._writer.add_scalar(name, value, values["step"])

    def picture(self, name: str, picture: Picture, step: int) -> None:
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
