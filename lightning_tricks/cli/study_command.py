"""``lightning-tricks ablate`` and ``lightning-tricks confirm``."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import torch
from rich.console import Console
from torch import nn

from lightning_tricks.cli.arms import DEFAULT_TRICKS, TRICKS, make_callbacks, module_options, parse_tricks
from lightning_tricks.cli.classifier import Classifier
from lightning_tricks.cli.data_choice import choose_data
from lightning_tricks.cli.ending import Interrupted
from lightning_tricks.cli.image_data import DataError
from lightning_tricks.cli.names import unknown_name
from lightning_tricks.cli.options import ConfirmOptions, DataOptions, ShareOptions, StudyOptions, TrainingOptions
from lightning_tricks.cli.rate_caution import rate_caution
from lightning_tricks.cli.table import comparison_table
from lightning_tricks.cli.trainer_options import check_trainer, trainer_options
from lightning_tricks.study import Ablation, Arm, StudyResult, recipes
from lightning_tricks.study.run_store import write_atomically

_OPTIONS_FILE = "command.json"
_FILE_WIDTH = 100  # of what is written into a file or a pipe, in letters: enough for the table
# Not torchvision_2021: its TrivialAugment needs images that are not normalised yet, and those of the command are.
_PUBLISHED: dict[str, Callable[[], Sequence[pl.Callback]]] = {"bag_of_tricks": recipes.bag_of_tricks}


def ablate(study_options: StudyOptions, data: DataOptions, training: TrainingOptions, share: ShareOptions) -> None:
    """Does the runs of a study that are not finished, writes its report and prints its table.

    Args:
        study_options: what is compared.
        data: the images.
        training: the training.
        share: where the study is kept, and which part of it is done.

    Raises:
        ValueError: if the options do not make a study, or another study is kept there.
        DataError: if the data cannot be read.
        Interrupted: after Ctrl-C.
    """
    if study_options.recipe is not None and study_options.tricks is not None:
        raise ValueError("--recipe stands in place of --tricks, but both are given")
    study = build_study(study_options, data, training, directory=share.out)
    study.runs(share.shard)  # refuses what is no share before anything is written
    options = {"study_options": vars(study_options), "data": vars(data), "training": vars(training)}
    write_atomically(share.out / _OPTIONS_FILE, json.dumps(options, indent=2, default=str))
    with _interruptible(study, share.out):
        result = study.run(shard=share.shard)
    if result.missing:
        runs = len(study.runs())
        print(f"{runs - len(result.missing)} of {runs} runs are finished in {share.out}; the rest are other shares'.")
        print("Once they are finished too, the same command writes the report.")
    else:
        _report(result, share.out, _caution(study.arms, data, training))


def confirm(options: ConfirmOptions) -> None:
    """Compares one arm of a finished study with the baseline on the test part, once, and reports.

    Args:
        options: which arm of which study.

    Raises:
        ValueError: if the study is not finished, has no such arm, or another confirmation was begun.
        DataError: if there is no study, or the data cannot be read.
        Interrupted: after Ctrl-C.
    """
    study_options, data, training = _read_options(options.out)
    study = build_study(study_options, data, training, directory=options.out)
    if missing := study.result().missing:
        raise ValueError(f"the study in {options.out} is not finished: {len(missing)} runs are missing")
    if options.arm not in study.references:
        raise unknown_name("arm", options.arm, study.references)
    with _interruptible(study, options.out):
        result = study.confirm(options.arm, num_seeds=options.seeds)
    _report(result, options.out / "confirm", _caution({options.arm: study.arms[options.arm]}, data, training))


def build_study(study: StudyOptions, data: DataOptions, training: TrainingOptions, *, directory: Path) -> Ablation:
    """The study that the options describe.

    Args:
        study: what is compared.
        data: the images.
        training: the training.
        directory: where it is kept.

    Raises:
        ValueError: if a name is not known, the model does not suit the data, or another study is kept there.
        DataError: if the data cannot be read.
    """
    if study.margin is not None and study.margin >= 100:
        raise ValueError(f"--margin is in points of accuracy, of which there are 100, but got {study.margin:g}")
    make_data = choose_data(**vars(data))
    images = make_data(seed=0)
    make_module = partial(
        Classifier,
        model=training.model,
        num_classes=images.num_classes,
        in_channels=images.in_channels,
        image_size=images.image_size,
        lr=training.lr,
    )
    if study.recipe is not None and study.recipe in _PUBLISHED:
        arms = _arms_of_published(_PUBLISHED[study.recipe])
    else:
        if study.recipe is not None and "," not in study.recipe and study.recipe not in TRICKS:
            raise unknown_name("recipe", study.recipe, _PUBLISHED, more=", or names of tricks, separated by commas")
        names = parse_tricks(study.recipe or (",".join(DEFAULT_TRICKS) if study.tricks is None else study.tricks))
        arms = {name: _arm(name, make_module, training) for name in names}
    for arm in arms.values():
        # An unknown model, or one that does not suit the data or a trick, is told before anything is trained.
        (arm.module_factory or make_module)()
    check_trainer(training)
    if training.accelerator == "cpu" and training.model == "tiny":
        # The net is too small for a second thread to help, and one thread adds in one order on every machine.
        torch.set_num_threads(1)
    return Ablation(
        make_module,
        make_data,
        arms,
        question="screen" if study.recipe is None else "recipe",
        num_seeds=study.seeds,
        max_epochs=training.epochs,
        directory=directory,
        trainer_options=trainer_options(training),
        margin=None if study.margin is None else study.margin / 100,
    )


def _arm(name: str, make_module: Callable[..., Classifier], training: TrainingOptions) -> Arm:
    if (taught := TRICKS[name].taught) is not None:
        return Arm(taught, prepare=partial(_train_teacher, make_module, training))
    options = module_options([name])
    return Arm(partial(make_callbacks, [name], training.epochs), partial(make_module, **options) if options else None)


def _arms_of_published(make: Callable[[], Sequence[pl.Callback]]) -> dict[str, Arm]:
    """Each callback of a published recipe, under the name of its class."""

    def one(position: int) -> list[pl.Callback]:
        return [make()[position]]

    return {type(callback).__name__: Arm(partial(one, i)) for i, callback in enumerate(make())}


def _train_teacher(
    make_module: Callable[[], Classifier], training: TrainingOptions, datamodule: pl.LightningDataModule, seed: int
) -> nn.Module:
    """A net of the student's kind, trained as long as it on the same part without any trick."""
    module = make_module()
    trainer = pl.Trainer(
        max_epochs=training.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **trainer_options(training),
    )
    trainer.fit(module, datamodule.train_dataloader())
    return module.net


def _caution(arms: Mapping[str, Sequence[Arm]], data: DataOptions, training: TrainingOptions) -> str:
    tricks = [trick for joined in arms.values() for trick in joined]
    return rate_caution(tricks, lr=training.lr, batch_size=data.batch_size)


def _read_options(directory: Path) -> tuple[StudyOptions, DataOptions, TrainingOptions]:
    try:
        groups = json.loads((directory / _OPTIONS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{directory}: there is no study of `lightning-tricks ablate` there.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{directory}: cannot read the study of `lightning-tricks ablate` there: {error}") from error
    data = DataOptions(**(groups["data"] | {"data_dir": Path(groups["data"]["data_dir"])}))
    return StudyOptions(**groups["study_options"]), data, TrainingOptions(**groups["training"])


@contextmanager
def _interruptible(study: Ablation, directory: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # It is the loaders' of the command, and `--workers` is there for those that it would help.
            warnings.filterwarnings("ignore", message="The number of training batches")
            yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; what is finished is kept in {directory}, and the same command goes on from there"
        ) from None


def _report(result: StudyResult, directory: Path, caution: str) -> None:
    paths = replace(result, percent=True).write(directory)
    console = Console()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(comparison_table(result))
    for note in filter(None, (*result.notes(), caution, result.warning)):
        console.print(note, highlight=False, markup=False)
    console.print("Written: " + ", ".join(map(str, paths)), highlight=False, markup=False, soft_wrap=True)
