import re
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_tricks
from lightning_tricks import BatchTrick, LRTrick

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
PUBLIC = {name: getattr(lightning_tricks, name) for name in lightning_tricks.__all__}
BASES = (BatchTrick, LRTrick)
TRICKS = [name for name, it in PUBLIC.items() if isinstance(it, type) and issubclass(it, BASES) and it not in BASES]


def test_first_two_blocks_are_the_set_up():
    assert [language for language, _ in BLOCKS[:2]] == ["bash", "bash"]
    assert "lightning-tricks ablate" in BLOCKS[0][1]
    assert "pytest" in BLOCKS[1][1]


def test_example_runs(tmp_path):
    (example,) = (code for language, code in BLOCKS if language == "python" and "trainer.fit" in code)
    short = example.replace("max_epochs=12", "max_epochs=1")
    assert short != example
    result = subprocess.run([sys.executable, "-c", short], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "val_acc" in result.stdout


@pytest.mark.parametrize("name", TRICKS)
def test_table_has_every_trick(name):
    assert re.search(rf"^\|.*`{name}\(", README, flags=re.MULTILINE)


@pytest.mark.parametrize("path", re.findall(r"!\[[^]]+\]\(([^)]+)\)", README))
def test_every_picture_is_there(path):
    assert (Path(__file__).parents[1] / path).is_file()
