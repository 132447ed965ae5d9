"""Checkpoint → folder in the layout of model hubs: model.safetensors, config.json, and README.md, the model card.

The folder is itself a checkpoint: config.json has all fields of checkpoint.json, and those that hubs read. Nothing is
uploaded.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from xxact_core.checkpoint import (
    HUB_DESCRIPTION,
    MODEL_TYPE,
    WEIGHTS,
    describe_checkpoint,
    load_checkpoint,
)
from xxact_core.errors import CheckpointError, shorten
from xxact_core.evaluation.summary import BASELINES, SUMMARY, summarise
from xxact_core.json_digest import with_digest
from xxact_core.quantities import TARGETS
from xxact_core.stored_names import rename_tensors

CARD = "README.md"
LICENSE = "bsd-3-clause"
"""License of the shipped models, as hubs name it."""

TAGS = ("materials-science", "crystallography", "powder-diffraction", "x-ray-diffraction", "xrd")

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""License and name as hubs accept them."""

_TASKS = {
    "formation_energy_mae_mev": ("tabular-regression", "mae"),
    "band_gap_mae_ev": ("tabular-regression", "mae"),
    "crystal_system_accuracy": ("tabular-classification", "accuracy"),
    "space_group_accuracy": ("tabular-classification", "accuracy"),
}
"""Metric of `SUMMARY` that the metadata state → task and metric as hubs name them."""


def export_checkpoint(model: Path, folder: Path, *, name: str | None = None, license_name: str = LICENSE) -> Path:
    """Write a checkpoint in the layout of model hubs to a new folder.

    Args:
        model: folder of the checkpoint.
        folder: is made; its parent must exist.
        name: of the model; by default the name of the folder.
        license_name: identifier of the license, such as `bsd-3-clause` or `cc-by-4.0`.

    Returns:
        The folder.

    Raises:
        CheckpointError: the checkpoint is damaged, the folder exists, or name or license are none that hubs accept.
    """
    chosen = folder.resolve().name if name is None else name
    for what, value, pattern in (("name", chosen, _NAME), ("license", license_name, _LICENSE)):
        if not pattern.fullmatch(value):
            msg = f"the {what} {shorten(value)!r} is none that model hubs accept; expected letters, digits and .-_"
            raise CheckpointError(msg, code="E_CHECKPOINT")
    if folder.exists():
        msg = f"{folder} exists already; choose another folder"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    load_checkpoint(model)  # checks weights and fields
    description = describe_checkpoint(model)
    tensors = rename_tensors(load_file(model / WEIGHTS))
    content = save(tensors, metadata={"format": "pt"})  # hubs read the framework from it
    dtypes = {str(value.dtype).removeprefix("torch.") for value in tensors.values() if value.is_floating_point()}
    config = {
        "architectures": ["Xxact"],
        "library_name": MODEL_TYPE,
        "model_type": MODEL_TYPE,
        "torch_dtype": dtypes.pop() if len(dtypes) == 1 else "float32",
        **description,
        "weights_sha256": hashlib.sha256(content).hexdigest(),
    }
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        (part / WEIGHTS).write_bytes(content)
        text = json.dumps(with_digest(config), indent=1, ensure_ascii=False)
        (part / HUB_DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        (part / CARD).write_text(model_card(description, name=chosen, license_name=license_name), encoding="utf-8")
        part.replace(folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder


def model_card(description: Mapping[str, Any], *, name: str, license_name: str) -> str:
    """The text of README.md: metadata in YAML, and what the model is, how it was trained and how well it predicts."""
    about = description["about"]
    targets = [TARGETS[target] for target in description["model"]["targets"] if target in TARGETS]
    quantities = ", ".join(f"{target.label.lower()}{f' [{target.unit}]' if target.unit else ''}" for target in targets)
    trained = "targets" in about.get("recipe", {}).get("objectives", ("targets",))
    metrics = {short: value for short, value in _summary(about).items() if value is not None}
    elements = " ".join(map(str, about.get("elements", ()))) or "not stated"
    return f"""---
{_front_matter(metrics, name=name, license_name=license_name)}
---

# {name}

A model of XxaCT, which follows XxaCT-NN (Subramanian et al. 2025, *Structure Agnostic Multimodal Learning for Materials
Science*). It reads a powder X-ray diffraction pattern and the composition of a material, or one of the two; no crystal
structure is needed.

{f"It predicts: {quantities}." if trained else "It was pretrained without targets; fine-tune it before use."}

## Use

XxaCT reads the folder as it is:

```sh
xxact predict FILE --formula Al2O3 --model {name}
```

```python
from pathlib import Path

from xxact_core import Predictor, read_pattern

predictor = Predictor.load(Path("{name}"))
prediction = predictor.predict(read_pattern("FILE", wavelength="CuKa"), "Al2O3")
```

Patterns of other ranges and wavelengths are converted to 2θ 5-90° at Cu Kα. Probabilities, 90 % intervals and
prediction sets are calibrated on the validation split.

## Training

{_table(("", ""), _training_rows(about))}

## Evaluation

{_evaluation(metrics, about)}

## Limits

Predictions are as good as the labels of the training materials. Mixtures, amorphous specimens and elements that the
training materials lack are outside of the domain of the model; predictions far from it are marked as doubtful.

Elements in the training materials: {elements}.

## Files

`{WEIGHTS}` holds the weights, `{HUB_DESCRIPTION}` the architecture, recipe, calibration and metrics, with the
SHA-256 of both. A file that was changed is refused.
"""


def _summary(about: Mapping[str, Any]) -> dict[str, float | None]:
    return summarise(about.get("test_metrics", {}), about.get("test_metrics_distorted"))


def _front_matter(metrics: Mapping[str, float], *, name: str, license_name: str) -> str:
    """Metadata in YAML. Texts are written as in JSON, which YAML reads."""
    lines = [
        f"license: {license_name}",
        f"library_name: {MODEL_TYPE}",
        "tags:",
        *(f"- {tag}" for tag in TAGS),
    ]
    results = [(short, value) for short, value in metrics.items() if short in _TASKS]
    if results:
        lines += ["model-index:", f"- name: {json.dumps(name)}", "  results:"]
    for short, value in results:
        task, metric = _TASKS[short]
        lines += [
            "  - task:",
            f"      type: {task}",
            "    dataset:",
            "      name: test split by reduced formula",
            "      type: powder-diffraction",
            "    metrics:",
            f"    - type: {metric}",
            f"      name: {json.dumps(SUMMARY[short][1], ensure_ascii=False)}",
            f"      value: {value:.6g}",
        ]
    return "\n".join(lines)


def _training_rows(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = {
        "recipe": about.get("recipe", {}).get("name"),
        "parameters": about.get("parameters"),
        "training materials": about.get("training_materials"),
        "SHA-256 of the dataset": about.get("data_digest"),
        "seed": about.get("seed"),
        "torch": about.get("torch"),
    }
    return [
        (label, f"{value:,}" if isinstance(value, int) and label != "seed" else _cell(value))
        for label, value in facts.items()
        if value is not None
    ]


def _evaluation(metrics: Mapping[str, float], about: Mapping[str, Any]) -> str:
    """Metrics of the test split beside those of the baselines; what was not measured is left out."""
    if not metrics:
        return "Not evaluated on a test split."
    baselines = {
        BASELINES.get(str(name), str(name)): summarise(values)
        for name, values in dict(about.get("baselines", {})).items()
    }
    rows = []
    for short, value in metrics.items():
        _, label, digits = SUMMARY[short]
        others = [row[short] for row in baselines.values()]
        rows.append((label, f"{value:.{digits}f}", *("" if v is None else f"{v:.{digits}f}" for v in others)))
    table = _table(("metric", "this model", *baselines), rows)
    return f"On the test split, which shares no reduced formula with the training materials:\n\n{table}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in lines)


def _cell(value: object) -> str:
    """Text of a table cell, on one line and without marks that end it."""
    return " ".join(str(value).split()).replace("|", "/")
