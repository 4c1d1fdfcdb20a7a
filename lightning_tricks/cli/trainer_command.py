"""``lightning-tricks fit``, ``validate`` and ``test``: a LightningCLI that knows the tricks and the data."""

import os
import pydoc
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

import lightning_tricks  # noqa: F401 - a class that is imported can be given by its name alone
from lightning_tricks.cli import cifar, image_folder  # noqa: F401 - likewise
from lightning_tricks.cli.classifier import Classifier
from lightning_tricks.cli.config_errors import ConfigError, instantiation_error, parsing_error
from lightning_tricks.cli.digits import DigitsDataModule
from lightning_tricks.cli.ending import PROG, HelpFormatter, Interrupted, examples_text
from lightning_tricks.cli.image_data import DataError

STAGES = {
    "fit": "Trains a module with the tricks that a YAML file or the options name.",
    "validate": "Measures a checkpoint on the validation part.",
    "test": "Measures a checkpoint on the test part.",
}
_CHECKPOINT = "--config tricks.yaml --ckpt_path lightning_logs/version_0/checkpoints/last.ckpt"
_EXAMPLES = {
    "fit": (
        "fit --config tricks.yaml",
        "fit --config tricks.yaml --model.lr 0.1 --trainer.max_epochs 1",
        "fit --config tricks.yaml --print_config",
    ),
    "validate": (f"validate {_CHECKPOINT}",),
    "test": (f"test {_CHECKPOINT}",),
}
_FILE = """\
tricks.yaml, for example:
  trainer:
    max_epochs: 3
    callbacks:
      - class_path: RandomChoice
        init_args:
          tricks:
            - class_path: Mixup
              init_args: {alpha: 0.4}
            - class_path: CutMix
      - class_path: GradualWarmup
        init_args: {epochs: 0.5}
      - class_path: CosineDecay
      - class_path: ModelCheckpoint
        init_args: {save_last: true}
  model:
    class_path: Classifier
    init_args: {model: tiny, lr: 0.05}
  data:
    class_path: DigitsDataModule

Every trick goes by the name of its class, as do DigitsDataModule, CIFAR10DataModule, CIFAR100DataModule,
ImageFolderDataModule, and any module of your own by its full path."""


class TricksCLI(LightningCLI):
    """Any LightningModule and LightningDataModule, by default :class:`Classifier` on the digits.

    Args:
        args: the words after the command's name; ``None`` for those of the process.

    Raises:
        ConfigError: if the configuration makes no Trainer, module or data.
        DataError: if the data or a checkpoint cannot be read.
        Interrupted: after Ctrl-C.
    """

    def __init__(self, args: Sequence[str] | None = None) -> None:
        help_of_stages: dict[str, Any] = {
            stage: {
                "description": summary,
                "epilog": examples_text(_EXAMPLES[stage], _FILE),
                "formatter_class": HelpFormatter,
            }
            for stage, summary in STAGES.items()
        }
        try:
            super().__init__(
                pl.LightningModule,
                pl.LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                parser_kwargs={
                    "prog": PROG,
                    "formatter_class": HelpFormatter,
                    "exit_on_error": False,
                    **help_of_stages,
                },
                args=None if args is None else list(args),
            )
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):
                checkpoints = self.trainer.checkpoint_callback
                path = getattr(checkpoints, "last_model_path", "") or getattr(checkpoints, "best_model_path", "")
                if path:
                    raise Interrupted(f"stopped; the same command with --ckpt_path {path} goes on from there") from None
                raise Interrupted("stopped; no checkpoint was written yet, the same command begins anew") from None
            raise
        except FileNotFoundError as error:
            if not str(error).startswith("Checkpoint"):
                raise
            raise DataError(str(error)) from None
        except RuntimeError as error:
            path, found, _ = str(error).removeprefix("SaveConfigCallback expected ").partition(" to NOT exist")
            if not found:
                raise
            raise ConfigError(
                f"{path} exists already, and this run would write its configuration over it. Move it away, or give "
                "each run a folder of its own: with a logger, or another --trainer.default_root_dir."
            ) from None

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Sets the defaults."""
        for key, default in {"model": Classifier, "data": DigitsDataModule}.items():
            parser.set_defaults({key: {"class_path": f"{default.__module__}.{default.__name__}"}})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Reads the configuration."""
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            raise parsing_error(error) from None

    def instantiate_classes(self) -> None:
        """Makes the data, a module that suits them, and the Trainer."""
        config = self.config[self.subcommand]
        try:
            self.datamodule = self._make(Namespace(data=config.data)).data  # type: ignore[no-untyped-call]
            _suit_data(config.model, self.datamodule)
            # Lightning keeps a copy of the configuration for save_hyperparameters.
            vars(self).pop("config_dump", None)
            made = config.clone()
            made.pop("data")
            made = self._make(made)
            made.data = self.datamodule
            self.model = made.model
            self.config_init = Namespace({self.subcommand: made})  # type: ignore[no-untyped-call]
            self.trainer = self.instantiate_trainer()
        except (ValueError, TypeError, OSError) as error:
            raise instantiation_error(error) from None

    def _make(self, config: Namespace) -> Namespace:
        """What a part of the configuration stands for."""
        whole = Namespace({"subcommand": self.subcommand, self.subcommand: config})  # type: ignore[no-untyped-call]
        return self.parser.instantiate(whole)[self.subcommand]

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Makes the Trainer."""
        try:
            return super().instantiate_trainer(**kwargs)
        except ImportError as error:  # of an accelerator's package
            raise ConfigError(str(error)) from None

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Those of LightningCLI that a classifier has a use for."""
        return {stage: LightningCLI.subcommands()[stage] for stage in STAGES}


def _suit_data(model: Namespace, data: pl.LightningDataModule) -> None:
    """Fills in what the user leaves open of :class:`Classifier`; the saved configuration holds it."""
    made = pydoc.locate(model.class_path)
    if not (isinstance(made, type) and issubclass(made, Classifier)):
        return
    for name in ("num_classes", "in_channels", "image_size"):
        if name not in model.get("init_args", {}):  # a subclass that decides by itself
            continue
        given, found = model.init_args[name], getattr(data, name, None)
        if given is not None and isinstance(found, int) and given != found:
            raise ValueError(
                f"{made.__name__} needs {name} to be that of the data, but got {given}, and {type(data).__name__} has "
                f"{found}; leave {name} out"
            )
        if given is None and not isinstance(found, int):
            raise ValueError(
                f"{made.__name__} needs {name}, but {type(data).__name__} does not say it; give --model.{name}"
            )
        model.init_args[name] = found if given is None else given


def run_trainer(args: Sequence[str] | None) -> None:
    """Runs the stage that the first word names.

    Args:
        args: the words after the command's name; ``None`` for those of the process.

    Raises:
        ConfigError: if the configuration makes no Trainer, module or data.
        DataError: if the data or the checkpoint cannot be read.
        Interrupted: after Ctrl-C.
    """
    # As `python -m` has it: a module of one's own stands where the command is called.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with warnings.catch_warnings():
        # Lightning 2.6 calls jsonargparse by names that jsonargparse 4.49 has replaced.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\.pytorch\.cli")
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
        # The default data lie in memory, where loading processes do not help.
        warnings.filterwarnings("ignore", message="The .*dataloader.* does not have many workers")
        # Each run has a folder of its own, so that a checkpoint always comes from another.
        warnings.filterwarnings("ignore", message="The dirpath has changed from")
        TricksCLI(args)
