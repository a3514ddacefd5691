"""Turns nested tensors and plain values into one dictionary of tensors and one JSON text, and back; no pickle.

`safetensors` holds tensors under flat names and JSON can hold the rest, except that JSON knows neither tuples nor keys that are
not strings; those are marked by a one-key object.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor

_TENSOR, _TUPLE, _ITEMS = "__tensor__", "__tuple__", "__items__"


def flatten(tree: dict[str, Any]) -> tuple[dict[str, Tensor], str]:
    """Splits nested values into tensors by path (`model/levels.0…`) and the rest as JSON; `TypeError` names the path of any other value.

    >>> tensors, rest = flatten({"a": torch.ones(2), "b": {0: (1, 2.5)}})
    >>> sorted(tensors), rest
    (['a'], '{"a": {"__tensor__": "a"}, "b": {"__items__": [[0, {"__tuple__": [1, 2.5]}]]}}')
    >>> unflatten(tensors, rest)["b"]
    {0: (1, 2.5)}
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_plain(tree, "", tensors))
    # A file cannot hold two names for one memory (tied parameters): a second name gets a copy.
    seen: set[int] = set()
    for path, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        if memory in seen:
            tensors[path] = tensor.clone()
        seen.add(memory)
    return tensors, text


def unflatten(tensors: dict[str, Tensor], text: str) -> dict[str, Any]:
    """Rebuilds what `flatten` took apart; `KeyError` with the path of a missing tensor, `ValueError` if the text is not JSON."""
    return _tree(json.loads(text), tensors)


def _plain(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().to("cpu").contiguous()
        return {_TENSOR: path}
    if isinstance(value, dict):
        inside = {key: _plain(item, f"{path}/{key}" if path else str(key), tensors) for key, item in value.items()}
        return inside if all(isinstance(key, str) for key in value) else {_ITEMS: list(inside.items())}
    if isinstance(value, (list, tuple)):
        items = [_plain(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {_TUPLE: items}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"{path} is a {type(value).__name__}, which no checkpoint can hold; tensors, numbers, strings and their lists work"
    )


def _tree(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_tree(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"__tensor__": path}:
            return tensors[path]
        case {"__tuple__": items}:
            return tuple(_tree(item, tensors) for item in items)
        case {"__items__": items}:
            return {key: _tree(item, tensors) for key, item in items}
        case _:
            return {key: _tree(item, tensors) for key, item in value.items()}


def digest(tensors: dict[str, Tensor], text: str) -> str:
    """Hashes flattened values, to tell an altered file from a whole one."""
    state = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        state.update(f"{name}:{tensors[name].dtype}:{tuple(tensors[name].shape)}".encode())
        state.update(tensors[name].reshape(-1).view(torch.uint8).numpy())  # pyright: ignore[reportArgumentType] # an array is a buffer
    return state.hexdigest()
