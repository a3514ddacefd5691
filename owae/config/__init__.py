"""Configs: TOML to a checked `Config`, and from that to a stack and its data.

May import: everything up to registry.
Start reading at `config.py`: `Config.load`; then `build.py`: `build`.
"""
