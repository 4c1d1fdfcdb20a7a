"""RandomErasing: one rectangle of random area and shape erased from each image."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from torch import Tensor

from lightning_tricks.functional._boxes import erase
from lightning_tricks.functional.checks import check_choice, check_integer

RatioSampling: TypeAlias = Literal["log", "uniform"]


def random_erasing_boxes(
    rng: np.random.Generator,
    *,
    n: int,
    size: tuple[int, int],
    scale: tuple[float, float] = (0.02, 0.4),
    ratio: tuple[float, float] = (0.3, 1 / 0.3),
    ratio_sampling: RatioSampling = "log",
    attempts: int = 10,
) -> np.ndarray:
    """Draws one rectangle for each image.

    Its area share s is uniform in ``scale`` and its ratio r = height / width is drawn from ``ratio``; it measures
    ``round(√(s·H·W·r))`` by ``round(√(s·H·W/r))`` pixels. The first attempt that has at least one pixel and fits
    into the image is taken, at a uniform position. If none fits, the box has no area.

    Args:
        rng: generator to draw from; it always advances by the same amount.
        n: number of images.
        size: ``(H, W)`` of the images.
        scale: least and greatest share of the image's area, in [0, 1].
        ratio: least and greatest height / width, positive.
        ratio_sampling: ``"log"`` draws log r uniformly, so that tall and wide rectangles are equally likely;
            ``"uniform"`` draws r itself.
        attempts: how many pairs of area and ratio are drawn per image.

    Returns:
        The boxes ``(top, left, height, width)``, int64 of shape (n, 4).

    Raises:
        TypeError: if ``attempts`` is not an integer, or ``ratio_sampling`` not a string.
        ValueError: if ``scale``, ``ratio``, ``ratio_sampling`` or ``attempts`` is out of range.

    Example:
        >>> import numpy as np
        >>> random_erasing_boxes(np.random.default_rng(0), n=2, size=(8, 12), scale=(0.25, 0.25), ratio=(1, 1)).shape
        (2, 4)

    References:
        Zhong et al., "Random Erasing Data Augmentation", arXiv:1708.04896. There the ratio is drawn uniformly and up to
        100 attempts are made; the defaults here are those of torchvision.
    """
    if not 0 <= scale[0] <= scale[1] <= 1:
        raise ValueError(f"random_erasing_boxes needs scale to be two increasing numbers in [0, 1], but got {scale}.")
    if not 0 < ratio[0] <= ratio[1]:
        raise ValueError(f"random_erasing_boxes needs ratio to be two increasing numbers above 0, but got {ratio}.")
    check_choice("random_erasing_boxes", "ratio_sampling", ratio_sampling, get_args(RatioSampling))
    check_integer("random_erasing_boxes", "attempts", attempts, low=1)
    extent = np.asarray(size)
    area = rng.uniform(scale[0], scale[1], (n, attempts)) * extent.prod()
    if ratio_sampling == "log":
        drawn_ratio = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1]), (n, attempts)))
    else:
        drawn_ratio = rng.uniform(ratio[0], ratio[1], (n, attempts))
    position = rng.random((n, 2))

    tried = np.rint(np.sqrt(np.stack([area * drawn_ratio, area / drawn_ratio], axis=-1))).astype(np.int64)
    fits = ((tried >= 1) & (tried <= extent)).all(axis=-1)
    first = fits.argmax(axis=1)
    box_size = np.where(fits.any(axis=1)[:, None], tried[np.arange(n), first], 0)
    corner = np.floor(position * (extent - box_size + 1)).astype(np.int64)
    return np.concatenate([corner, box_size], axis=1)


def random_erasing(
    images: Tensor, *, boxes: Tensor | np.ndarray, value: float | Sequence[float] | Tensor = 0.0
) -> Tensor:
    """Erases one rectangle from each image.

    Args:
        images: tensor of any dtype (N, …, H, W).
        boxes: integers (N, 4), ``(top, left, height, width)`` in pixels, on any device. An image whose box has no area
            is unchanged; what lies outside the image is cut off.
        value: what the rectangles are filled with, in the units of the images: a number, one number per channel, or a
            tensor that broadcasts to the images, such as noise.

    Returns:
        A new tensor of the same shape, dtype, device and memory format.

    Raises:
        TypeError: if the boxes are not integers, or a tensor of values would lose its fraction in integer images.
        RuntimeError: by torch, if a tensor of values does not broadcast to the images, or ``images`` requires a
            gradient while gradients are on.
        ValueError: if ``images`` has fewer than three dimensions, the boxes have another shape, the values are not one
            per channel, or a number does not fit the images' dtype.

    Example:
        >>> import torch
        >>> random_erasing(torch.ones(1, 1, 2, 3), boxes=torch.tensor([[0, 1, 1, 2]]), value=7)[0, 0].tolist()
        [[1.0, 7.0, 7.0], [1.0, 1.0, 1.0]]

    References:
        Zhong et al., arXiv:1708.04896.
    """
    return erase(images, boxes=boxes, value=value, owner="random_erasing")
