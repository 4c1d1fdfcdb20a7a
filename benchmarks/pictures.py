"""Makes every picture of the documentation: ``python -m benchmarks.pictures`` writes ``docs/images/*.png``.

The photographs are the two that ship with scikit-learn.
"""

from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resize

from benchmarks import lr_overlay, pixel_share
from lightning_tricks import (
    RICAP,
    Augment,
    CosineDecay,
    CutMix,
    Cutout,
    GradualWarmup,
    LRTrick,
    Mixup,
    Mosaic,
    RandomChoice,
    RandomErasing,
    plot_lr,
)
from lightning_tricks.engine.batch_run import in_order
from lightning_tricks.plots._preview import draw_rows, each_alone
from lightning_tricks.plots.figure import pixels

IMAGES = Path(__file__).parent.parent / "docs" / "images"
NAMES = ["temple", "dahlia", "lake", "petals"]
CROPS = [(0, 60, 20, 300), (1, 70, 160, 300), (0, 100, 330, 300), (1, 150, 240, 150)]  # photo, top, left, height
SEED = 557  # of several hundred one whose draws show what every trick does


class HalvedEveryThirtyEpochs(LRTrick):
    """A user's own factor."""

    def factor(self, step):
        return 0.5 ** (step // 3000)


def photographs():
    """Four crops, float32 (4, 3, 120, 96) in [0, 1]."""
    photos = [torch.from_numpy(photo.copy()).permute(2, 0, 1) for photo in load_sample_images().images]
    crops = []
    for photo, top, left, height in CROPS:
        crop = photos[photo][:, top : top + height, left : left + height * 4 // 5]
        crops.append(resize(crop, [120, 96], antialias=True))
    return torch.stack(crops).float() / 255


def save(figure, name, *, dpi):
    figure.set_dpi(dpi)
    # A palette: photographs in a PNG are large otherwise.
    Image.fromarray(pixels(figure)).quantize(128, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def tricks():
    """Draws each trick alone, without a preview's row of all of them on one image."""
    batch = photographs(), torch.arange(4)
    alone = [
        Mixup(alpha=1.0),
        CutMix(),
        RICAP(beta=1.0),
        Mosaic(),
        RandomChoice([Mixup(alpha=1.0), CutMix()]),
        Cutout(length=40),
        RandomErasing(p=0.75),
        Augment(v2.TrivialAugmentWide()),
    ]
    rows = each_alone(in_order(alone, seed=SEED, rank=0), batch)
    return draw_rows("tricks", rows, max_images=4, mean=None, std=None, class_names=NAMES)


def composition():
    callbacks = [GradualWarmup(epochs=5), CosineDecay(), HalvedEveryThirtyEpochs()]
    return plot_lr(callbacks, lr=0.1, steps_per_epoch=100, epochs=90)


def main():
    IMAGES.mkdir(parents=True, exist_ok=True)
    save(tricks(), "tricks.png", dpi=90)
    composition().savefig(IMAGES / "composition.png", dpi=100)
    lr_overlay.main()
    pixel_share.main()


if __name__ == "__main__":
    main()
