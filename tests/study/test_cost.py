import mmap
import time

import pytest
import torch

from lightning_tricks.study.runs import cost
from lightning_tricks.study.runs.cost import Cost


def occupy_240_mb():
    """Occupies memory for a moment that no earlier test can have left behind: malloc may hand out what it has kept."""
    with mmap.mmap(-1, 240_000_000) as block:
        block.write(bytes(240_000_000))


def test_time_is_that_of_the_block():
    with Cost() as measured:
        time.sleep(0.02)
    assert measured.seconds >= 0.02


def test_memory_is_the_peak_and_starts_anew():
    with Cost() as small:
        pass
    with Cost() as large:
        occupy_240_mb()
    with Cost() as after:
        pass
    if after.peak_memory is None:
        pytest.skip("this kernel does not let a process start its peak anew")
    assert large.peak_memory - small.peak_memory > 200e6
    assert large.peak_memory - after.peak_memory > 200e6


def test_memory_that_cannot_be_measured_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(cost, "_CLEAR", tmp_path / "none" / "clear")
    with Cost() as measured:
        pass
    assert measured.peak_memory is None
    assert measured.seconds >= 0


@pytest.mark.skipif(not cost._STATUS.exists(), reason="the peak is read from Linux's /proc")
def test_a_peak_that_is_not_the_blocks_own_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "_CLEAR", tmp_path / "takes the 5 and does nothing")
    occupy_240_mb()
    with Cost() as measured:
        pass
    assert measured.peak_memory is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_is_what_torch_gave_out():
    with Cost() as measured:
        torch.ones(50_000_000, device="cuda")
    assert 200e6 <= measured.peak_memory < 300e6
