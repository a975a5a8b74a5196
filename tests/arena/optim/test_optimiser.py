"""Muon, AdamW, EMA and their buffers against references."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from realm.arena.optim.flat import from_named, gather, to_named
from realm.arena.optim.muon import orthogonalise
from realm.arena.optim.optimiser import Optimiser, hidden_matrices
from realm.armory.hero_loading import LoadedHero
from realm.armory.hero_presets import Schedule, TrainingDefaults
from realm.core.errors import Corrupt

PLAIN = TrainingDefaults(
    batch_size=2, learning_rate=0.01, weight_decay=0.1, schedule=Schedule(warmup_steps=0), max_length=64, save_steps=1
)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 6, bias=False), nn.Linear(6, 4, bias=False), nn.LayerNorm(4))


def fill(model: nn.Module, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.copy_(torch.randn(parameter.shape, generator=source))


def test_singular_values_go_to_one_and_vectors_stay():
    torch.manual_seed(1)
    stack = torch.randn(3, 8, 20)
    out = orthogonalise(stack)
    values = torch.linalg.svdvals(out)
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3
    u, _, v = torch.linalg.svd(stack, full_matrices=False)
    aligned = u.transpose(1, 2) @ out @ v.transpose(1, 2)
    assert float((aligned - torch.diag_embed(torch.diagonal(aligned, dim1=1, dim2=2))).abs().max()) < 1e-3


def test_batched_equals_one_by_one():
    torch.manual_seed(2)
    stack = torch.randn(4, 8, 16)
    assert torch.allclose(orthogonalise(stack), torch.cat([orthogonalise(one[None]) for one in stack]), atol=1e-6)


def test_muon_follows_the_published_update():
    model = small()
    matrix = dict(model.named_parameters())["1.weight"]
    before = matrix.detach().clone()
    optimiser = Optimiser(model, PLAIN.model_copy(update={"matrices": "muon", "muon_learning_rate": 0.05}))
    fill(model, 3)
    momentum = 0.05 * matrix.grad
    nesterov = 0.05 * matrix.grad + 0.95 * momentum
    wanted = before * (1 - 0.05 * 0.1) - 0.05 * (6 / 4) ** 0.5 * orthogonalise(nesterov.T[None])[0].T
    optimiser.step()
    assert torch.allclose(matrix, wanted, atol=1e-5)


def test_adamw_equals_torch():
    ours, theirs = small(), small()
    optimiser = Optimiser(ours, PLAIN)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=PLAIN.betas, weight_decay=0.1)
    for parameter in theirs.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for seed in range(5):
        for model in (ours, theirs):
            fill(model, seed)
        optimiser.step()
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("matrices", ["muon", "adamw"])
def test_a_learning_rate_of_zero_changes_nothing(matrices: str):
    model = small()
    before = [p.detach().clone() for p in model.parameters()]
    change = {"matrices": matrices, "learning_rate": 0.0, "muon_learning_rate": 0.0}
    optimiser = Optimiser(model, PLAIN.model_copy(update=change))
    for seed in range(3):
        fill(model, seed)
        optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_average_trails_the_weights_and_swapping_twice_is_nothing():
    model = small()
    optimiser = Optimiser(model, PLAIN.model_copy(update={"ema_decay": 0.9}))
    expected = [p.detach().clone() for p in model.parameters()]
    for step in range(1, 4):
        fill(model, step)
        optimiser.step()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = [e.lerp(p.detach(), 1 - decay) for e, p in zip(expected, model.parameters(), strict=True)]
    own = [p.detach().clone() for p in model.parameters()]
    optimiser.swap_average()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), expected, strict=True))
    optimiser.swap_average()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), own, strict=True))


def test_buffers_keep_values_names_and_shared_memory(new_hero: Callable[[], LoadedHero]):
    model = new_hero().model
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    buffers = gather(model, hidden_matrices(model))
    stacked = {name for buffer in buffers if buffer.stacked for name in buffer.names}
    assert stacked == {name for name, value in before.items() if value.dim() == 2 and "embed" not in name}
    named = to_named(buffers, [buffer.weights for buffer in buffers])
    assert named.keys() == before.keys()
    assert all(torch.equal(named[name], before[name]) and named[name].is_contiguous() for name in before)
    buffers[0].weights.zero_()
    assert not dict(model.named_parameters())[buffers[0].names[0]].any()
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_state_of_another_shape_is_corrupt():
    model = small()
    buffers = gather(model, [])
    named = to_named(buffers, [buffer.weights for buffer in buffers])
    with pytest.raises(Corrupt, match=r"1\.weight"):
        from_named(buffers, [buffer.weights for buffer in buffers], named | {"1.weight": torch.zeros(2)})
    with pytest.raises(Corrupt):
        Optimiser(small(), PLAIN).load({}, {})
