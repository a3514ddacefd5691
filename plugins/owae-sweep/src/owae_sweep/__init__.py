"""Searches over the settings of a config: grids, random and model-based samplers, one worker or many.

A config's `[sweep]` table says what varies and what is measured (`space`). The state of a sweep is an Optuna study in a database
(`search`), to which any number of workers of any number of machines come for points (`worker`). Each point and seed is an ordinary
run folder, trained as `owae train` would (`trial`). `owae sweep` starts and resumes, `owae sweep show` tells and draws (`show`).
"""
