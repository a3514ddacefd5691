"""Measures of a trained stack on held-out data, in three blocks: its levels, its samples, and whether it repeats its training examples.

Start reading at `whole.py`: `judge`. Formulas stand apart from models: `distances`, `codes`, `generalisation` and `look` take matrices;
`extractors`, `classifier` and `networks` make features of examples; `scores`, `levels`, `shares` and `samples` use the stack.
"""
