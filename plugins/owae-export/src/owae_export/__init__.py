"""Trained stacks to take away: `owae export`, `owae.load`, the Hugging Face Hub and ONNX.

`folder` writes and opens a folder, `card` its README, `hub` sends and fetches it, `onnx` writes encoder and sampler for other programs.
"""
