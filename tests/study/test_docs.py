"""The examples of docs/study.md, with fewer and shorter runs."""

import re
from pathlib import Path

import lightning.pytorch as pl
import pytest

from lightning_tricks import Ablation, Arm, Distillation

PAGE = Path(__file__).parents[2] / "docs" / "study.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shorter(block, **changes):
    changes = {"max_epochs=10": "max_epochs=1", **changes}
    for old, new in changes.items():
        assert old in block
        block = block.replace(old, new)
    return block


def run(text, path, names):
    """Runs a block as a file, since a study with a directory needs its source."""
    path.write_text(text, encoding="utf-8")
    exec(compile(text, path, "exec"), names)


@pytest.mark.slow
def test_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}
    confirm = {'confirm("mixup")': 'confirm("mixup", num_seeds=1)'}
    cpu = {'"accelerator": "auto"': '"accelerator": "cpu"'}
    run(shorter(BLOCKS[0], **{"num_seeds=10": "num_seeds=2"}, **confirm, **cpu), tmp_path / "example.py", names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["baseline", "mixup", "cosine", "label"]
    files = {"table.csv", "runs.csv", "differences.png", "report.html"}
    for folder in (tmp_path / "my_study", tmp_path / "my_study" / "confirm"):
        assert files <= {path.name for path in folder.iterdir()}

    names |= {"pl": pl, "Arm": Arm, "Distillation": Distillation}
    quiet = {"logger=False": 'logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False'}
    block = shorter(BLOCKS[1], resnet18="tiny", **quiet)
    run(block.replace("\nArm(", "\ntaught = Arm("), tmp_path / "teacher.py", names)
    study = Ablation(
        names["Classifier"],
        names["DigitsDataModule"],
        {"taught": names["taught"]},
        num_seeds=1,
        max_epochs=1,
        trainer_options={"accelerator": "cpu", "devices": 1},
    )
    baseline, taught = study.run(progress=False).rows
    assert baseline.value != taught.value
