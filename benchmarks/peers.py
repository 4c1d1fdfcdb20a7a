"""The other implementations that the kernels are timed against, as a user would call them on a batch."""

import warnings
from functools import partial

import kornia.augmentation as kornia_aug
import numpy as np
import torch
import torch.nn.functional as F
from timm.data.mixup import Mixup as TimmMixup
from timm.data.random_erasing import RandomErasing as TimmErasing
from torchvision.transforms import v2

CLASSES = 10
AREAS = (0.02, 0.4)
RATIOS = (0.3, 1 / 0.3)
CUTOUT_LENGTH = 16


def torchvision_mix(transform, x):
    labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return partial(transform(alpha=1.0, num_classes=CLASSES), x, labels)


def timm_mix(x, *, mode, cutmix):
    # It writes into the batch that it gets, so that a user who keeps the batch pays for a copy.
    mix = TimmMixup(mixup_alpha=float(not cutmix), cutmix_alpha=float(cutmix), mode=mode, num_classes=CLASSES)
    labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return lambda: mix(x.clone(), labels)


def kornia_mix(x, *, same_on_batch, cutmix):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if cutmix:
            mix = kornia_aug.RandomCutMixV2(same_on_batch=same_on_batch, data_keys=["input"], use_correct_lambda=True)
        else:
            mix = kornia_aug.RandomMixUpV2(same_on_batch=same_on_batch, data_keys=["input"])
    return partial(mix, x)


def published_ricap(x):
    """As in the paper's listing: permute the whole batch, crop, and put the crops together, four times over."""

    def run():
        height, width = x.shape[-2:]
        h, w = (round(extent * np.random.beta(0.3, 0.3)) for extent in (height, width))
        crops = []
        for down, across in [(h, w), (h, width - w), (height - h, w), (height - h, width - w)]:
            permuted = x[torch.randperm(len(x), device=x.device)]
            row, column = np.random.randint(height - down + 1), np.random.randint(width - across + 1)
            crops.append(permuted[:, :, row : row + down, column : column + across])
        return torch.cat([torch.cat(crops[:2], dim=3), torch.cat(crops[2:], dim=3)], dim=2)

    return run


def plain_mosaic(x):
    """Four permuted batches, each resized to its quadrant, put together."""

    def run():
        height, width = x.shape[-2:]
        h, w = (int(np.random.uniform(0.25, 0.75) * extent) for extent in (height, width))
        small = [
            F.interpolate(
                x[torch.randperm(len(x), device=x.device)], size=(down, across), mode="bilinear", antialias=True
            )
            for down, across in [(h, w), (h, width - w), (height - h, w), (height - h, width - w)]
        ]
        return torch.cat([torch.cat(small[:2], dim=3), torch.cat(small[2:], dim=3)], dim=2)

    return run


def kornia_mosaic(x):
    return partial(kornia_aug.RandomMosaic(tuple(x.shape[-2:]), data_keys=["input"], p=1.0), x)


def published_cutout(x):
    """As in the authors' code: each image times a mask that is zero in the hole and one elsewhere."""

    def run():
        height, width = x.shape[-2:]
        holed = []
        for image in x:
            mask = np.ones((height, width), np.float32)
            row, column = np.random.randint(height), np.random.randint(width)
            half = CUTOUT_LENGTH // 2
            mask[max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 0
            holed.append(image * torch.from_numpy(mask).to(x.device).expand_as(image))
        return torch.stack(holed)

    return run


def torchvision_erasing(x):
    erase = v2.RandomErasing(p=0.5, scale=AREAS, ratio=RATIOS)
    return lambda: torch.stack([erase(image) for image in x])


def timm_erasing(x):
    erase = TimmErasing(probability=0.5, min_area=AREAS[0], max_area=AREAS[1], min_aspect=RATIOS[0], device=x.device)
    return lambda: erase(x.clone())


def kornia_erasing(x):
    return partial(kornia_aug.RandomErasing(scale=AREAS, ratio=RATIOS, p=0.5), x)
