"""The terms of the evidence lower bound for owae: a Markov hierarchical VAE as a stack."""

from owae.hooks import hookimpl
from owae_elbo.terms import CrossEntropy, Entropy, GaussianNLL


@hookimpl
def owae_components() -> list[type]:
    return [GaussianNLL, Entropy, CrossEntropy]
