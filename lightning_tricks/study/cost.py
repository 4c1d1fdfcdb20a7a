"""What a run costs: time, and memory at its peak."""

import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_TOLERANCE = 8 * 2**20  # bytes: the kernel counts pages processor by processor, and adds up now and then


class Cost:
    """Measures the block that it encloses.

    Attributes:
        seconds: of wall-clock time, a GPU's queue awaited.
        peak_memory: in bytes: on a GPU what torch's allocator had given out at most, otherwise the most that the
            process had in physical memory. ``None`` where that cannot be known: elsewhere than on Linux, and in a
            sandbox that keeps the process from starting its peak anew. Of this process: the other ranks of a
            distributed run are not counted.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak_memory: int | None = None

    def __enter__(self) -> "Cost":
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        # Writing 5 starts the process's peak anew. A sandbox may refuse that, or take the 5 and do nothing; the peak
        # may then be an earlier block's. It is this one's if it is no more than what the process occupies at its start.
        with suppress(OSError):
            _CLEAR.write_text("5")
        peak, now = _process_memory("VmHWM"), _process_memory("VmRSS")
        self._own_peak = peak is not None and now is not None and peak - now <= _TOLERANCE
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        gpu_bytes = 0
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            gpu_bytes = torch.cuda.max_memory_allocated()
        self.seconds = time.perf_counter() - self._start
        self.peak_memory = gpu_bytes or (_process_memory("VmHWM") if self._own_peak else None)


def _process_memory(name: str) -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
