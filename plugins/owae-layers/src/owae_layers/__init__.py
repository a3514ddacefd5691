"""Layers for owae: the multilayer perceptron and the residual network of the paper's experiments (App. B)."""

from owae.hooks import hookimpl
from owae_layers.mlp import MLP
from owae_layers.resnet import ResNet


@hookimpl
def owae_components() -> list[type]:
    return [MLP, ResNet]
