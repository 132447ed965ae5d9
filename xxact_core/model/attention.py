"""The transformer blocks that every part of the model shares: post-norm, ReLU feed-forward.

Source: Vaswani et al. 2017, as in PyTorch's `TransformerEncoderLayer` and `TransformerDecoderLayer` by default, which
CrabNet uses and which reproduces the paper's parameter counts.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from xxact_core.model.config import BlockSizes
from xxact_core.model.dropout import Dropout


class Attention(nn.Module):
    """Multi-head attention from queries to a context; the context is the queries themselves where none is given.

    On a processor it is written out: for the 18 tokens of a pattern torch's fused kernel, meant for long sequences, is
    no faster in float32, slower in bfloat16, and not there at all with dropout.
    """

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = Dropout(dropout)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
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
        if context is None:  # one product of matrices instead of two
            weight, bias = (
                torch.cat([getattr(part, name) for part in (self.query, self.key_value)]) for name in ("weight", "bias")
            )
            query, key, value = self._split(functional.linear(tokens, weight, bias), parts=3)
        else:
            (query,) = self._split(self.query(tokens), parts=1)
            key, value = self._split(self.key_value(context), parts=2)
        mask = None if present is None else present[:, None, None, :]
        if query.device.type == "cpu":
            mixed = self.dropout(_shares(query, key, mask)) @ value
        else:
            dropout = self.dropout.p if self.training else 0.0
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.out(mixed.transpose(1, 2).flatten(2))

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
        return packed.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def _shares(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(Q Kᵀ / √width) over what the mask leaves."""
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(dim=-1)


class FeedForward(nn.Sequential):
    """Linear, ReLU, dropout, Linear."""

    def __init__(self, *, width: int, feedforward: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, feedforward), nn.ReLU(), Dropout(dropout), nn.Linear(feedforward, width))


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
        """Tokens that have looked at one another, where they are `present`."""
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
