"""``lightning-tricks ablate`` and ``lightning-tricks confirm``."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn
from torchvision.transforms import v2

from lightning_tricks import recipes
from lightning_tricks.callbacks import Augment, LinearScaling
from lightning_tricks.cli.errors import Interrupted
from lightning_tricks.cli.options import (
    ConfirmOptions,
    DataOptions,
    ShareOptions,
    StudyOptions,
    TrainingOptions,
    check_loader_workers,
)
from lightning_tricks.cli.trainer_command import check_trainer, trainer_options
from lightning_tricks.cli.tricks import DEFAULT_TRICKS, TRICKS, make_callbacks, module_options, parse_tricks
from lightning_tricks.data import DataError
from lightning_tricks.data.choose import choose_data
from lightning_tricks.functional.checks import unknown_name
from lightning_tricks.functional.lr import linear_scaling
from lightning_tricks.models import Classifier
from lightning_tricks.study import Ablation, Arm, StudyResult
from lightning_tricks.study.runs.store import write_atomically

_OPTIONS_FILE = "command.json"
_FILE_WIDTH = 100  # letters per line in a file or a pipe: enough for the table
_PUBLISHED: dict[str, Callable[[], Sequence[pl.Callback]]] = {
    "bag_of_tricks": recipes.bag_of_tricks,
    "torchvision_2021": partial(recipes.torchvision_2021, mean=0.0),  # the mean of normalised images
}


def ablate(study_options: StudyOptions, data: DataOptions, training: TrainingOptions, share: ShareOptions) -> None:
    """Does the unfinished runs of a study, writes its report and prints its table."""
    if study_options.recipe is not None and study_options.tricks is not None:
        raise ValueError("--recipe stands in place of --tricks, but both are given")
    check_loader_workers(data)
    study = build_study(study_options, data, training, directory=share.out)
    study.runs(share.shard)  # refuses a wrong share before anything is written
    options = {"study_options": vars(study_options), "data": vars(data), "training": vars(training)}
    write_atomically(share.out / _OPTIONS_FILE, json.dumps(options, indent=2, default=str))
    with _interruptible(study, share.out):
        result = study.run(shard=share.shard)
    if result.missing:
        runs = len(study.runs())
        print(f"{runs - len(result.missing)} of {runs} runs are finished in {share.out}; the rest are other shares'.")
        print("Once they are finished too, the same command writes the report.")
    else:
        _report(result, share.out, _rate_caution(study.arms, data, training))


def confirm(options: ConfirmOptions) -> None:
    """Compares one arm of a finished study with the baseline on the test part, and reports."""
    study_options, data, training = _read_options(options.out)
    study = build_study(study_options, data, training, directory=options.out)
    if missing := study.result().missing:
        raise ValueError(f"the study in {options.out} is not finished: {len(missing)} runs are missing")
    if options.arm not in study.references:
        raise unknown_name("arm", options.arm, study.references)
    with _interruptible(study, options.out):
        result = study.confirm(options.arm, num_seeds=options.seeds)
    _report(result, options.out / "confirm", _rate_caution({options.arm: study.arms[options.arm]}, data, training))


def build_study(study: StudyOptions, data: DataOptions, training: TrainingOptions, *, directory: Path) -> Ablation:
    """The study that the options describe; ValueError or DataError if they describe none."""
    if study.margin is not None and study.margin >= 100:
        raise ValueError(f"--margin is in points of accuracy, of which there are 100, but got {study.margin:g}")
    make_data = choose_data(**vars(data))
    images = make_data(seed=0)
    options: dict[str, Any] = {
        "model": training.model,
        "num_classes": images.num_classes,
        "in_channels": images.in_channels,
        "image_size": images.image_size,
        "lr": training.lr,
    }
    if training.pretrained or training.weights is not None:
        options |= {"pretrained": training.pretrained, "weights": training.weights}
    make_module = partial(Classifier, **options)
    if study.recipe is not None and study.recipe in _PUBLISHED:
        arms = _arms_of_published(_PUBLISHED[study.recipe])
    else:
        if study.recipe is not None and "," not in study.recipe and study.recipe not in TRICKS:
            raise unknown_name("recipe", study.recipe, _PUBLISHED, more=", or names of tricks, separated by commas")
        names = parse_tricks(study.recipe or (",".join(DEFAULT_TRICKS) if study.tricks is None else study.tricks))
        arms = {name: _arm(name, make_module, training) for name in names}
    for make in {id(make): make for make in (arm.module_factory or make_module for arm in arms.values())}.values():
        # An unknown model, or one that does not suit the data or a trick, is reported before anything is trained.
        make()
    check_trainer(training)
    if training.accelerator == "cpu" and training.model == "tiny":
        # The net is too small to gain from a second thread, and one thread adds in the same order on every machine.
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
        lr_grid=None if training.lr_grid is None else _parse_grid(training.lr_grid),
        settings=None if training.weights is None else {"weights": sha256(training.weights.read_bytes()).hexdigest()},
        margin=None if study.margin is None else study.margin / 100,
    )


def _parse_grid(text: str) -> list[float]:
    try:
        return [float(rate) for rate in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--lr-grid needs numbers separated by commas, such as 0.03,0.1,0.3, but got {text!r}"
        ) from None


def _arm(name: str, make_module: Callable[..., Classifier], training: TrainingOptions) -> Arm:
    if (with_teacher := TRICKS[name].callbacks_with_teacher) is not None:
        return Arm(with_teacher, prepare=partial(_train_teacher, make_module, training))
    options = module_options([name])
    return Arm(partial(make_callbacks, [name], training.epochs), partial(make_module, **options) if options else None)


def _arms_of_published(make: Callable[[], Sequence[pl.Callback]]) -> dict[str, Arm]:
    """One arm per callback of a published recipe, named after its class."""

    def one(position: int) -> list[pl.Callback]:
        return [make()[position]]

    def on_bytes(position: int, transforms: Sequence[v2.Transform]) -> list[pl.Callback]:
        before, after = transforms
        augment: Any = make()[position]
        return [Augment(v2.Compose([before, augment.transform, after]))]

    return {
        type(callback).__name__: Arm(partial(on_bytes, i), prepare=_byte_transforms)
        if isinstance(callback, Augment)
        else Arm(partial(one, i))
        for i, callback in enumerate(make())
    }


def _byte_transforms(datamodule: Any, seed: int) -> list[v2.Transform]:
    """What turns normalised images into bytes, for which TrivialAugment is defined, and what turns them back."""
    mean, std = datamodule.mean, datamodule.std
    raw = v2.Normalize((-mean / std).tolist(), (1 / std).tolist())
    return [
        v2.Compose([raw, v2.ToDtype(torch.uint8, scale=True)]),
        v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean.tolist(), std.tolist())]),
    ]


def _train_teacher(
    make_module: Callable[[], Classifier], training: TrainingOptions, datamodule: pl.LightningDataModule, seed: int
) -> nn.Module:
    """A net like the student's, trained on the same part for as many epochs without tricks."""
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


def _rate_caution(arms: Mapping[str, Sequence[Arm]], data: DataOptions, training: TrainingOptions) -> str:
    """Warns when LinearScaling changes an arm's learning rate; empty otherwise."""
    tricks = [trick for joined in arms.values() for trick in joined if not trick.prepare]
    made = [callback for trick in tricks for callback in trick.make_callbacks()]
    scaling = next((callback for callback in made if isinstance(callback, LinearScaling)), None)
    if scaling is None or training.lr_grid is not None:
        return ""
    size, base, lr = data.batch_size, scaling.base_batch_size, training.lr
    factor = linear_scaling(batch_size=size, base_batch_size=base, rule=scaling.rule)(0)
    if factor == 1:
        return ""
    return (
        f"Caution: with LinearScaling an arm trains at {factor:g} times the baseline's learning rate, {lr * factor:g} "
        f"instead of {lr:g} (batches of {size} on one device, relative to {base}), so the comparison includes that "
        "difference. To choose the best rate for each arm, use --lr-grid."
    )


def _read_options(directory: Path) -> tuple[StudyOptions, DataOptions, TrainingOptions]:
    try:
        groups = json.loads((directory / _OPTIONS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{directory}: there is no study of `lightning-tricks ablate` there.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{directory}: cannot read the study of `lightning-tricks ablate` there: {error}") from error
    data = DataOptions(**(groups["data"] | {"data_dir": Path(groups["data"]["data_dir"])}))
    training = TrainingOptions(**groups["training"])
    weights = None if training.weights is None else Path(training.weights)
    return StudyOptions(**groups["study_options"]), data, replace(training, weights=weights)


@contextmanager
def _interruptible(study: Ablation, directory: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # A user of the command cannot change its loaders, except with `--workers`.
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


def comparison_table(result: StudyResult) -> Table:
    """One line per arm; accuracies in percent, differences in percentage points."""
    shown = {
        "arm": "arm",
        "mean": "acc. %",
        "difference": "diff.",
        "interval": f"{100 * result.confidence:g}% interval",
    }
    shown |= {"verdict": "verdict", "s per run": "s/run", "peak MB": "MB"}
    table = Table(*shown.values(), box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column, name in zip(table.columns, shown, strict=True):
        column.justify = "left" if name in ("arm", "verdict") else "right"
        column.no_wrap = name != "verdict"
    for cells in replace(result, percent=True).cells():
        table.add_row(*(Text(cells[name]) for name in shown))
    return table
