"""The laws of the MMD, over a table of kernels, estimators and backends."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from owae.errors import ConfigError, PluginError
from owae.model.defaults import Ancestral, StandardNormal
from owae.testing import check_divergence
from owae_mmd import MMD, keops, tiled
from owae_mmd.compilers import obstacle
from owae_mmd.mmd import PAPER_SCALES

KERNELS = ("imq", "gaussian", "rational-quadratic", "laplacian", "energy")
ESTIMATORS = ("unbiased", "biased", "closed-form")
kernels = pytest.mark.parametrize("kernel", KERNELS)


def clouds(n: int = 40, m: int = 30, d: int = 3, shift: float = 0.5, seed: int = 0, dtype=torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = 1.3 * torch.randn(n, d, generator=generator, dtype=torch.float64) + shift
    y = torch.randn(m, d, generator=generator, dtype=torch.float64)
    return x.to(dtype), y.to(dtype)


def by_loops(x: Tensor, y: Tensor, k) -> float:
    """The formula of method's Sec. 2, pair by pair in float64, unbiased."""
    a, b = x.double().numpy(), y.double().numpy()
    n, m = len(a), len(b)
    xx = sum(k(((a[i] - a[j]) ** 2).sum()) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(((b[i] - b[j]) ** 2).sum()) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(((p - q) ** 2).sum()) for p in a for q in b) / (n * m)


FORMULAS = {
    "imq": lambda r, d: sum(2 * s * d / (2 * s * d + r) for s in PAPER_SCALES),
    "gaussian": lambda r, d: sum(math.exp(-r / (2 * s * d)) for s in PAPER_SCALES),
    "rational-quadratic": lambda r, d: sum((1 + r / (2 * s * d * 0.7)) ** -0.7 for s in PAPER_SCALES),
    "laplacian": lambda r, d: sum(math.exp(-math.sqrt(r / (2 * s * d))) for s in PAPER_SCALES),
    "energy": lambda r, d: -math.sqrt(r),
}


@kernels
@pytest.mark.parametrize(("n", "m", "d"), [(7, 9, 2), (5, 5, 1), (6, 3, 12)])
def test_it_is_the_formula(kernel: Any, n: int, m: int, d: int):
    x, y = clouds(n, m, d)
    expected = by_loops(x, y, lambda r: FORMULAS[kernel](r, d))
    for backend in ("dense", "tiled"):
        value = MMD(kernel=kernel, alpha=0.7, backend=backend)(x, y).item()
        assert value == pytest.approx(expected, rel=1e-5, abs=2e-6)


def test_the_scale_is_that_of_the_matched_level():
    """d is the number of elements of the event, whatever its shape."""
    x, y = clouds(d=12)
    assert MMD()(x.reshape(-1, 3, 2, 2), y.reshape(-1, 3, 2, 2)) == MMD()(x, y)
    wide = [2 * s * 12 for s in PAPER_SCALES]
    assert MMD()(x, y).item() == pytest.approx(by_loops(x, y, lambda r: sum(c / (c + r) for c in wide)), rel=1e-4)


@kernels
@pytest.mark.parametrize(
    ("n", "m", "d", "estimator", "both"),
    [
        (40, 30, 2, "biased", False),
        (1, 5, 3, "unbiased", True),
        (2, 2, 1, "unbiased", False),
        (300, 400, 5, "unbiased", True),
        (300, 300, 70, "unbiased", False),
        (520, 64, 200, "biased", True),
    ],
)
def test_backends_agree_in_value_and_gradient(kernel: Any, n: int, m: int, d: int, estimator: Any, both: bool):
    """Against the dense sum in float64; one block and several tiles, few dimensions and many."""

    def run(backend: Any, dtype: torch.dtype) -> tuple[Tensor, ...]:
        x, y = (sample.requires_grad_(both or i == 0) for i, sample in enumerate(clouds(n, m, d, dtype=dtype)))
        value = MMD(kernel=kernel, estimator=estimator, backend=backend)(x, y)
        value.backward()
        return tuple(t for t in (value.detach(), x.grad, y.grad) if t is not None)

    reference = run("dense", torch.float64)
    for backend, dtype in (("dense", torch.float32), ("tiled", torch.float32), ("tiled", torch.float64)):
        found = run(backend, dtype)
        assert len(found) == (3 if both else 2)
        assert found[0].item() == pytest.approx(reference[0].item(), abs=1e-5 * (5 if kernel == "energy" else 1))
        for mine, theirs in zip(found[1:], reference[1:], strict=True):
            assert (mine.double() - theirs).norm() <= 1e-4 * theirs.norm() + 1e-8


# Every kernel, every estimator with a smooth kernel and one that has a kink, and both backends with each.
@pytest.mark.parametrize(
    ("kernel", "estimator", "backend"),
    [
        ("imq", "unbiased", "tiled"),
        pytest.param("imq", "closed-form", "dense", marks=pytest.mark.slow),
        ("gaussian", "biased", "tiled"),
        ("rational-quadratic", "unbiased", "dense"),
        ("laplacian", "unbiased", "dense"),
        pytest.param("laplacian", "closed-form", "tiled", marks=pytest.mark.slow),
        ("energy", "biased", "tiled"),
    ],
)
def test_it_keeps_the_contract(kernel: Any, estimator: Any, backend: Any):
    check_divergence(MMD(kernel=kernel, estimator=estimator, backend=backend))


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 2, 2), (40,)])
def test_events_of_any_shape_keep_the_contract(shape: tuple[int, ...]):
    check_divergence(MMD(), shape=shape)


@kernels
@pytest.mark.parametrize(("estimator", "d"), [("unbiased", 2), ("closed-form", 32)])
def test_null_draws_have_mean_zero(kernel: Any, estimator: Any, d: int):
    """200 of them; and nothing is clamped."""
    torch.manual_seed(d)
    prior, divergence = StandardNormal((d,)), MMD(kernel=kernel, estimator=estimator)
    values = torch.tensor([divergence.to_prior(torch.randn(64, d), prior).item() for _ in range(200)])
    assert abs(values.mean()) < 3 * values.std() / 200**0.5
    assert (values < 0).float().mean() > 0.3


def test_other_priors_are_sampled():
    x, _ = clouds(d=2)
    prior = Ancestral([], StandardNormal((2,)))
    torch.manual_seed(0)
    sampled = MMD(estimator="closed-form").to_prior(x, prior)
    torch.manual_seed(0)
    assert sampled == MMD().to_prior(x, prior)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40), m=st.integers(1, 40), shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), seed=st.integers(0, 99)
)
def test_any_shape_gives_the_same_by_either_backend(n: int, m: int, shape: list[int], seed: int):
    x, y = clouds(n, m, math.prod(shape), seed=seed)
    x, y = x.reshape(n, *shape), y.reshape(m, *shape)
    dense, tiled = (MMD(backend=backend)(x, y).item() for backend in ("dense", "tiled"))
    assert tiled == pytest.approx(dense, abs=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_it_is_finite_and_near_float64_in_many_dimensions(estimator: Any):
    """d = 12,288 at scale 10."""
    torch.manual_seed(0)
    x, prior = torch.randn(32, 12_288) * 10, StandardNormal((12_288,))
    value = MMD(estimator=estimator).to_prior(x, prior).item()
    double = MMD(estimator=estimator).to_prior(x.double(), prior.double()).item()
    assert value == pytest.approx(double, rel=0.01)


def test_the_median_is_the_unit_where_asked_for():
    x, y = clouds()
    divergence = MMD(kernel="gaussian", bandwidth="median")
    assert divergence(100 * x, 100 * y).item() == pytest.approx(divergence(x, y).item(), rel=1e-4)
    assert MMD(bandwidth="median")(torch.zeros(8, 4), torch.zeros(8, 4)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"scales": ()}, "one or more positive"), ({"scales": (1.0, -1.0)}, "positive"), ({"alpha": 0.0}, "alpha"),
     ({"estimator": "closed-form", "bandwidth": "median"}, "take \"prior\"")],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(options: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        MMD(**options)


def test_a_second_derivative_is_refused_or_right():
    x, y = clouds(6, 5, 2, dtype=torch.float64)
    x.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: MMD(backend="dense")(x, y), x)
    (first,) = torch.autograd.grad(MMD(backend="tiled")(x, y), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"does not require grad|once_differentiable"):
        first.sum().backward()


def test_auto_says_which_and_why(caplog: pytest.LogCaptureFixture):
    x, y = clouds()
    divergence = MMD()
    with caplog.at_level(logging.INFO, "owae_mmd"):
        divergence(x, y)
        divergence(x, y)
    assert [record.getMessage() for record in caplog.records] == ["mmd: backend 'tiled' (the points fit one block)"]


def test_it_states_what_its_number_means():
    said = MMD().describe((3, 4))
    assert said["estimator"] == "unbiased"
    assert said["scales"] == list(PAPER_SCALES)
    assert "24" in str(said["unit"])
    assert "negative" in str(said["root"])


def test_keops_without_a_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Asked for, an error; auto trains."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    x, y = clouds()
    with pytest.raises(PluginError, match=r"g\+\+|pip install"):
        MMD(backend="keops")(x, y)
    x, y = clouds(9000, 100, 2)
    assert MMD()(x, y).isfinite()


@pytest.mark.slow
def test_a_large_sample_takes_little_memory():
    """Tiles of plain torch in a process of their own: 40,000 points would be 6 GB a matrix."""
    code = (
        "import resource, torch\n"
        "from owae_mmd import MMD\n"
        "torch.manual_seed(0); torch.set_num_threads(1)\n"
        "MMD(backend='tiled')(torch.randn(64, 8).requires_grad_(), torch.randn(64, 8)).backward()\n"
        "x, y = torch.randn(6000, 8).requires_grad_(), torch.randn(6000, 8)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "MMD(backend='tiled')(x, y).backward()\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    environment = {**os.environ, "PATH": ""}  # no compiler: nothing is fused
    environment.pop("CXX", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=900)
    assert float(done.stdout) < 100


@pytest.mark.slow
@pytest.mark.skipif(bool(obstacle(torch.device("cpu"))), reason="there is no C++ compiler here")
def test_compiled_tiles_agree(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    x, y = (sample.requires_grad_() for sample in clouds(1100, 900, 3))
    dense = MMD(backend="dense")(x, y)
    monkeypatch.setattr(tiled, "compiles_for", lambda *_: True)
    folded = MMD(backend="tiled")(x, y)
    assert "torch.compile failed" not in caplog.text
    assert folded.item() == pytest.approx(dense.item(), abs=1e-5)
    for mine, theirs in zip(torch.autograd.grad(folded, (x, y)), torch.autograd.grad(dense, (x, y)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-7)


needs_keops = pytest.mark.skipif(bool(keops.obstacle()), reason=f"KeOps cannot be used here: {keops.obstacle()}")


@needs_keops
@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["imq", "energy"])
@pytest.mark.filterwarnings("ignore")
def test_keops_agrees(kernel: Any):
    x, y = (sample.requires_grad_() for sample in clouds(50, 40, 2))
    dense, folded = MMD(kernel=kernel, backend="dense")(x, y), MMD(kernel=kernel, backend="keops")(x, y)
    assert folded.item() == pytest.approx(dense.item(), abs=2e-5)
    for mine, theirs in zip(torch.autograd.grad(folded, (x, y)), torch.autograd.grad(dense, (x, y)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)
    # Far from the origin, and from each other: what is common to all coordinates is lost from differences of large numbers.
    near = MMD(kernel=kernel, backend="keops")(x, y + 3)
    assert MMD(kernel=kernel, backend="keops")(x + 1024, y + 1027).item() == pytest.approx(near.item(), rel=1e-3)
    import pykeops

    assert not pykeops.verbose  # it would print its formula, kilobytes of it, at each compilation
