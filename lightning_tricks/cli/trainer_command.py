"""``lightning-tricks fit``, ``validate`` and ``test``, and the Trainers of the other subcommands."""

import os
import pydoc
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

# A class that is imported can be given by its name alone: `errors` imports all tricks and data modules.
from lightning_tricks.cli.errors import ConfigError, Interrupted, raised_in, unknown_class
from lightning_tricks.cli.help import PROG, HelpFormatter, examples_text
from lightning_tricks.cli.options import TrainingOptions
from lightning_tricks.data import DataError, DigitsDataModule
from lightning_tricks.models import Classifier
from lightning_tricks.study.runs.training import quiet

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

Name a trick, DigitsDataModule, CIFAR10DataModule, CIFAR100DataModule and ImageFolderDataModule by its class, and a
module of your own by its full path."""


class TricksCLI(LightningCLI):
    """A LightningCLI for any LightningModule and LightningDataModule, by default :class:`Classifier` on the digits."""

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
                raise Interrupted("stopped; no checkpoint was written yet, the same command starts again") from None
            raise
        except FileNotFoundError as error:
            if not raised_in("lightning", error):
                raise
            raise DataError(str(error)) from None  # the checkpoint
        except RuntimeError as error:
            if not raised_in("lightning.pytorch.cli", error):
                raise
            # The configuration of another run is in the folder.
            raise ConfigError(f"{error} Or choose another --trainer.default_root_dir.") from None

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Sets the defaults."""
        for key, default in {"model": Classifier, "data": DigitsDataModule}.items():
            parser.set_defaults({key: {"class_path": f"{default.__module__}.{default.__name__}"}})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Reads the configuration."""
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            words = args if isinstance(args, list) else sys.argv[1:]
            raise ConfigError(unknown_class(words) or " ".join(str(error).split())) from None

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
            cause: BaseException = error
            while raised_in("jsonargparse", cause) and cause.__cause__:
                cause = cause.__cause__
            if isinstance(cause, OSError) and cause.filename:
                raise ConfigError(f"{cause.filename}: {cause.strerror}") from None
            if isinstance(cause, ValueError | TypeError):
                raise ConfigError(" ".join(str(cause).split())) from None
            raise cause from cause.__cause__

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
        """The subcommands of LightningCLI that a classifier needs."""
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
    """Runs the stage that the first word names."""
    # As with `python -m`, modules in the working directory can be imported.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with warnings.catch_warnings():
        # Lightning 2.6 calls jsonargparse by names that jsonargparse 4.49 has replaced.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\.pytorch\.cli")
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
        # The default data are in memory, where loading processes do not help.
        warnings.filterwarnings("ignore", message="The .*dataloader.* does not have many workers")
        # Checkpoints always come from another run's folder, so this warning is expected.
        warnings.filterwarnings("ignore", message="The dirpath has changed from")
        TricksCLI(args)


def trainer_options(training: TrainingOptions) -> dict[str, Any]:
    """The arguments of the Trainer that the options give."""
    devices = int(training.devices) if training.devices.isdigit() else training.devices
    return {"accelerator": training.accelerator, "devices": devices, "precision": training.precision}


def check_trainer(training: TrainingOptions) -> None:
    """ValueError or MisconfigurationException if the options make no Trainer, before anything is trained or written."""
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the trainings themselves warn
            pl.Trainer(
                logger=False, enable_checkpointing=False, enable_model_summary=False, **trainer_options(training)
            )
    except (TypeError, ImportError) as error:
        raise ValueError(f"--accelerator {training.accelerator} with --devices {training.devices}: {error}") from error
