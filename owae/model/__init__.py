"""The engine: the recursion of Eq. 14 over a flat list of levels, what it gives, and using a trained stack.

May import: the files of owae itself.
Start reading at `stack.py`: `Stack.forward` is the recursion; `objective.py` is its result.
"""
