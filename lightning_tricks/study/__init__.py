"""The question "which of these tricks helps on my data?", and statistics that answer it honestly."""

from lightning_tricks import recipes
from lightning_tricks.study.ablation import Ablation
from lightning_tricks.study.arm import Arm
from lightning_tricks.study.comparison import Comparison, compare
from lightning_tricks.study.report import StudyResult
from lightning_tricks.study.statistics import CorrectedT, corrected_t, holm

__all__ = ["Ablation", "Arm", "Comparison", "CorrectedT", "StudyResult", "compare", "corrected_t", "holm", "recipes"]
