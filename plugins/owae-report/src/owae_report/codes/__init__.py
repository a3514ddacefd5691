"""Codes of any data for use elsewhere, and how unlike the training data examples are.

Start reading at `encode.py`; `own_data.py` opens what a user names, `writers.py` writes tables of any length in constant memory.
"""
