"""The laws of the transport divergences, over a table of them."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats
from scipy.optimize import linprog
from torch.utils._python_dispatch import TorchDispatchMode

from owae import Registry
from owae.errors import ConfigError
from owae.interfaces import Divergence
from owae.model.defaults import StandardNormal
from owae.registry.options import options_model, validated
from owae.testing import check_divergence
from owae.testing.require import seeded
from owae_transport import CramerWold, MarginalWasserstein, MaxSliced, SigReg, SlicedWasserstein
from owae_transport.lines import coupling, directions, transport
from owae_transport.normal import expected_order_statistics, slice_means, transport_to_normal
from owae_transport.projected import projected_gaussian

# The gradients of sliced costs jump where projections change places, and a difference may straddle a jump; the worst line of a
# few points moves with them, across such jumps as a rule (its gradient has a test of its own below, with more points).
TABLE = {
    "sliced": (SlicedWasserstein(), {"gradient_rtol": 0.01}),
    "sliced, few lines": (SlicedWasserstein(projections=3), {"shape": (1,)}),
    "sliced, population": (SlicedWasserstein(prior="population"), {"gradient_rtol": 0.01}),
    "marginal": (MarginalWasserstein(), {}),
    "marginal, population": (MarginalWasserstein(prior="population"), {"shape": (1,)}),
    "max-sliced": (MaxSliced(), {"gradient_rtol": math.inf}),
    "sigreg": (SigReg(), {}),
    "sigreg, population": (SigReg(prior="population", projections=16), {"shape": (1,), "closed_form_rtol": 0.25}),
    "cramer-wold": (CramerWold(), {}),
    "cramer-wold, population": (CramerWold(prior="population"), {"closed_form_rtol": 0.25, "shape": (1,)}),
    "cramer-wold, asymptotic": (CramerWold(kernel="asymptotic", gamma=1.0), {"closed_form_rtol": 2.0}),
}
everyone = pytest.mark.parametrize("divergence", [case[0] for case in TABLE.values()], ids=list(TABLE))


def gaussian_bits(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("divergence", "keywords"), TABLE.values(), ids=list(TABLE))
def test_contract(divergence, keywords):
    check_divergence(divergence, **{"shape": (2, 3)} | keywords)


@everyone
@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 9), m=st.integers(1, 9), event=st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_any_shape_gives_a_finite_scalar_and_gradient(divergence, n, m, event):
    x, y = torch.randn(n, *event, requires_grad=True), torch.randn(m, *event)
    for value in (divergence(x, y), divergence.to_prior(x, StandardNormal(tuple(event)))):
        (gradient,) = torch.autograd.grad(value, x)
        assert value.shape == ()
        assert value.isfinite()
        assert gradient.isfinite().all()


@everyone
def test_events_are_flattened(divergence):
    x, y = torch.randn(9, 12), torch.randn(7, 12)
    torch.manual_seed(0)
    flat = divergence(x, y)
    torch.manual_seed(0)
    torch.testing.assert_close(divergence(x.view(9, 3, 2, 2), y.view(7, 3, 2, 2)), flat)


@pytest.mark.parametrize("cls", [SlicedWasserstein, MarginalWasserstein, MaxSliced, CramerWold, SigReg])
def test_each_is_found_by_name(cls):
    assert Registry.discover(only=["owae-transport"]).get("divergence", cls.name) is cls


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (SlicedWasserstein, {"projections": 0}),
        (MaxSliced, {"starts": 0}),
        (MaxSliced, {"steps": -1}),
        (CramerWold, {"gamma": 0.0}),
        (SigReg, {"reach": 0.0}),
        (SigReg, {"knots": 3}),
    ],
)
def test_options_out_of_range_are_refused_by_config_and_constructor(cls, options):
    assert validated(options_model(cls), options)[1]
    with pytest.raises(ConfigError):
        cls(**options)


# Transport on lines


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 5), (2, 3), (7, 4), (1, 6), (6, 9)])
def test_transport_on_a_line_is_that_of_the_linear_program(n, m):
    x, y = gaussian_bits(n, 1), gaussian_bits(m, 1, seed=1)
    cost = (x - y.T).square()
    rows = torch.kron(torch.eye(n), torch.ones(1, m))
    columns = torch.kron(torch.ones(1, n), torch.eye(m))
    masses = torch.cat([torch.full((n,), 1 / n), torch.full((m,), 1 / m)])
    plan = linprog(cost.flatten().numpy(), A_eq=torch.cat([rows, columns]).numpy(), b_eq=masses.numpy())
    assert transport(x, y).item() == pytest.approx(plan.fun, rel=1e-5)


@given(n=st.integers(1, 60), m=st.integers(1, 60))
def test_a_coupling_moves_each_point_s_mass_once(n, m):
    i, j, mass = coupling(n, m, torch.zeros(()))
    assert (mass >= 0).all()
    torch.testing.assert_close(torch.zeros(n).index_add_(0, i, mass), torch.full((n,), 1 / n))
    torch.testing.assert_close(torch.zeros(m).index_add_(0, j, mass), torch.full((m,), 1 / m))


@given(dimension=st.integers(1, 9), count=st.integers(1, 40))
def test_directions_are_unit_vectors_orthogonal_in_blocks(dimension, count):
    lines = directions(dimension, count, torch.zeros((), dtype=torch.float64))
    assert lines.shape == (dimension, count)
    block = lines[:, :dimension]
    torch.testing.assert_close(block.T @ block, torch.eye(block.shape[1], dtype=torch.float64))
    torch.testing.assert_close(lines.norm(dim=0), torch.ones(count, dtype=torch.float64))


# Oracles


@pytest.mark.parametrize(("n", "m"), [(50, 50), (20, 60)])
def test_a_translation_has_its_closed_form(n, m):
    """‖t‖²/d for the means over lines, ‖t‖² for the worst; with every point of x thrice in y where m = 3n."""
    x, t = gaussian_bits(n, 4), torch.tensor([3.0, 0.0, 4.0, 0.0], dtype=torch.float64)
    y = x.repeat(m // n, 1) + t
    assert SlicedWasserstein(projections=8)(x, y).item() == pytest.approx(25 / 4)
    assert MarginalWasserstein()(x, y).item() == pytest.approx(25 / 4)
    assert MaxSliced()(x, y).item() == pytest.approx(25)


def normal_quantiles(n):
    return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]


@pytest.mark.parametrize("divergence", [SlicedWasserstein(), MarginalWasserstein(), MaxSliced()], ids=lambda d: d.name)
def test_gaussians_on_a_line_have_their_closed_form(divergence):
    """W₂²(N(0, 1), N(1, 9)) = 1 + (3 − 1)²."""
    q = normal_quantiles(4000)
    assert divergence(q, 1 + 3 * q).item() == pytest.approx(5, rel=5e-3)


@pytest.mark.parametrize("divergence", [SlicedWasserstein(prior="population"), MarginalWasserstein(prior="population")])
def test_gaussians_against_the_prior_have_their_closed_form(divergence):
    assert divergence.to_prior(1 + 3 * normal_quantiles(4000), StandardNormal((1,))).item() == pytest.approx(5, rel=5e-3)


def test_the_worst_line_is_found_among_many():
    """Spreads 1 and 3 along one skew line, 1 and 1 across it: (3 − 1)² there."""
    x, line = gaussian_bits(2000, 10), torch.nn.functional.normalize(torch.ones(10, dtype=torch.float64), dim=0)
    y = gaussian_bits(2000, 10, seed=1)
    y = y + 2 * (y @ line)[:, None] * line
    assert MaxSliced()(x, y).item() == pytest.approx(4, rel=0.1)


def test_the_worst_line_s_gradient_is_that_along_it():
    x, y = gaussian_bits(200, 3).requires_grad_(), 1 + 2 * gaussian_bits(150, 3, seed=1)
    direction = gaussian_bits(200, 3, seed=2)
    divergence = seeded()(MaxSliced(steps=50))  # the same starts each time
    (gradient,) = torch.autograd.grad(divergence(x, y), x)
    with torch.no_grad():
        up, down = (divergence(x + step * direction, y) for step in (1e-4, -1e-4))
    assert (gradient * direction).sum().item() == pytest.approx((up - down).item() / 2e-4, rel=0.05)


def density_overlap(a, b, gamma):
    """∫ of the product of the two smoothed densities of points on a line, by quadrature."""

    def density(points, t):
        return stats.norm.pdf(t, points, math.sqrt(gamma)).mean()

    return integrate.quad(lambda t: density(a, t) * density(b, t), -15, 15, limit=400, epsabs=1e-12)[0]


def test_cramer_wold_on_a_line_is_its_definition():
    x, y, gamma = gaussian_bits(5, 1), 1 + gaussian_bits(4, 1, seed=1), 0.3
    a, b = x[:, 0].numpy(), y[:, 0].numpy()
    expected = density_overlap(a, a, gamma) + density_overlap(b, b, gamma) - 2 * density_overlap(a, b, gamma)
    assert CramerWold(gamma=gamma)(x, y).item() == pytest.approx(expected, rel=1e-8)


def test_cramer_wold_is_the_mean_over_lines_of_that_on_a_line():
    x, y = gaussian_bits(6, 3), 1 + gaussian_bits(5, 3, seed=1)
    turns = directions(3, 30_000, x)
    divergence, on_lines = CramerWold(gamma=0.5), 0.0
    for p, q, sign in ((x, x, 1), (y, y, 1), (x, y, -2)):
        gaps = ((p[:, None] - q).flatten(0, 1) @ turns).square()
        on_lines += sign * (-gaps / (4 * 0.5)).exp().mean().item() / math.sqrt(4 * math.pi * 0.5)
    assert divergence(x, y).item() == pytest.approx(on_lines, rel=0.01)


def test_cramer_wold_to_the_prior_is_the_published_formula():
    """Knop et al. 2020 with the asymptotic kernel, written out."""
    x, d, gamma = gaussian_bits(7, 20), 20, (4 / 21) ** 0.4

    def phi(s):
        return (1 + 4 * s / (2 * d - 3)) ** -0.5

    pairs = torch.cdist(x, x).square()
    expected = (
        phi(pairs / (4 * gamma)).mean() / gamma**0.5
        + (1 + gamma) ** -0.5
        - 2 * (phi(x.square().sum(1) / (2 + 4 * gamma)) / (gamma + 0.5) ** 0.5).mean()
    ) / (2 * math.sqrt(math.pi))
    value = CramerWold(kernel="asymptotic", prior="population").to_prior(x, StandardNormal((20,)).double())
    torch.testing.assert_close(value, expected)


def test_the_two_meanings_of_the_prior_differ_by_a_constant_in_cramer_wold():
    x, prior = gaussian_bits(9, 3).requires_grad_(), StandardNormal((3,)).double()
    grads = [torch.autograd.grad(CramerWold(prior=p).to_prior(x, prior), x)[0] for p in ("expected", "population")]
    torch.testing.assert_close(*grads)
    gamma = (4 / 27) ** 0.4
    gap = CramerWold(prior="expected").to_prior(x, prior) - CramerWold(prior="population").to_prior(x, prior)
    assert gap.item() == pytest.approx((gamma**-0.5 - (1 + gamma) ** -0.5) / (2 * math.sqrt(math.pi) * 9))


@pytest.mark.parametrize(
    "divergence", [SlicedWasserstein(projections=9), MarginalWasserstein(), CramerWold()], ids=lambda d: d.name
)
@pytest.mark.parametrize("n", [2, pytest.param(7, marks=pytest.mark.slow)])
def test_no_draws_leave_the_mean_where_it_was_for_few_samples_too(divergence, n):
    x, prior = gaussian_bits(n, 3) + 0.5, StandardNormal((3,)).double()
    closed = torch.stack([divergence.to_prior(x, prior) for _ in range(50)])
    drawn = torch.stack([Divergence.to_prior(divergence, x, prior) for _ in range(500)])
    error = (closed.var() / 50 + drawn.var() / 500).sqrt().item()
    assert closed.mean().item() == pytest.approx(drawn.mean().item(), abs=4 * error)


# Tables and functions


@pytest.mark.parametrize(
    ("n", "i"), [(1, 1), (2, 1), (10, 1), (10, 4), (1000, 1), (1000, 500), pytest.param(100_000, 31_000, marks=pytest.mark.slow)]
)
def test_expected_order_statistics_by_quadrature(n, i):
    def integrand(u):
        return special.ndtri(u) * stats.beta.pdf(u, i, n - i + 1)

    cuts = special.betaincinv(i, n - i + 1, [1e-14, 1e-6, 0.01, 0.5, 0.99, 1 - 1e-6, 1 - 1e-14]).tolist()
    expected = sum(integrate.quad(integrand, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(cuts))
    assert expected_order_statistics(n)[i - 1] == pytest.approx(expected, abs=2e-9)


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_slices_are_the_exact_cost_against_the_normal(n):
    x = gaussian_bits(n, 1).sort(0).values
    edges = [-40.0, *special.ndtri([k / n for k in range(1, n)]), 40.0]
    if n <= 7:
        expected = sum(
            integrate.quad(lambda t, p=p: (t - p) ** 2 * stats.norm.pdf(t), max(a, -12), min(b, 12))[0]
            for p, a, b in zip(x[:, 0].tolist(), edges, edges[1:], strict=False)
        )
        assert transport_to_normal(x, "population").item() == pytest.approx(expected, rel=1e-7)
    assert slice_means(n).sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 7, 16, 100, 1000, 8192])
def test_the_projected_gaussian_is_kummer_s_function(dimension):
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-6)):
        s = torch.tensor([0.0, 1e-6, 0.1, 1.0, 3.0, 30.0, 1e3, 1e6], dtype=dtype)
        expected = torch.from_numpy(special.hyp1f1(0.5, dimension / 2, -s.double().numpy()))
        torch.testing.assert_close(projected_gaussian(s, dimension, exact=True).double(), expected, rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 3, 8, 500])
def test_the_projected_gaussian_has_its_derivative(dimension):
    s = torch.tensor([1e-3, 0.5, 4.0, 60.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: projected_gaussian(s, dimension, exact=True), s, rtol=1e-5)


@pytest.mark.parametrize(("dimension", "off"), [(2, 0.31), (8, 0.031), (32, 0.0063), (1000, 2e-4)])
def test_the_asymptotic_kernel_is_the_limit_of_many_dimensions(dimension, off):
    s = torch.logspace(-3, 7, 500, dtype=torch.float64)
    exact, asymptotic = (projected_gaussian(s, dimension, exact=exact) for exact in (True, False))
    assert off / 2 < (asymptotic / exact - 1).abs().max() < off


# What a step must not do


@everyone
def test_no_float64_is_made_from_float32(divergence):
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            assert not (isinstance(result, torch.Tensor) and result.dtype == torch.float64), function
            return result

    x = torch.randn(37, 5, requires_grad=True)
    with Watch():
        (divergence(x, torch.randn(23, 5)) + divergence.to_prior(x, StandardNormal((5,)))).backward()
