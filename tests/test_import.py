import subprocess
import sys

import pytest

import lightning_tricks


def loaded_by(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_a_training_loads_neither_the_study_nor_the_plots_nor_other_peoples_transforms():
    loaded = loaded_by("import lightning_tricks; from lightning_tricks import Augment, Mixup, GradualWarmup")
    for name in (
        "lightning_tricks.study",
        "lightning_tricks.plots",
        "lightning_tricks.recipes",
        "torchvision.transforms.v2",
        "sklearn",
    ):
        assert name not in loaded


@pytest.mark.parametrize(
    "name", ["study.Ablation", "plots.preview", "recipes.bag_of_tricks", "models.Classifier", "data.DigitsDataModule"]
)
def test_they_are_loaded_when_they_are_asked_for(name):
    package, _ = name.split(".")
    assert f"lightning_tricks.{package}" in loaded_by(f"import lightning_tricks; lightning_tricks.{name}")


IMPORTERS = """
import builtins
plain, importers = builtins.__import__, []

def noting(name, globals=None, *rest, **kwargs):
    if name.partition(".")[0] in ("matplotlib", "rich", "sklearn"):
        importers.append((globals or {}).get("__name__") or "")
    return plain(name, globals, *rest, **kwargs)

builtins.__import__ = noting
%s
print(*importers)
"""


@pytest.mark.parametrize(
    ("statement", "wanted"), [("import lightning_tricks", False), ("import lightning_tricks.cli.study_command", True)]
)
def test_the_package_itself_asks_for_no_extra(statement, wanted):
    """Who asks, not what is loaded: Lightning and torchmetrics load rich and matplotlib where they are installed."""
    code = [sys.executable, "-c", IMPORTERS % statement]
    importers = subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()
    assert any(name.startswith("lightning_tricks") for name in importers) is wanted


def test_every_public_name_is_there_and_listed():
    for name in lightning_tricks.__all__:
        assert getattr(lightning_tricks, name).__name__ == name
    assert set(lightning_tricks.__all__) <= set(dir(lightning_tricks))
    with pytest.raises(AttributeError, match="no attribute 'Mixupp'"):
        _ = lightning_tricks.Mixupp


def test_lightning_cli_knows_adabound_by_its_short_name():
    code = (
        "import lightning_tricks; from lightning.pytorch.cli import LightningCLI; "
        "from lightning.pytorch.demos.boring_classes import BoringModel; "
        "print(LightningCLI(BoringModel, run=False, args=['--optimizer=AdaBound']).config.optimizer.class_path)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip().startswith("lightning_tricks."), run.stderr
