"""`owae figures`: all that the paper shows of a model, of any depth and any shape, as PNG and PDF.

What is computed and what is drawn stand apart: `embeddings` and `interpolate` give arrays and `subject` collects a run's; `sheets`
and `scatter` draw such arrays in the house style of `style`; `figures` knows the names and which figure shows what.
"""
