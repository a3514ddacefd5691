"""Examples on their way to a model: sources made from tensors or parts of others, and batches in a seeded order.

May import: the files of owae itself, model.
Start reading at `sources.py`: what a source gives; then `loader.py`: the order of an epoch.
"""
