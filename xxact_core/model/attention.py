"""The transformer blocks that every part of the model shares: post-norm, ReLU feed-forward.

Source: Vaswani et al. 2017, as in PyTorch's `TransformerEncoderLayer` and `TransformerDecoderLayer` by default, which
CrabNet uses and which reproduces the paper's parameter counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from xxact_core.model.config import BlockSizes
from xxact_core.model.dropout import Dropout, dropout_of_packed
from xxact_core.model.linear import Linear, linear


class Attention(nn.Module):
    """Multi-head attention over a context, or self-attention where no context is given.

    On a CPU the attention is computed explicitly: for the 18 tokens of a pattern, torch's fused kernel for long
    sequences is no faster in float32, slower in bfloat16, and does not support dropout.
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
        mask: Bool[Tensor, "batch elements"] | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Attend from `tokens` to the tokens of `context` that are True in `mask`."""
        if context is None:
            mixed = self._mix(self._split(self._project(tokens), parts=3), mask)
        elif tokens.shape[1] == 1:
            mixed = self._mix_for_one(tokens[:, 0], context, mask).unsqueeze(1)
        else:
            (query,) = self._split(self.query(tokens), parts=1)
            mixed = self._mix((query, *self._split(self.key_value(context), parts=2)), mask)
        output: Tensor = self.out(mixed)
        return output

    def attend_packed(
        self,
        tokens: Float[Tensor, "tokens width"],
        mask: Bool[Tensor, "batch slots"],
        places: Int[Tensor, " tokens"],
    ) -> Float[Tensor, "tokens width"]:
        """Self-attention over packed tokens, without padding; `places` are their indices in the padded batch."""
        packed = self._project(tokens)
        padded = packed.new_zeros(mask.numel(), packed.shape[1]).index_copy(0, places, packed)
        mixed = self._mix(self._split(padded.unflatten(0, mask.shape), parts=3), mask)
        output: Tensor = self.out(mixed.flatten(0, 1)[places])
        return output

    def _project(self, tokens: Float[Tensor, "... width"]) -> Float[Tensor, "... three_widths"]:
        """Queries, keys and values by one matrix product instead of two."""
        weight, bias = (
            torch.cat([getattr(part, name) for part in (self.query, self.key_value)]) for name in ("weight", "bias")
        )
        return linear(tokens, weight, bias)

    def _mix(self, parts: tuple[Tensor, ...], mask: Bool[Tensor, "batch elements"] | None) -> Tensor:
        """Scaled dot-product attention, with the heads concatenated."""
        query, key, value = parts
        mask = None if mask is None else mask[:, None, None, :]
        if query.device.type == "cpu":
            mixed = self.dropout(_attention_weights(query, key, mask)) @ value
        else:
            dropout = self.dropout.p if self.training else 0.0
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        output: Tensor = mixed.transpose(1, 2).flatten(2)
        return output

    def _mix_for_one(
        self,
        token: Float[Tensor, "batch width"],
        context: Float[Tensor, "batch elements width"],
        mask: Bool[Tensor, "batch elements"] | None,
    ) -> Float[Tensor, "batch width"]:
        """The same for one query a material, without keys and values: q·(K x) = (Kᵀ q)·x, and Σ V x = V Σ x.

        The matrices are applied to the query and to the weighted sum instead of to every token of the context.
        """
        key, value = self.key_value.weight.unflatten(0, (2, self.heads, -1))
        key_bias, value_bias = self.key_value.bias.unflatten(0, (2, self.heads, -1, 1))
        query = self.query(token).unflatten(1, (self.heads, -1)).transpose(0, 1)
        scores = (query @ key).transpose(0, 1) @ context.transpose(1, 2) + (query @ key_bias).transpose(0, 1)
        scores = scores / math.sqrt(query.shape[-1])
        weights = self.dropout(_softmax(scores, None if mask is None else mask[:, None, :]))
        mixed = (weights @ context).transpose(0, 1) @ value.transpose(1, 2)
        mixed = mixed + weights.sum(dim=-1).T.unsqueeze(-1) * value_bias.transpose(1, 2)
        output: Tensor = mixed.transpose(0, 1).flatten(1)
        return output

    def attention_weights(
        self,
        tokens: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch elements width"],
        mask: Bool[Tensor, "batch elements"],
    ) -> Float[Tensor, "batch heads tokens elements"]:
        """Attention weights of each token over the context, which add up to 1."""
        (query,) = self._split(self.query(tokens), parts=1)
        key, _ = self._split(self.key_value(context), parts=2)
        return _attention_weights(query, key, mask[:, None, None, :])

    def _split(self, packed: Tensor, *, parts: int) -> tuple[Tensor, ...]:
        """Concatenated queries, keys or values → tensors of shape (batch, heads, tokens, width of a head)."""
        return _split_heads(packed, parts, self.heads)


class _Split(torch.autograd.Function):
    """Views of concatenated projections. Autograd would write the gradient once a view; this writes it once."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:  # noqa: ANN401, ARG004 - torch's signature
        output: tuple[Tensor, ...] = packed.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401, ARG004 - torch's signature
        batch, heads, tokens, width = gradients[0].shape
        packed = gradients[0].new_empty(batch, tokens, len(gradients), heads, width)
        for place, gradient in enumerate(gradients):
            packed[:, :, place] = gradient.transpose(1, 2)
        return packed.flatten(2), None, None


_split_heads: Callable[..., tuple[Tensor, ...]] = _Split.apply


def _attention_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(Q Kᵀ / √width) over the unmasked tokens."""
    return _softmax(query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]), mask)


def _softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the tokens that are True in the mask."""
    return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(dim=-1)


class FeedForward(nn.Sequential):
    """Linear, ReLU, dropout, Linear."""

    def __init__(self, *, width: int, feedforward: int, dropout: float) -> None:
        super().__init__(Linear(width, feedforward), nn.ReLU(), Dropout(dropout), Linear(feedforward, width))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward network, each with a residual connection and post-normalisation."""

    def __init__(self, sizes: BlockSizes) -> None:
        super().__init__()
        width, dropout = sizes.width, sizes.dropout
        self.attention = Attention(width=width, heads=sizes.heads, dropout=dropout)
        self.feedforward = FeedForward(width=width, feedforward=sizes.feedforward, dropout=dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], mask: Bool[Tensor, "batch tokens"] | None = None
    ) -> Float[Tensor, "batch tokens width"]:
        """Tokens after self-attention over those that are True in `mask`.

        On a CPU the other tokens, a third of those of compositions, are packed away and come out as 0.
        """
        if mask is not None and tokens.device.type == "cpu" and not torch.compiler.is_compiling():
            places = mask.flatten().nonzero().squeeze(1)
            packed_tokens = tokens.flatten(0, 1)[places]
            attended = self.attention.attend_packed(packed_tokens, mask, places)
            with dropout_of_packed(mask):
                packed_tokens = self.attention_norm(packed_tokens + self.dropout(attended))
                packed_tokens = self.feedforward_norm(packed_tokens + self.dropout(self.feedforward(packed_tokens)))
            empty = packed_tokens.new_zeros(mask.numel(), packed_tokens.shape[1])
            unpacked: Tensor = empty.index_copy(0, places, packed_tokens).view_as(tokens)
            return unpacked
        tokens = self.attention_norm(tokens + self.dropout(self.attention(tokens, mask=mask)))
        output: Tensor = self.feedforward_norm(tokens + self.dropout(self.feedforward(tokens)))
        return output


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention to a context and feed-forward network, residual and post-normalised."""

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
        mask: Bool[Tensor, "batch elements"],
        *,
        cls_only: bool = False,
    ) -> Float[Tensor, "batch queries width"]:
        """Tokens after self-attention and cross-attention; with `cls_only` the first of them alone."""
        queries, all_tokens = (tokens[:, :1], tokens) if cls_only else (tokens, None)
        tokens = self.self_norm(queries + self.dropout(self.self_attention(queries, all_tokens)))
        tokens = self.cross_norm(tokens + self.dropout(self.cross_attention(tokens, context, mask)))
        output: Tensor = self.feedforward_norm(tokens + self.dropout(self.feedforward(tokens)))
        return output

    def attention_weights(
        self,
        tokens: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch elements width"],
        mask: Bool[Tensor, "batch elements"],
    ) -> Float[Tensor, "batch heads tokens elements"]:
        """Cross-attention weights of each token over the context."""
        tokens = self.self_norm(tokens + self.dropout(self.self_attention(tokens)))
        return self.cross_attention.attention_weights(tokens, context, mask)


def learned_tokens(*shape: int) -> nn.Parameter:
    """Learned vectors such as [CLS], [MASK] or positions, drawn from N(0, 0.02²) as in BERT.

    On the meta device they only have a shape: arithmetic there would import torch's compiler, which takes seconds.
    """
    values = torch.empty(shape)
    return nn.Parameter(values if values.is_meta else torch.randn(shape) * 0.02)
