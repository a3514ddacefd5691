"""What a trained stack shows: `owae sample`, `reconstruct`, `traverse` and `figures`, and the pictures that training draws.

What is computed and what is drawn stand apart: `events`, `embeddings` and `interpolate` give arrays, and `figure_data` collects a run's;
`blocks` lays pictures out, which `grids` draws, and `scatter` draws points, both in the house style of `style`; `figures` knows the
names and which figure shows what. `evaluation` measures levels and samples. `cli` has the commands, `observer` the pictures of a training.
"""
