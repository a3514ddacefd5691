"""Layers for owae: multilayer perceptron and residual network of the paper's experiments (App. B), convolutional network."""

from owae.hooks import hookimpl
from owae_layers.convolutional import Convolutional
from owae_layers.mlp import MLP
from owae_layers.resnet import ResNet


@hookimpl
def owae_components() -> list[type]:
    return [MLP, ResNet, Convolutional]
