"""``lightning-tricks preview``."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from lightning_tricks.callbacks.batch_trick import BatchTrick
from lightning_tricks.callbacks.linear_scaling import LinearScaling
from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.cli.arms import TRICKS, make_callbacks, parse_tricks
from lightning_tricks.cli.options import DataOptions, PreviewOptions
from lightning_tricks.data.choose import choose_data
from lightning_tricks.plots import plot_lr, preview


def write_preview(options: PreviewOptions, data: DataOptions) -> None:
    """Draws the first training batch before and after the tricks, and the learning rate; writes each as a PNG.

    Args:
        options: what is drawn.
        data: the images.

    Raises:
        ValueError: if a name is not known, or there is nothing to draw.
        DataError: if the data cannot be read.
        MisconfigurationException: if the tricks do not go together.
    """
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
    if taught := [name for name in names if TRICKS[name].taught]:
        raise ValueError(f"{', '.join(taught)} needs a trained teacher and cannot be drawn without a training")
    callbacks = [
        # It would find the batch size in the loader of a training, and there is none.
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
