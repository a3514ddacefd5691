"""Using a model does not change it: modes, statistics and gradients; samples of one seed begin alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tiny
import torch
from torch import Tensor, nn

from owae.errors import ConfigError
from owae.model.stack import Stack
from owae.training import fit

USES: list[Callable[[Stack], object]] = [
    lambda stack: stack.sample(5),
    lambda stack: stack.encode(tiny.images(4)),
    lambda stack: stack.encode(tiny.images(4), sample=True),
    lambda stack: stack.decode(torch.zeros(4, 2)),
    lambda stack: stack.decode(torch.zeros(4, 8), 1, sample=True),
    lambda stack: stack.reconstruct(tiny.images(4)),
    lambda stack: stack[1:].encode(torch.zeros(4, 8)),
]


def state(stack: Stack) -> tuple[dict[str, Tensor], list[bool]]:
    return {name: value.clone() for name, value in stack.state_dict().items()}, [module.training for module in stack.modules()]


def unchanged(stack: Stack, before: tuple[dict[str, Tensor], list[bool]]) -> bool:
    values, modes = state(stack)
    return modes == before[1] and all(torch.equal(value, before[0][name]) for name, value in values.items())


@pytest.mark.parametrize("use", USES)
def test_a_model_is_not_changed_by_its_use(use: Callable[[Stack], object]):
    stack = tiny.stack()
    norms = [module for module in stack.modules() if isinstance(module, nn.BatchNorm1d)]
    assert norms
    norms[0].eval()  # a part whose mode its user has chosen
    for step in fit(stack, tiny.images(), epochs=1, batch_size=16):
        before = state(stack)
        use(stack)
        assert unchanged(stack, before), f"in the middle of training, step {step.step}"
    before = state(stack)
    use(stack)
    assert stack.training
    assert unchanged(stack, before)
    with pytest.raises(ValueError, match="expected"):
        stack.encode(torch.zeros(4, 3))
    assert unchanged(stack, before)


@pytest.mark.parametrize("training", [True, False])
def test_codes_and_reconstructions_do_not_depend_on_the_mode(training: bool):
    stack = tiny.stack()
    list(fit(stack, tiny.images(), epochs=1, batch_size=16))
    x = tiny.images(4)
    expected = stack.eval().reconstruct(x)
    stack.train(training)
    assert torch.equal(stack.reconstruct(x), expected)
    assert torch.allclose(stack.reconstruct(x[:1]), expected[:1], atol=1e-6), "of one row too"


def test_gradients_flow_through_codes_and_reconstructions():
    """A user's own training of something else on top of an encoder."""
    stack, x = tiny.stack(), tiny.images(4).requires_grad_()
    for value in (stack.encode(x)[1], stack.reconstruct(x), stack.encode(x.double())[0]):
        parameters = [p for p in stack.layers[0].parameters() if p.ndim > 1]
        gradients = torch.autograd.grad(value.sum(), [x, *parameters], allow_unused=True)
        assert gradients[0] is not None
        assert gradients[0].abs().sum() > 0
        assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients[1:])
    with torch.no_grad():
        assert not stack.encode(x)[0].requires_grad


def test_fewer_samples_are_the_first_of_more():
    stack = tiny.stack()
    made = {}
    for n in (0, 1, 10, 32, 33, 300):
        torch.manual_seed(5)
        made[n] = stack.sample(n)
        assert made[n].shape == (n, 1, 8, 8)
        assert torch.equal(made[n], made.get(300, made[n])[:n])
    assert all(torch.equal(samples, made[300][:n]) for n, samples in made.items())
    assert len(made[300].flatten(1).unique(dim=0)) == 300
    with pytest.raises(ConfigError, match="n is -1; it takes a whole number from 0 on"):
        stack.sample(-1)
