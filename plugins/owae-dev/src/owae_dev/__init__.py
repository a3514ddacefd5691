"""Commands for people who extend owae: list, write and check plugins, look at an installation, describe configs to editors.

Start reading at `cli/plugins.py`.
"""
