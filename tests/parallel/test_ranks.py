"""Several processes that train one model take the steps of one process: real processes, over gloo."""

from __future__ import annotations

import pytest
import rank_tasks
import torch
from ranks import together
from torch import Tensor

from owae.errors import TrainingError
from owae.parallel.batch_norm import sync_batchnorm
from owae.parallel.launch import launch

pytestmark = pytest.mark.slow


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Equal to 1e-6 but for what is a rank's own: its codes, and what a layer draws by itself."""
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name.endswith((": codes", ": dropped")):
            continue
        # Under an ancestral prior every rank has the whole batch; statistics then count copies, and n − 1 of more of them.
        close = 0.05 if "ancestral" in name and "levels.1" in name and name.endswith("running_var") else 1e-6
        torch.testing.assert_close(ours[name], theirs[name], rtol=close, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def in_both(ranks: int, *tasks: str) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """What each of the ranks finds, and one process."""
    return together("rank_tasks:several", ranks, *tasks), rank_tasks.several(launch("cpu"), *tasks)


def test_two_ranks_of_eight_are_one_of_sixteen():
    """Loss, terms and every gradient, and then the whole epoch: parameters and batch norm's statistics; all in float64."""
    kinds = ["mlp", "resnet", "data", "ancestral"]
    options = ["accumulated resnet 8 40", "checkpointed resnet 8 40"]
    parts, whole = in_both(2, *(f"gradients {kind} 16 48" for kind in kinds), *options)
    assert sum(": gradient/" in name for name in whole) > 100
    for part in parts:
        same(part, whole)
    name = "gradients mlp 16 48: codes"
    torch.testing.assert_close(torch.cat([part[name] for part in parts]), whole[name])


def test_a_last_batch_is_shared_as_well_as_it_goes():
    """Three ranks and batches of 16: 3 rows, then 2, of which one rank has none; a single row is left out."""
    parts, whole = in_both(3, *(f"gradients mlp 16 {examples}" for examples in (35, 34, 33)))
    assert [len(whole[f"gradients mlp 16 {examples}: losses"]) for examples in (35, 34, 33)] == [3, 3, 2]
    for part in parts:
        same(part, whole)


def test_validation_is_that_of_one_process():
    parts, whole = in_both(2, "validation")
    assert {f"validation: validation/{term}" for term in ("loss", "divergence", "cost/1")} <= whole.keys()
    for name, value in whole.items():
        assert torch.equal(parts[0][name], parts[1][name])
        torch.testing.assert_close(parts[0][name], value, rtol=1e-5, atol=1e-6)


def test_each_rank_draws_noise_of_its_own_and_resumes_it_to_the_bit():
    first, second = together("rank_tasks:several", 2, "streams")
    for found in (first, second):
        assert torch.equal(found["streams: resumed"], found["streams: second"])
        assert not torch.equal(found["streams: first"], found["streams: second"])
    assert not torch.equal(first["streams: first"], second["streams: first"])


def test_a_subclass_of_batch_norm_keeps_its_forward():
    parts, whole = in_both(2, "tenfold")
    together_ = torch.cat([part["tenfold: output"] for part in parts])
    torch.testing.assert_close(together_, whole["tenfold: output"])


class Alone(torch.nn.BatchNorm1d):
    """Normalises by itself: its statistics cannot be synchronised."""

    def forward(self, input: Tensor) -> Tensor:
        return (input - input.mean(0)) / input.std(0)


def test_a_batch_norm_that_normalises_by_itself_is_refused():
    model = torch.nn.Sequential(Alone(3))
    sync_batchnorm(model, torch.device("cpu"), 2)
    with pytest.raises(TrainingError, match=r"Alone is a batch norm whose forward does not call super\(\)\.forward"):
        model(torch.ones(4, 3))


def test_synchronised_batch_norm_is_batch_norm():
    """torch's own on all rows, for every option and shape; a process may have no rows at all."""
    parts, whole = in_both(3, "norms")
    for part in parts:
        assert part.keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(part[name], value, rtol=1e-6, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
