"""The cards in docs/tricks: there is one for each trick, it can be run, and its links lead somewhere."""

import inspect
import re
from pathlib import Path

import pytest

import lightning_tricks
from lightning_tricks import BatchTrick, LRTrick

CARDS = Path(__file__).parent.parent / "docs" / "tricks"
SECTIONS = ["Hyperparameters", "When it helps", "When it hurts", "Attribution"]
OTHERS = ["AdaBound", "weight_decay_groups", "zero_gamma"]


def tricks():
    public = {name: getattr(lightning_tricks, name) for name in lightning_tricks.__all__}
    bases = (BatchTrick, LRTrick)
    callbacks = [name for name, value in public.items() if inspect.isclass(value) and issubclass(value, bases)]
    return sorted({*callbacks, *OTHERS} - {base.__name__ for base in bases})


def card_of(name):
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return CARDS / ({"cut_mix": "cutmix", "ada_bound": "adabound"}.get(words, words) + ".md")


@pytest.mark.parametrize("name", tricks())
def test_there_is_a_card_with_every_section(name):
    text = card_of(name).read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("name", tricks())
def test_the_code_of_a_card_runs_and_its_arguments_exist(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = card_of(name).read_text()
    (code,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    exec(code, {})
    parameters = inspect.signature(getattr(lightning_tricks, name)).parameters
    section = text.split("## Hyperparameters")[1].split("##")[0]
    listed = [
        word for line in re.findall(r"^- (.+?)[:(]", section, re.MULTILINE) for word in re.findall(r"`(\w+)`", line)
    ]
    shared = inspect.signature(BatchTrick).parameters
    assert [word for word in listed if word not in parameters and word not in shared] == []


def test_every_card_is_of_a_trick():
    files = {path.name for path in CARDS.glob("*.md")} - {"README.md"}
    assert files == {card_of(name).name for name in tricks()}


def test_links_and_pictures_lead_somewhere():
    for page in [*CARDS.glob("*.md"), CARDS.parent / "pixel_share.md"]:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), (page, target)
