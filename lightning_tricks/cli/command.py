"""The subcommands of ``lightning-tricks``."""

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import NoReturn

from jsonargparse import ArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks.cli.errors import ConfigError, Interrupted
from lightning_tricks.cli.help import PROG, HelpFormatter, examples_text
from lightning_tricks.cli.options import (
    ConfirmOptions,
    DataOptions,
    PreviewOptions,
    ShareOptions,
    StudyOptions,
    TrainingOptions,
)
from lightning_tricks.cli.preview_command import write_preview
from lightning_tricks.cli.study_command import ablate, confirm
from lightning_tricks.cli.trainer_command import STAGES, run_trainer
from lightning_tricks.cli.tricks import TRICKS
from lightning_tricks.data import DataError
from lightning_tricks.functional.checks import unknown_name

_TRICK_NAMES = "tricks:\n" + "\n".join(f"  {name:<18}{trick.summary}" for name, trick in TRICKS.items())
_FLAGS = {"--no_augment": "--augment=false", "--augment": "--augment=true", "--pretrained": "--pretrained=true"}


@dataclass(frozen=True)
class Subcommand:
    """A subcommand; ``run`` is called with one instance of each class of ``options``."""

    run: Callable[..., None]
    summary: str
    options: Sequence[type]
    examples: Sequence[str]
    more: str = ""  # the end of its --help


SUBCOMMANDS = {
    "ablate": Subcommand(
        ablate,
        "Trains a net without tricks and with each trick alone, over several seeds, and compares.",
        (StudyOptions, DataOptions, TrainingOptions, ShareOptions),
        (
            "ablate",
            "ablate --tricks mixup,cosine --seeds 10 --margin 0.5 --out mixup_or_cosine",
            "ablate --recipe mixup,warmup,cosine --out recipe",
            "ablate --data my_images --model resnet18 --image_size 64 --accelerator auto --out my_study",
        ),
        _TRICK_NAMES,
    ),
    "confirm": Subcommand(
        confirm,
        "Compares one arm of a finished study with the baseline on the test part; possible once per study.",
        (ConfirmOptions,),
        ("confirm --arm cosine", "confirm --arm mixup --seeds 20 --out mixup_or_cosine"),
    ),
    "preview": Subcommand(
        write_preview,
        "Draws what tricks do to a batch of the data and to the learning rate, without a training.",
        (PreviewOptions, DataOptions),
        ("preview", "preview --tricks cutmix,random_erasing --data my_images --images 4 --out pictures"),
        _TRICK_NAMES,
    ),
}


def run_command(args: Sequence[str] | None = None) -> None:
    """Runs the subcommand that the words, by default those of the process, name; accepts ``--batch-size`` too."""
    words = sys.argv[1:] if args is None else args
    parser = _parser()
    names = (*SUBCOMMANDS, *STAGES)
    if words and not words[0].startswith("-") and words[0] not in names:
        parser.error(str(unknown_name("subcommand", words[0], names)))
    is_stage = bool(words) and words[0] in STAGES
    try:
        if is_stage:
            run_trainer(args)
        else:
            _run_subcommand(parser, _spelt(words))
    except DataError as error:
        # A DataError of a loading process has that process's traceback before its message.
        _refuse(str(error).strip().splitlines()[-1].rpartition("DataError: ")[2])
    except OSError as error:
        if is_stage:
            raise
        _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (ConfigError, ValueError, MisconfigurationException) as error:
        if is_stage and isinstance(error, ValueError):
            raise  # it may come from the user's module, and then the traceback is needed
        _refuse(str(error))
    except (Interrupted, KeyboardInterrupt) as stop:
        print(f"\n{PROG}: {str(stop) or 'stopped'}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _refuse(message: str) -> NoReturn:
    print(f"{PROG}: {message}", file=sys.stderr)
    sys.exit(2)


def _run_subcommand(parser: ArgumentParser, words: Sequence[str]) -> None:
    parsed = parser.parse_args(words)
    values, subcommand = parsed[parsed.subcommand], SUBCOMMANDS[parsed.subcommand]
    subcommand.run(
        *(group(**{field.name: values[field.name] for field in fields(group)}) for group in subcommand.options)
    )


def _parser() -> ArgumentParser:
    description = "Training tricks of image classification, compared on your data."
    parser = ArgumentParser(
        prog=PROG,
        description=description,
        epilog="Each subcommand has a --help with examples.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('lightning-tricks')}")
    subparsers = parser.add_subcommands(required=True)
    for name, subcommand in SUBCOMMANDS.items():
        subparser = ArgumentParser(
            description=subcommand.summary,
            epilog=examples_text(subcommand.examples, subcommand.more),
            formatter_class=HelpFormatter,
        )
        for group in subcommand.options:
            subparser.add_class_arguments(group)
        subparsers.add_subcommand(name, subparser, help=subcommand.summary)
    for name, summary in STAGES.items():
        subparsers.add_subcommand(name, ArgumentParser(), help=summary)
    return parser


def _spelt(words: Sequence[str]) -> list[str]:
    """The words as the parser takes them: underscores in names, and a value for each flag that stands alone."""
    spelt = []
    for word, following in zip(words, [*words, "--"][1:], strict=True):
        name, equals, value = word.partition("=")
        name = name.replace("-", "_").replace("__", "--", 1) if name.startswith("--") else name
        if name in _FLAGS and not equals and following.startswith("--"):
            name = _FLAGS[name]
        spelt.append(name + equals + value)
    return spelt
