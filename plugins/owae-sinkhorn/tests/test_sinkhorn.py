"""The laws of the Sinkhorn divergence, each over a table of options."""

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from owae import Registry
from owae.errors import ConfigError, PluginError
from owae.registry.options import options_model, validated
from owae.testing import check_divergence
from owae_sinkhorn import Sinkhorn
from owae_sinkhorn import sinkhorn as module

# Every option once, and p = 1 with the one that changes its gradient.
TABLE = [
    {},
    pytest.param({"blur": 0.5, "scaling": 0.8}, marks=pytest.mark.slow),
    pytest.param({"p": 1, "reach": 1.0}, marks=pytest.mark.slow),
]
everyone = pytest.mark.parametrize("options", TABLE, ids=str)


def clouds(n=40, m=30, d=3, shift=1.0, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=dtype)
    y = torch.randn(m, d, generator=generator, dtype=dtype) + shift
    return x.requires_grad_(), y


def exact_transport(x, y, p):
    cost = torch.cdist(x.detach().double(), y.double()) ** p
    rows, columns = linear_sum_assignment(cost.numpy())
    return cost[rows, columns].mean().item()


# What the number means


@pytest.mark.parametrize("d", [1, 2, 8, 32])
@pytest.mark.parametrize("p", [1, 2])
def test_it_tends_to_the_exact_wasserstein_cost(p, d):
    x, y = clouds(60, 60, d)
    value = Sinkhorn(p=p, blur=0.001, scaling=0.95)(x, y).item()
    assert value == pytest.approx(exact_transport(x, y, p), rel=0.02)


@pytest.mark.parametrize(("p", "options"), [(1, {}), (2, {}), (2, {"scaling": 0.7}), (2, {"debias": False})])
@pytest.mark.parametrize("shift", [5.0, 100.0])
def test_a_translation_costs_its_length_to_the_power(p, options, shift):
    x, _ = clouds(50, d=2)
    y = x.detach() + torch.tensor([0.6, 0.8]) * shift
    assert Sinkhorn(p=p, **options)(x, y).item() == pytest.approx(shift**p, rel=0.06 if shift == 5 else 0.01)


@pytest.mark.parametrize("p", [1, 2])
def test_diracs_lie_as_far_apart_as_their_points(p):
    x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]])
    assert Sinkhorn(p=p)(x, y).item() == pytest.approx(5.0**p, rel=1e-5 if p == 2 else 1e-4)


def test_entropic_gaussians_have_their_closed_form():
    """Sinkhorn divergence of N(0, a²) and N(0, b²), balanced (Janati et al. 2020, Thm 1, with ε = 2 blur²)."""
    a, b, blur = 1.0, 2.0, 1.0
    quantiles = torch.special.ndtri((torch.arange(500, dtype=torch.float64) + 0.5) / 500)[:, None]
    epsilon = 2 * blur**2

    def entropic(s, t):
        root = math.sqrt(4 * s * s * t * t + (epsilon / 2) ** 2)
        return s * s + t * t - root + epsilon / 2 * math.log(root + epsilon / 2)

    expected = entropic(a, b) - entropic(a, a) / 2 - entropic(b, b) / 2
    assert Sinkhorn(blur=blur, scaling=0.9)(a * quantiles, b * quantiles).item() == pytest.approx(expected, rel=0.01)


def test_far_mass_is_destroyed_rather_than_moved():
    """Two Diracs beyond reach: both are destroyed, for ρ = 2 reach² each."""
    x, y = torch.zeros(1, 2), torch.full((1, 2), 100.0)
    assert Sinkhorn(reach=0.5, blur=0.01)(x, y).item() == pytest.approx(2 * 2 * 0.5**2, rel=1e-3)


def test_a_description_states_the_convention():
    stated = Sinkhorn(blur=0.1).describe((2,))
    assert stated["unit"] == "W2^2, cost |x-y|^2"
    assert stated["epsilon"] == pytest.approx(0.02)
    assert "not debiased" in str(Sinkhorn(debias=False).describe((2,))["estimator"])
    assert Sinkhorn(p=1).describe((2,))["unit"] == "W1, cost |x-y|"


# Laws of any divergence


@everyone
def test_contract(options):
    """Differences of an iteration that ends early are not its gradient; a test below looks at one that does not."""
    check_divergence(Sinkhorn(**options), shape=(2, 3), gradient_rtol=math.inf)


def test_contract_without_debiasing():
    check_divergence(Sinkhorn(debias=False, blur=0.5), zero_at_equality=False, gradient_rtol=math.inf)


@everyone
def test_events_are_flattened(options):
    x, y = clouds(d=12)
    torch.testing.assert_close(
        Sinkhorn(**options)(x.view(-1, 3, 2, 2), y.view(-1, 3, 2, 2)), Sinkhorn(**options)(x, y), rtol=1e-6, atol=1e-6
    )


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 9), m=st.integers(1, 9), d=st.integers(1, 5), p=st.sampled_from([1, 2]), debias=st.booleans())
def test_any_shape_gives_a_finite_scalar_and_gradient(n, m, d, p, debias):
    x, y = clouds(n, m, d)
    value = Sinkhorn(p=p, debias=debias)(x, y)
    value.backward()
    assert value.shape == ()
    assert value.isfinite()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("options", [{}, {"p": 1}, {"reach": 1.0}, {"p": 1, "reach": 2.0}, {"debias": False}], ids=str)
def test_the_gradient_is_that_of_the_value(options):
    """By central differences: the iteration is never quite at its fixed point, so to 3%; an uncorrected `reach` is off by 20%."""
    x, y = clouds(12, 9, 2, dtype=torch.float64)
    divergence = Sinkhorn(blur=0.7, scaling=0.98, **options)
    (gradient,) = torch.autograd.grad(divergence(x, y), x)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        slope = (divergence(x + 1e-4 * direction, y) - divergence(x - 1e-4 * direction, y)) / 2e-4
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=0.03)


# Gradient mode


@pytest.mark.parametrize("enabled", [True, False])
def test_the_gradient_mode_is_what_it_was(enabled, monkeypatch):
    x, y = clouds()
    with torch.set_grad_enabled(enabled):
        assert Sinkhorn()(x, y).requires_grad == enabled
        assert torch.is_grad_enabled() == enabled

        def broken(*_):
            torch.set_grad_enabled(not enabled)
            raise RuntimeError("inside")

        monkeypatch.setattr("geomloss.SamplesLoss.forward", broken)
        with pytest.raises(RuntimeError, match="inside"):
            Sinkhorn()(x, y)
        assert torch.is_grad_enabled() == enabled


def test_it_works_in_inference_mode():
    x, y = clouds()
    with torch.inference_mode():
        assert not Sinkhorn()(x, y).requires_grad
        assert not torch.is_grad_enabled()


# Options and registration


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"p": 3}, "p is 3"),
        ({"blur": 0.0}, "blur"),
        ({"blur": math.inf}, "blur"),
        ({"reach": -1.0}, "reach"),
        ({"scaling": 1.0}, "scaling"),
    ],
)
def test_options_out_of_range_are_refused_by_config_and_constructor(options, named):
    _, problems = validated(options_model(Sinkhorn), options)
    assert problems
    if options != {"p": 3}:  # under test, the annotation itself refuses it
        with pytest.raises(ConfigError, match=named):
            Sinkhorn(**options)


def test_it_is_found_by_name():
    assert Registry.discover(only=["owae-sinkhorn"]).get("divergence", "sinkhorn") is Sinkhorn


# Backends


def without_keops(monkeypatch):
    monkeypatch.setattr(module, "keops_missing", lambda: "pykeops is not usable (hidden): pip install pykeops")


def test_without_keops_a_middling_cloud_runs_and_the_log_says_how(monkeypatch, caplog):
    without_keops(monkeypatch)
    monkeypatch.setattr(module, "TENSORIZED_PAIRS", 100)
    x, y = clouds()
    divergence = Sinkhorn()
    with caplog.at_level(logging.INFO, logger="owae_sinkhorn"):
        for _ in range(3):
            torch.testing.assert_close(divergence(x, y), Sinkhorn(backend="tensorized")(x, y))
    said = [record.getMessage() for record in caplog.records if "pip install pykeops" in record.getMessage()]
    assert len(said) == 1
    assert "tensorized" in said[0]


@pytest.mark.parametrize("backend", ["auto", "online", "multiscale"])
def test_without_keops_what_needs_it_says_what_to_install(monkeypatch, backend):
    without_keops(monkeypatch)
    monkeypatch.setattr(module, "TENSORIZED_PAIRS", 10)
    monkeypatch.setattr(module, "FALLBACK_PAIRS", 20)
    with pytest.raises(PluginError, match="pip install pykeops"):
        Sinkhorn(backend=backend)(*clouds())


def test_without_a_compiler_that_is_the_reason(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    module.keops_missing.cache_clear()
    try:
        with pytest.raises(PluginError, match=r"install g\+\+"):
            Sinkhorn(backend="online")(*clouds())
    finally:
        module.keops_missing.cache_clear()


def test_without_the_package_that_is_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "pykeops", None)
    monkeypatch.setitem(sys.modules, "pykeops.torch", None)
    module.keops_missing.cache_clear()
    try:
        with pytest.raises(PluginError, match="pip install pykeops"):
            Sinkhorn(backend="online")(*clouds())
    finally:
        module.keops_missing.cache_clear()


def test_multiscale_refuses_many_dimensions():
    with pytest.raises(PluginError, match="online"):
        Sinkhorn(backend="multiscale")(*clouds(d=4))


keops = pytest.mark.skipif(bool(module.keops_missing()), reason="KeOps cannot be used here")


def value_and_gradient(backend, n, p):
    """Of two clouds of n points, or of one with itself for none."""
    x, y = clouds(n, n, 2) if n else (torch.zeros(8, 2, requires_grad=True), torch.zeros(8, 2))
    value = Sinkhorn(backend=backend, p=p)(x, y)
    (gradient,) = torch.autograd.grad(value, x)
    return value.item(), gradient.tolist()


ON_KEOPS = [("online", 1, 2), ("online", 40, 2), ("online", 40, 1), ("online", 0, 1), ("multiscale", 40, 2), ("multiscale", 0, 2)]


@keops
@pytest.mark.slow
def test_backends_are_one_mathematics_and_stdout_stays_empty_with_a_cold_cache(tmp_path):
    """In a fresh process, which imports, and compiles the value and its gradient.

    geomloss keeps distances above 1e-4 in one of the two exact backends for p = 1, where multiscale is left out.
    """
    program = f"""if True:
        import json, test_sinkhorn
        results = [test_sinkhorn.value_and_gradient(*case) for case in {ON_KEOPS}]
        open({str(tmp_path / "results.json")!r}, "w").write(json.dumps(results))
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KEOPS_CACHE_FOLDER": str(tmp_path)},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for (backend, n, p), (value, gradient) in zip(ON_KEOPS, json.loads((tmp_path / "results.json").read_text()), strict=True):
        expected, theirs = value_and_gradient("tensorized", n, p)
        rel = 0.05 if backend == "multiscale" else 1e-5 if p == 2 else 1e-3
        assert value == pytest.approx(expected, rel=rel, abs=1e-5), (backend, n, p)
        assert torch.tensor(gradient).isfinite().all()
        if backend == "online" and n:
            torch.testing.assert_close(torch.tensor(gradient), torch.tensor(theirs), rtol=1e-4 if p == 2 else 1e-2, atol=1e-4)
