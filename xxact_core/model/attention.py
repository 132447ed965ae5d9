"""The transformer blocks that every part of the model shares: post-norm, ReLU feed-forward.

Source: Vaswani et al. 2017, as in PyTorch's `TransformerEncoderLayer` and `TransformerDecoderLayer` by default, which
CrabNet uses and which reproduces the paper's parameter counts.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from xxact_core.model.config import BlockSizes
from xxact_core.model.dropout import Dropout
from xxact_core.model.linear import Linear, linear


class Attention(nn.Module):
    """Multi-head attention from queries to a context; the context is the queries themselves where none is given.

    On a processor it is written out: for the 18 tokens of a pattern torch's fused kernel, meant for long sequences, is
    no faster in float32, slower in bfloat16, and not there at all with dropout.
    """

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = Dropout(dropout)
        self.query = Linear(width, width)
        self.key_value = Linear(width, 2 * width)
        self.out = Linear(width, width)
        for part in (self.query, self.key_value):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch elements width"] | None = None,
        present: Bool[Tensor, "batch elements"] | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Attend from `tokens` to `context` where it is `present`."""
        if context is None:
            return self.out(self._mix(self._split(self._project(tokens), parts=3), present))
        if tokens.shape[1] == 1:
            return self.out(self._mix_for_one(tokens[:, 0], context, present)).unsqueeze(1)
        (query,) = self._split(self.query(tokens), parts=1)
        return self.out(self._mix((query, *self._split(self.key_value(context), parts=2)), present))

    def among_present(
        self,
        tokens: Float[Tensor, "tokens width"],
        present: Bool[Tensor, "batch slots"],
        places: Int[Tensor, " tokens"],
    ) -> Float[Tensor, "tokens width"]:
        """Self-attention of those tokens alone that there are; `places` are the slots where they stand."""
        packed = self._project(tokens)
        padded = packed.new_zeros(present.numel(), packed.shape[1]).index_copy(0, places, packed)
        mixed = self._mix(self._split(padded.unflatten(0, present.shape), parts=3), present)
        return self.out(mixed.flatten(0, 1)[places])

    def _project(self, tokens: Float[Tensor, "... width"]) -> Float[Tensor, "... three_widths"]:
        """Queries, keys and values by one product of matrices instead of two."""
        weight, bias = (
            torch.cat([getattr(part, name) for part in (self.query, self.key_value)]) for name in ("weight", "bias")
        )
        return linear(tokens, weight, bias)

    def _mix(self, parts: tuple[Tensor, ...], present: Bool[Tensor, "batch elements"] | None) -> Tensor:
        """Values mixed by how queries and keys agree, the heads side by side again."""
        query, key, value = parts
        mask = None if present is None else present[:, None, None, :]
        if query.device.type == "cpu":
            mixed = self.dropout(_shares(query, key, mask)) @ value
        else:
            dropout = self.dropout.p if self.training else 0.0
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return mixed.transpose(1, 2).flatten(2)

    def _mix_for_one(
        self,
        token: Float[Tensor, "batch width"],
        context: Float[Tensor, "batch elements width"],
        present: Bool[Tensor, "batch elements"] | None,
    ) -> Float[Tensor, "batch width"]:
        """The same for a single query, without keys and values of the context: q·(K x) is (Kᵀ q)·x, and Σ V x is V Σ x.

        Instead of every part of the context, the query and the mixture pass through the matrices.
        """
        key, value = self.key_value.weight.unflatten(0, (2, self.heads, -1))
        key_bias, value_bias = self.key_value.bias.unflatten(0, (2, self.heads, -1, 1))
        query = self.query(token).unflatten(1, (self.heads, -1)).transpose(0, 1)
        scores = (query @ key).transpose(0, 1) @ context.transpose(1, 2) + (query @ key_bias).transpose(0, 1)
        scores = scores / math.sqrt(query.shape[-1])
        shares = self.dropout(_softmax(scores, None if present is None else present[:, None, :]))
        mixed = (shares @ context).transpose(0, 1) @ value.transpose(1, 2)
        mixed = mixed + shares.sum(dim=-1).T.unsqueeze(-1) * value_bias.transpose(1, 2)
        return mixed.transpose(0, 1).flatten(1)

    def shares(
        self,
        tokens: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch elements width"],
        present: Bool[Tensor, "batch elements"],
    ) -> Float[Tensor, "batch heads tokens elements"]:
        """What part of its attention each token gives to each part of the context; adding up to 1."""
        (query,) = self._split(self.query(tokens), parts=1)
        key, _ = self._split(self.key_value(context), parts=2)
        return _shares(query, key, present[:, None, None, :])

    def _split(self, packed: Tensor, *, parts: int) -> tuple[Tensor, ...]:
        """Queries, keys or values that lie side by side, each of shape (batch, heads, tokens, width of a head)."""
        return _Split.apply(packed, parts, self.heads)


class _Split(torch.autograd.Function):
    """Views of what lies side by side. On the way back torch would write the gradients three times; this does once."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:  # noqa: ANN401, ARG004 - torch's signature
        return packed.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401, ARG004 - torch's signature
        batch, heads, tokens, width = gradients[0].shape
        packed = gradients[0].new_empty(batch, tokens, len(gradients), heads, width)
        for place, gradient in enumerate(gradients):
            packed[:, :, place] = gradient.transpose(1, 2)
        return packed.flatten(2), None, None


def _shares(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(Q Kᵀ / √width) over what the mask leaves."""
    return _softmax(query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]), mask)


def _softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Shares that add up to 1 over what the mask leaves."""
    return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(dim=-1)


class FeedForward(nn.Sequential):
    """Linear, ReLU, dropout, Linear."""

    def __init__(self, *, width: int, feedforward: int, dropout: float) -> None:
        super().__init__(Linear(width, feedforward), nn.ReLU(), Dropout(dropout), Linear(feedforward, width))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each added and then normalised."""

    def __init__(self, sizes: BlockSizes) -> None:
        super().__init__()
        width, dropout = sizes.width, sizes.dropout
        self.attention = Attention(width=width, heads=sizes.heads, dropout=dropout)
        self.feedforward = FeedForward(width=width, feedforward=sizes.feedforward, dropout=dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], present: Bool[Tensor, "batch tokens"] | None = None
    ) -> Float[Tensor, "batch tokens width"]:
        """Tokens that have looked at one another, where they are `present`.

        On a processor no work is done for slots that are empty, a third of those of compositions; they come out as 0.
        """
        if present is not None and tokens.device.type == "cpu" and not torch.compiler.is_compiling():
            places = present.flatten().nonzero().squeeze(1)
            kept = tokens.flatten(0, 1)[places]
            kept = self.attention_norm(kept + self.dropout(self.attention.among_present(kept, present, places)))
            kept = self.feedforward_norm(kept + self.dropout(self.feedforward(kept)))
            empty = kept.new_zeros(present.numel(), kept.shape[1])
            return empty.index_copy(0, places, kept).view_as(tokens)
        tokens = self.attention_norm(tokens + self.dropout(self.attention(tokens, present=present)))
        return self.feedforward_norm(tokens + self.dropout(self.feedforward(tokens)))


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention to a context, and feed-forward, each added and then normalised."""

    def __init__(self, sizes: BlockSizes) -> None:
        super().__init__()
        width, dropout = sizes.width, sizes.dropout
        self.self_attention = Attention(width=width, heads=sizes.heads, dropout=dropout)
        self.cross_attention = Attention(width=width, heads=sizes.heads, dropout=dropout)
        self.feedforward = FeedForward(width=width, feedforward=sizes.feedforward, dropout=dropout)
        self.self_norm = nn.LayerNorm(width)
        self.cross_norm = nn.LayerNorm(width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch elements width"],
        present: Bool[Tensor, "batch elements"],
        *,
        cls_only: bool = False,
    ) -> Float[Tensor, "batch asked width"]:
        """Tokens, or the first of them alone, that have looked at one another, then at the context."""
        asked, all_tokens = (tokens[:, :1], tokens) if cls_only else (tokens, None)
        tokens = self.self_norm(asked + self.dropout(self.self_attention(asked, all_tokens)))
        tokens = self.cross_norm(tokens + self.dropout(self.cross_attention(tokens, context, present)))
        return self.feedforward_norm(tokens + self.dropout(self.feedforward(tokens)))

    def shares(
        self,
        tokens: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch elements width"],
        present: Bool[Tensor, "batch elements"],
    ) -> Float[Tensor, "batch heads tokens elements"]:
        """What part of its cross-attention each token gives to each part of the context."""
        tokens = self.self_norm(tokens + self.dropout(self.self_attention(tokens)))
        return self.cross_attention.shares(tokens, context, present)


def learned_token(width: int) -> nn.Parameter:
    """A learned vector such as [CLS] or [MASK], drawn from N(0, 0.02²) as in BERT."""
    return nn.Parameter(torch.randn(width) * 0.02)
