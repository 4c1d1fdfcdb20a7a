"""``lightning-tricks preview``."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from lightning_tricks.callbacks import BatchTrick, LinearScaling, LRTrick
from lightning_tricks.cli.options import DataOptions, PreviewOptions, check_loader_workers
from lightning_tricks.cli.tricks import TRICKS, make_callbacks, parse_tricks
from lightning_tricks.data.choose import choose_data
from lightning_tricks.plots import plot_lr, preview


def write_preview(options: PreviewOptions, data: DataOptions) -> None:
    """Writes a PNG of the first training batch before and after the tricks, and one of the learning rate."""
    check_loader_workers(data)
    figures = _figures(options, data)
    if not figures:
        raise ValueError("none of these tricks changes the batch or the learning rate; there is nothing to draw")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        path = options.out / f"{name}.png"
        figure.savefig(path, dpi=150)
        print(f"Written: {path}")


def _figures(options: PreviewOptions, data: DataOptions) -> Mapping[str, Figure]:
    names = parse_tricks(options.tricks)
    if with_teacher := [name for name in names if TRICKS[name].callbacks_with_teacher]:
        raise ValueError(f"{', '.join(with_teacher)} needs a trained teacher and cannot be drawn without a training")
    callbacks = [
        # In a training it finds the batch size in the loader.
        LinearScaling(batch_size=data.batch_size) if isinstance(callback, LinearScaling) else callback
        for callback in make_callbacks(names, options.epochs)
    ]
    images = choose_data(**vars(data))(seed=options.seed)
    images.prepare_data()
    images.setup("fit")
    loader = images.train_dataloader()
    figures: dict[str, Figure] = {}
    if any(isinstance(callback, BatchTrick) for callback in callbacks):
        figures["batch"] = preview(
            callbacks,
            next(iter(loader)),
            rng=options.seed,
            max_images=options.images,
            mean=images.mean.tolist(),
            std=images.std.tolist(),
            class_names=list(images.class_names),
        )
    if any(isinstance(callback, LRTrick) for callback in callbacks):
        figures["learning_rate"] = plot_lr(callbacks, lr=options.lr, steps_per_epoch=len(loader), epochs=options.epochs)
    return figures
