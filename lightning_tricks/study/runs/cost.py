"""What a run costs: time and peak memory."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_TOLERANCE = 8 * 2**20  # bytes: the kernel counts pages per processor, and adds up now and then


class Cost:
    """Measures the block that it encloses, a GPU's queued work included.

    ``peak_memory`` is in bytes and of this process alone: the peak of torch's allocator on a GPU, otherwise of physical
    memory; ``None`` not on Linux, and in a sandbox that does not let the process reset its peak.
    """

    seconds = 0.0
    peak_memory: int | None = None

    def __enter__(self) -> "Cost":
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        # Writing 5 resets VmHWM. A sandbox may refuse or ignore it; then the peak may predate this block.
        with suppress(OSError):
            _CLEAR.write_text("5")
        peak, now = _memory("VmHWM"), _memory("VmRSS")
        self._is_reset = peak is not None and now is not None and peak - now <= _TOLERANCE
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: Any) -> None:
        gpu_bytes = 0
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            gpu_bytes = torch.cuda.max_memory_allocated()
        self.seconds = time.perf_counter() - self._start
        self.peak_memory = gpu_bytes or (_memory("VmHWM") if self._is_reset else None)


def _memory(field: str) -> int | None:
    """A field of the process's status in bytes."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None
