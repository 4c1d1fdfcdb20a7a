"""The question "which of these tricks helps on my data?", and statistics that answer it honestly."""

from lightning_tricks.study.ablation import Ablation, Arm
from lightning_tricks.study.comparison import Comparison, compare
from lightning_tricks.study.statistics import corrected_interval, student_t_quantile

__all__ = ["Ablation", "Arm", "Comparison", "compare", "corrected_interval", "student_t_quantile"]
