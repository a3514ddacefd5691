"""Ground costs for owae, beside those of the core: l1, Huber, Bernoulli, SSIM, the features of a network, and those of counts."""

from owae.hooks import hookimpl
from owae_costs.absolute import L1
from owae_costs.bernoulli import Bernoulli
from owae_costs.counts import NegativeBinomial, Poisson
from owae_costs.huber import Huber
from owae_costs.perceptual import Perceptual
from owae_costs.ssim import Ssim


@hookimpl
def owae_components() -> list[type]:
    return [L1, Huber, Bernoulli, Ssim, Perceptual, Poisson, NegativeBinomial]
