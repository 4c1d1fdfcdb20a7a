"""Shows how far a study is."""

import sys
import time

from tqdm import tqdm


class StudyProgress(tqdm):
    """A bar of all epochs on a terminal; elsewhere one line per finished run."""

    def __init__(self, *, runs: int, epochs: int, show: bool = True) -> None:
        self.runs, self.epochs, self.done, self.show = runs, epochs, 0, show
        self._start = time.perf_counter()
        super().__init__(
            total=runs * epochs,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left",
            desc=f"run 1 of {runs}",
            file=sys.stderr,
            disable=not (show and runs and sys.stderr.isatty()),
        )

    def epoch(self) -> None:
        """An epoch has ended."""
        self.update()

    def run(self, words: str) -> None:
        """The run that ``words`` name has ended, perhaps before its last epoch."""
        self.done += 1
        self.set_description_str(f"run {min(self.done + 1, self.runs)} of {self.runs}", refresh=False)
        self.n = self.done * self.epochs
        self.refresh()
        if self.show and self.disable:
            left = (time.perf_counter() - self._start) * (self.runs / self.done - 1)
            text = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
            print(f"run {self.done} of {self.runs} done: {words}; about {text} left", file=sys.stderr)
