"""A model card: README.md with YAML front matter, as the Hugging Face Hub reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tomli_w

from owae.run.opened import Run

METRICS = {"kid": "KID", "frechet": "Fréchet distance", "precision": "precision", "recall": "recall", "density": "density"}


def model_card(run: Run, config: Mapping[str, Any], info: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> str:
    """Writes what the model is, what it was trained on, how it scored and what it is not for."""
    shape = "×".join(map(str, info["shape"]))
    picture = len(info["shape"]) in (2, 3)
    front = {
        "library_name": "owae",
        "tags": ["owae", "stacked-wasserstein-autoencoder", "autoencoder", *(["image-generation"] if picture else [])],
        **({"pipeline_tag": "unconditional-image-generation"} if picture else {}),
    }
    # JSON strings and lists are YAML, too.
    yaml = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items())
    levels = [f"| z_{i} | {layer.name} | {'×'.join(map(str, layer.latent_shape))} |" for i, layer in enumerate(run.model.layers, 1)]
    parameters = sum(each.numel() for each in run.model.parameters())
    data = {key: value for key, value in config["data"].items() if value is not None}
    classes = "" if not info["class_names"] else f" Classes: {', '.join(info['class_names'])}."
    parts = [
        f"---\n{yaml}\n---",
        f"# {run.folder.absolute().name}",
        f"A deep-latent hierarchy of {run.model.depth} levels, trained by stacking Wasserstein autoencoders with "
        f"[owae](https://arxiv.org/abs/2010.03467): {parameters:,} parameters, {run.epoch} epochs, {run.step} steps.",
        '```python\nimport owae\n\nmodel = owae.load("FOLDER")   # or "hub:USER/NAME"\nimages = model.sample(16)\n'
        "codes = model.encode(images)   # z_1 … z_N\n```",
        "## Data",
        f"Examples of shape {shape} with values from {info['value_range'][0]:g} to {info['value_range'][1]:g}.{classes}",
        f"```toml\n{tomli_w.dumps({'data': data})}```",
        "## Levels",
        "\n".join(["| level | layer | shape |", "|---|---|---|", *levels]),
        f"The divergence ({config['divergence']['kind']}) compares z_{run.model.matched_level} with its prior. "
        "The whole config is `config.toml`.",
        "## Scores",
        *(_scores(evaluation) if evaluation is not None else ["This model was exported without an evaluation."]),
        "## Limits",
        "The model knows its training data alone; examples of another kind are encoded to something all the same. Samples may resemble "
        "training examples. Scores compare with others of the same data, split, number of samples and extractor, and with nothing else.",
    ]
    return "\n\n".join(parts) + "\n"


def _scores(found: Mapping[str, Any]) -> list[str]:
    lines = []
    samples = found.get("samples")
    if samples:
        rows = ["| number | extractor | value | s.d. over seeds | floor | n |", "|---|---|---|---|---|---|"]
        for name, each in samples["extractors"].items():
            for metric, title in METRICS.items():
                number = each.get(metric)
                if number and number["value"] is not None:
                    shown = [_plain(number[key]) for key in ("value", "deviation", "floor")]
                    hashed = f" ({each['hash']})" if each.get("hash") else ""
                    rows.append(f"| {title} | {name}{hashed} | {' | '.join(shown)} | {each['n']} |")
        lines += [
            "\n".join(rows),
            f"Samples of {len(samples['seeds'])} seeds against {samples['held_out']} held-out examples; floor: training examples in the "
            "samples' place.",
        ]
    rows = ["| level | squared error | accuracy of nearest neighbours | linear probe |", "|---|---|---|---|"]
    for level in found["levels"]:
        rows.append(f"| z_{level['level']} | {' | '.join(_plain(level.get(key)) for key in ('error', 'accuracy', 'probe'))} |")
    lines += ["\n".join(rows), f"Means over {found['test']} held-out examples; {found['neighbours']} neighbours vote."]
    if samples:
        lines += [f"Warning: {warning}." for warning in samples["warnings"]]
    return lines


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
