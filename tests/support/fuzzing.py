"""Configs with something wrong in them, and what owae says to them: strategies of Hypothesis, and the budget of a fuzz.

`OWAE_FUZZ=5000` tries 5,000 inputs in each test; a few are tried by default.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

BUDGET = int(os.environ.get("OWAE_FUZZ", "0"))

Place = tuple[str | int, ...]


def fuzz(few: int) -> Any:
    """Settings of a test that tries `few` inputs, always the same, unless the environment asks for more, which are drawn anew."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    phases = (Phase.explicit, Phase.generate, Phase.shrink)
    return settings(
        max_examples=BUDGET or few,
        derandomize=not BUDGET,
        deadline=None,
        database=None,
        suppress_health_check=checks,
        phases=phases,
    )


# Sizes that a machine could just hold would only measure the machine: they are small, or beyond any.
_NUMBERS = [
    -(2**63),
    -(2**31),
    -3,
    -2,
    -1,
    0,
    1,
    2,
    3,
    4,
    7,
    16,
    17,
    63,
    64,
    65,
    2**40,
    2**53,
    2**62,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
]
_FLOATS = [
    float("nan"),
    float("inf"),
    -float("inf"),
    -0.0,
    0.0,
    1e-320,
    1e-300,
    1e-12,
    0.1,
    0.5,
    0.999,
    1.0,
    1.5,
    2.0,
    1e6,
    1e30,
    1e308,
]
_WORDS = [
    *[
        "",
        " ",
        "a",
        "adam",
        "Adam",
        "SGD",
        "mlp",
        "resnet",
        "mmd",
        "sinkhorn",
        "power",
        "auto",
        "cpu",
        "cuda",
        "meta",
        "mean",
        "data",
    ],
    *["/", "~", ".", "$HOME", "$NO", "/dev/null", "/dev/zero", "images.npz", "n\u0000", "\U0001f600", "x" * 300],
    *["validation/loss", "True", "1e-3", "nan", "__class__", "__init__", "Optimizer", "LBFGS", "SparseAdam", "ReduceLROnPlateau"],
    *["tanh", "sigmoid", "deterministic", "gaussian", "16-mixed", "bf16-mixed", "64", "min", "max", "hwc", "chw", "csv", "best"],
]

_plain = (
    st.sampled_from(_NUMBERS)
    | st.sampled_from(_FLOATS)
    | st.booleans()
    | st.sampled_from(_WORDS)
    | st.text(max_size=6)
    | st.sampled_from([date(2024, 2, 29), time(1, 2, 3), datetime(2024, 2, 29, 1, 2, 3)])
)
_keys = st.sampled_from(["kind", "name", "lr", "rule", "base", "metric", "path", "latent", "depth"]) | st.text(
    min_size=1, max_size=6
)
values = st.recursive(_plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=5)


def places(config: Any, at: Place = ()) -> Iterator[Place]:
    """Every place of a config, tables and arrays as well as what is in them."""
    if at:
        yield at
    for key, value in config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ():
        yield from places(value, (*at, key))


def changed(config: dict[str, Any], place: Place, change: str, value: Any) -> dict[str, Any]:
    """A config with the value at a place replaced or removed, or with a further key beside it."""
    new = copy.deepcopy(config)
    holder: Any = new
    for key in place[:-1]:
        holder = holder[key]
    last: Any = place[-1]
    if change == "remove":
        del holder[last]
    elif change == "add" and isinstance(holder, dict):
        holder[value if isinstance(value, str) and value else "extra"] = value
    elif change == "double" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    else:
        holder[last] = value
    return new


def value_at(config: Any, place: Place) -> Any:
    for key in place:
        config = config[key]
    return config


def _like(value: Any) -> st.SearchStrategy[Any]:
    """Values of the same type as one."""
    if isinstance(value, bool) or value is None:
        return st.booleans()
    if isinstance(value, int):
        return st.sampled_from(_NUMBERS)
    if isinstance(value, float):
        return st.sampled_from(_FLOATS)
    if isinstance(value, str):
        return st.sampled_from(_WORDS)
    if isinstance(value, list) and value:
        return st.lists(_like(value[0]), max_size=4)
    return values


@st.composite
def mistaken(draw: Any, configs: list[dict[str, Any]]) -> dict[str, Any]:
    """One of the configs with one change, or with two."""
    config = draw(st.sampled_from(configs))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        found = list(places(config))
        if not found:
            break
        change = draw(st.sampled_from(["replace", "replace", "replace", "replace", "remove", "add", "double"]))
        place = draw(st.sampled_from(found))
        # Half of the values are of the right type: those are refused last, or not at all.
        config = changed(config, place, change, draw(_like(value_at(config, place)) | values))
    return config


def write(config: dict[str, Any], path: Path) -> None:
    path.write_bytes(tomli_w.dumps(config).encode("utf-8", errors="surrogatepass"))
