"""Attention equals torch's own; it takes short cuts, and what comes out is what the long way gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from xxact_core.model.attention import Attention, EncoderLayer
from xxact_core.model.config import BlockSizes

BATCH, TOKENS, ELEMENTS, WIDTH, HEADS = 5, 18, 7, 32, 4


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    attention = Attention(width=WIDTH, heads=HEADS, dropout=0.0)
    torch.nn.init.normal_(attention.key_value.bias)
    return attention


def gradients(attention: Attention, answer: Tensor) -> dict[str, Tensor]:
    attention.zero_grad()
    answer.square().sum().backward()
    return {name: value.grad.clone() for name, value in attention.named_parameters() if value.grad is not None}


def test_attention_equals_torchs_own_with_the_same_weights() -> None:
    ours = Attention(width=16, heads=4, dropout=0.0).eval()
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    tokens, context = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    present = torch.tensor([[True, True, False], [True, True, True]])
    wanted, _ = theirs(tokens, context, context, key_padding_mask=~present)
    torch.testing.assert_close(ours(tokens, context, present), wanted)


def test_layer_gives_each_material_what_it_would_get_alone_and_empty_slots_nothing() -> None:
    layer = EncoderLayer(BlockSizes(width=16, depth=1, heads=4, feedforward=24)).eval()
    tokens = torch.randn(3, 5, 16)
    present = torch.tensor([[True] * 5, [True, False, True, False, False], [False, True, True, True, False]])
    seen = layer(tokens, present)
    for one, there, result in zip(tokens, present, seen, strict=True):
        torch.testing.assert_close(result[there], layer(one[there].unsqueeze(0))[0])
        assert not result[~there].any()


@pytest.mark.parametrize("some_absent", [False, True])
def test_one_query_alone_is_answered_as_among_others(attention: Attention, *, some_absent: bool) -> None:
    tokens, context = torch.randn(BATCH, TOKENS, WIDTH), torch.randn(BATCH, ELEMENTS, WIDTH)
    present = torch.arange(ELEMENTS) <= torch.arange(BATCH).unsqueeze(1) if some_absent else None
    among, alone = attention(tokens, context, present)[:, :1], attention(tokens[:, :1], context, present)
    torch.testing.assert_close(alone, among)
    expected, found = gradients(attention, among), gradients(attention, alone)
    assert found.keys() == expected.keys() == dict(attention.named_parameters()).keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_dropout_spares_no_share_of_one_query() -> None:
    attention = Attention(width=WIDTH, heads=HEADS, dropout=0.5).train()
    torch.nn.init.normal_(attention.key_value.bias)
    torch.manual_seed(0)
    tokens, context = torch.randn(1, 1, WIDTH).expand(4000, 1, WIDTH), torch.randn(1, ELEMENTS, WIDTH)
    drawn = attention(tokens, context.expand(4000, -1, -1))
    whole = attention.eval()(tokens[:1], context)
    assert float(drawn.std(dim=0).mean()) > 0.1
    torch.testing.assert_close(drawn.mean(dim=0), whole[0], rtol=0, atol=0.1)
