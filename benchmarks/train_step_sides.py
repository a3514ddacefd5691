"""What `train_step.py` and `engine_overhead.py` share: memory measured in a process of its own, and pythae's side."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from owae import LatentLayer, Stack, fit
from owae.distributions import Dirac, Distribution
from owae_mmd import MMD

# Dense peaks of the data sheets, 10¹² operations a second: "fp32" is what torch runs float32 products on unless told otherwise (no TF32).
PEAK_TFLOPS = {"H100": {"fp32": 67.0, "bf16": 989.0}, "H200": {"fp32": 67.0, "bf16": 989.0}, "A100": {"fp32": 19.5, "bf16": 312.0}}

Steps = Callable[[int], Iterator[Any]]


def peak_memory(steps: Steps, device: str = "cpu", count: int = 4) -> float:
    """The most memory that a few steps hold beyond a process's imports, in MB (10⁶ bytes); `steps` must be picklable. Linux, on a CPU."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(theirs, steps, device, count))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def _measure(connection: Any, steps: Steps, device: str, count: int) -> None:
    import torch._dynamo  # an optimiser's first use imports it, on either side

    if device.startswith("cuda"):
        for _ in steps(count):
            pass
        connection.send(torch.cuda.max_memory_allocated() / 1e6)
        return
    torch.rand(64, 64, requires_grad=True).matmul(torch.rand(64, 64)).sum().backward()  # threads and their pools
    before = _status("VmRSS")
    for _ in steps(count):
        pass
    connection.send((_status("VmHWM") - before) / 1e6)


def _status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def _network(*widths: int) -> torch.nn.Sequential:
    from torch import nn

    pairs = itertools.pairwise(widths[:-1])
    hidden = [layer for a, b in pairs for layer in (nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(widths[-2], widths[-1]))


class OneLevel(LatentLayer):
    """A deterministic encoder, as pythae's WAE has, and a sigmoid decoder: the networks that both sides train."""

    name = "one-level"
    in_shape, latent_shape, output_range = (1, 28, 28), (32,), (0.0, 1.0)

    def __init__(self, width: int = 2048) -> None:
        super().__init__()
        self.up, self.down = _network(784, width, width, 32), _network(32, width, width, 784)

    def encode(self, x: Tensor) -> Distribution:
        return Dirac(self.up(x.flatten(1)))

    def decode(self, z: Tensor) -> Distribution:
        return Dirac(torch.sigmoid(self.down(z)).unflatten(1, (1, 28, 28)))


def pythae_sides(images: Tensor, device: str, folder: str) -> dict[str, Callable[[], Any]]:
    """One epoch of ours and of pythae's, by name. Raises ImportError."""
    import logging

    from pythae.data.datasets import BaseDataset
    from pythae.models import WAE_MMD, WAE_MMD_Config
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.getLogger("pythae").setLevel(logging.ERROR)
    nets = OneLevel()

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.up

        def forward(self, x: Tensor) -> Any:
            return ModelOutput(embedding=self.net(x.flatten(1)))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.down

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=torch.sigmoid(self.net(z)).unflatten(1, (1, 28, 28)))

    model = WAE_MMD(WAE_MMD_Config(input_dim=(1, 28, 28), latent_dim=32, reg_weight=1e-1), Encoder(), Decoder())
    training = BaseTrainerConfig(
        output_dir=folder, per_device_train_batch_size=128, num_epochs=1, learning_rate=1e-3, no_cuda=not device.startswith("cuda")
    )
    dataset = BaseDataset(images, torch.zeros(len(images)))
    trainer = BaseTrainer(model, dataset, training_config=training, callbacks=[])
    trainer.prepare_training()
    shown = trainer.callback_handler
    shown.callbacks = [each for each in shown.callbacks if "Progress" not in type(each).__name__]  # ours shows no bar here either
    numbers = itertools.count(1)
    stack = Stack([OneLevel()], divergence=MMD(), weights=[1e-1])

    training_steps = fit(stack, images, epochs=10**6, batch_size=128, device=device, compile=False)
    steps = iter(training_steps)

    def ours() -> None:
        for _ in range(len(training_steps.loader)):
            next(steps)

    return {"owae": ours, "pythae": lambda: trainer.train_step(next(numbers))}


def pythae_epoch(epoch: Callable[[], Any], device: str) -> float:
    begun = time.perf_counter()
    epoch()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - begun
