import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lightning_tricks.engine.batch_run import BatchRandomness, FreeGenerator

PLACE = {"name": "Mixup", "ordinal": 0, "rank": 0}


def draw(seed=3, batch=7, **changes):
    return BatchRandomness(seed, **(PLACE | changes)).at(batch).random(4).tolist()


@pytest.mark.parametrize("count", range(6))
def test_a_draw_depends_on_its_place_alone(count):
    randomness = BatchRandomness(3, **PLACE)
    randomness.at(11).random(count)
    # Of a 64-bit number the generator keeps the half that a 32-bit draw leaves over; it must not reach the next batch.
    randomness.at(7).integers(2**31, size=count, dtype=np.int32)
    assert randomness.at(7).random(4).tolist() == draw()
    assert randomness.at(7).integers(2**31, size=5, dtype=np.int32).tolist() == (
        BatchRandomness(3, **PLACE).at(7).integers(2**31, size=5, dtype=np.int32).tolist()
    )


def test_the_batches_take_turns_in_one_sequence():
    randomness = BatchRandomness(3, **PLACE)
    bits = type(randomness.at(0).bit_generator)()
    bits.state = randomness.at(0).bit_generator.state
    assert np.random.Generator(bits.advance(2**128 * 12345)).random() == randomness.at(12345).random()


@pytest.mark.parametrize(
    "changes", [{"seed": 4}, {"name": "CutMix"}, {"ordinal": 1}, {"rank": 1}, {"batch": 8}, {"ordinal": 7, "batch": 0}]
)
def test_every_part_of_the_place_counts(changes):
    assert draw(**changes) != draw()


def test_seeds_of_64_bits_are_taken():
    assert draw(seed=2**64 - 1) != draw(seed=2**32 - 1)


def test_no_global_generator_is_touched():
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    draw()
    FreeGenerator().get(None).random()
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_a_free_generator_goes_on_and_starts_anew_with_torchs_seed():
    free = FreeGenerator()
    torch.manual_seed(1)
    first, second = free.get(None).random(), free.get(None).random()
    assert first != second
    torch.manual_seed(2)
    assert free.get(None).random() not in (first, second)
    torch.manual_seed(1)
    assert free.get(None).random() == first


def test_a_free_generator_with_a_seed_ignores_torchs():
    torch.manual_seed(1)
    first = FreeGenerator().get(5).random()
    torch.manual_seed(2)
    assert FreeGenerator().get(5).random() == first
    assert FreeGenerator().get(6).random() != first


class Draws(Dataset):
    def __init__(self, seed):
        self.free, self.seed = FreeGenerator(), seed
        self.free.get(seed)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.free.get(self.seed).random()


@pytest.mark.parametrize("seed", [None, 5])
def test_each_worker_of_a_loader_has_its_own_sequence(seed):
    draws = torch.cat(list(DataLoader(Draws(seed), batch_size=1, num_workers=2)))
    assert len(set(draws.tolist())) == 4


@pytest.mark.parametrize("persistent", [True, False])
def test_the_workers_of_the_next_epoch_go_on_with_other_draws(persistent):
    def draws():
        torch.manual_seed(1)
        loader = DataLoader(Draws(5), batch_size=1, num_workers=2, persistent_workers=persistent)
        return [torch.cat(list(loader)).tolist() for _ in range(2)]

    first, second = draws()
    assert not set(first) & set(second)
    assert draws() == [first, second]
