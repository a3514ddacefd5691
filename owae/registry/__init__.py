"""Components by name: what is installed, whose it is, and the options that its constructor takes.

May import: errors, hooks, interfaces, model.
Start reading at `registry.py`: `Registry.discover` and `Registry.get`.
"""
