"""The plain torch training loop that `benchmarks/speed/training.py` compares with; not a script.

It has torch's own `nn.TransformerEncoder` and `nn.TransformerDecoder` with our weights, a `Dataset` that reads one
pattern at a time from HDF5, a `DataLoader`, and `AdamW` with its defaults.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import StickTable
from xxact_core.model.attention import Attention, DecoderLayer
from xxact_core.model.config import BlockSizes
from xxact_core.model.inputs import ModelInput
from xxact_core.model.xxact import Xxact
from xxact_core.objectives.targets import target_losses, to_z_scores
from xxact_core.patterns.grid import GRID
from xxact_core.training.run import Run

CPU = torch.device("cpu")


class PatternFile(Dataset):
    """Patterns in an HDF5 file, read one at a time; the other data of a material are in memory."""

    def __init__(self, file: Path, table: StickTable, place: dict[int, int]) -> None:
        self.patterns = h5py.File(file)["intensity"]
        self.table, self.place = table, place

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor, dict[str, float]]:
        """Pattern, elements, fractions and targets of a row of the dataset."""
        elements = slice(*self.table.element_start[row : row + 2])
        return (
            torch.from_numpy(self.patterns[self.place[row]]),
            torch.from_numpy(self.table.atomic_number[elements].astype(np.int64)),
            torch.from_numpy(self.table.fraction[elements]),
            {name: float(values[row]) for name, values in self.table.targets.items()},
        )


def pad(materials: list) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Collate materials to a batch, with compositions padded to the longest."""
    patterns, numbers, fractions, targets = zip(*materials, strict=True)
    return (
        torch.stack(patterns),
        nn.utils.rnn.pad_sequence(numbers, batch_first=True),
        nn.utils.rnn.pad_sequence(fractions, batch_first=True),
        {name: torch.tensor([of_one[name] for of_one in targets]) for name in targets[0]},
    )


class TorchEncoder(nn.Module):
    """torch's encoder in place of our layers, with their weights."""

    def __init__(self, layers: nn.ModuleList, sizes: BlockSizes) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            sizes.width, sizes.heads, sizes.feedforward, sizes.dropout, batch_first=True
        )  # fmt: skip
        self.stack = nn.TransformerEncoder(layer, sizes.depth, enable_nested_tensor=False)
        for theirs, ours in zip(self.stack.layers, layers, strict=True):
            copy_attention(ours.attention, theirs.self_attn)
            copy_rest(ours, theirs, [ours.attention_norm, ours.feedforward_norm])

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """Same signature as our layers."""
        return self.stack(tokens, src_key_padding_mask=None if present is None else ~present)


class TorchDecoder(nn.Module):
    """torch's decoder in place of our layers, with their weights."""

    def __init__(self, layers: nn.ModuleList, sizes: BlockSizes) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(
            sizes.width, sizes.heads, sizes.feedforward, sizes.dropout, batch_first=True
        )  # fmt: skip
        self.stack = nn.TransformerDecoder(layer, sizes.depth)
        for theirs, ours in zip(self.stack.layers, layers, strict=True):
            copy_attention(ours.self_attention, theirs.self_attn)
            copy_attention(ours.cross_attention, theirs.multihead_attn)
            copy_rest(ours, theirs, [ours.self_norm, ours.cross_norm, ours.feedforward_norm])

    def forward(self, tokens: Tensor, context: Tensor, present: Tensor, *, cls_only: bool) -> Tensor:  # noqa: ARG002 - torch's decoder gives all tokens
        """Same signature as our layers."""
        return self.stack(tokens, context, memory_key_padding_mask=~present)


@torch.no_grad()
def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    """Copy our attention weights to torch's packed layout."""
    theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
    theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def copy_rest(ours: nn.Module, theirs: nn.Module, norms: list[nn.LayerNorm]) -> None:
    """Copy feed-forward and normalisation weights to torch's layer."""
    theirs.linear1.load_state_dict(ours.feedforward[0].state_dict())
    theirs.linear2.load_state_dict(ours.feedforward[3].state_dict())
    for number, norm in enumerate(norms, start=1):
        getattr(theirs, f"norm{number}").load_state_dict(norm.state_dict())


def plain_model(ours: Xxact) -> Xxact:
    """A copy of a model whose transformers are torch's own."""
    model, config = copy.deepcopy(ours), ours.config
    model.pattern_encoder.layers = nn.ModuleList([TorchEncoder(ours.pattern_encoder.layers, config.pattern)])
    model.composition_encoder.layers = nn.ModuleList(
        [TorchEncoder(ours.composition_encoder.layers, config.composition)]
    )  # fmt: skip
    assert isinstance(ours.fusion.layers[0], DecoderLayer)
    model.fusion.layers = nn.ModuleList([TorchDecoder(ours.fusion.layers, config.fusion)])
    return model.train()


def plain_loop(run: Run, file: Path, place: dict[int, int], *, steps: int) -> Iterator[float]:
    """Losses of the plain loop, one step per iteration."""
    model = plain_model(run.module.model)
    recipe, names = run.recipe, model.config.targets
    loader = DataLoader(
        PatternFile(file, run.table, place),
        batch_sampler=[run.order.step(step).tolist() for step in range(steps)],
        collate_fn=pad,
    )
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.lr_peak, betas=recipe.betas, weight_decay=recipe.weight_decay
    )  # fmt: skip
    for intensity, atomic_numbers, fractions, targets in loader:
        hidden = torch.zeros(len(intensity), GRID.windows, dtype=torch.bool)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            outputs = model(ModelInput(intensity, hidden, atomic_numbers, fractions))
        known = {name: ~targets[name].isnan() if targets[name].is_floating_point() else targets[name] >= 0
                 for name in names}  # fmt: skip
        loss = sum(target_losses(outputs, to_z_scores(targets, run.statistics), known).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield float(loss.detach())


def write_patterns(run: Run, file: Path, *, steps: int) -> dict[int, int]:
    """Write all patterns of the first `steps` steps to an HDF5 file; returns the position of each dataset row in it."""
    rows = np.unique(np.concatenate([run.order.step(step) for step in range(steps)]))
    maker = BatchMaker(run.table, device=CPU)
    with h5py.File(file, "w") as target:
        patterns = target.create_dataset("intensity", (len(rows), GRID.points), dtype=np.float32)
        for first in range(0, len(rows), 512):
            patterns[first : first + 512] = maker.batch(rows[first : first + 512], seed=0).intensity.numpy()
    return {int(row): number for number, row in enumerate(rows)}
