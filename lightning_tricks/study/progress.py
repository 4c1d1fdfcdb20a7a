"""How far a study is, on stderr."""

import sys
import time
from types import TracebackType

from tqdm.auto import tqdm


class StudyProgress:
    """A bar with the time left on a terminal, a line for each finished run elsewhere.

    Args:
        runs: how many there are to do.
        epochs: of each.
        show: ``False`` for silence.
    """

    def __init__(self, *, runs: int, epochs: int, show: bool = True) -> None:
        self.runs = runs
        self.epochs = epochs
        self.done = 0
        self.show = show
        self._bar: tqdm | None = None

    def __enter__(self) -> "StudyProgress":
        self._start = time.perf_counter()
        if self.show and self.runs and sys.stderr.isatty():
            self._bar = tqdm(
                total=self.runs * self.epochs,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left",
                desc=f"run 1 of {self.runs}",
                file=sys.stderr,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def epoch(self) -> None:
        """An epoch has ended."""
        if self._bar is not None:
            self._bar.update()

    def run(self, words: str) -> None:
        """A run has ended, perhaps before its last epoch.

        Args:
            words: which one it was.
        """
        self.done += 1
        if self._bar is not None:
            self._bar.set_description_str(f"run {min(self.done + 1, self.runs)} of {self.runs}", refresh=False)
            self._bar.n = self.done * self.epochs
            self._bar.refresh()
        elif self.show:
            left = (time.perf_counter() - self._start) * (self.runs / self.done - 1)
            print(f"run {self.done} of {self.runs} done: {words}; about {_duration(left)} left", file=sys.stderr)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
