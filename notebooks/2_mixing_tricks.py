# %% [markdown]
# # What each mixing trick does to pictures and labels
#
# `preview` draws a batch before and after, with the weights of the labels under each image and what was drawn (λ, a
# box) beside it. The rule for all of them: **the weight of a label is the share of its image's pixels**, after
# clipping and rounding.

# %%
# %matplotlib inline
import torch
from sklearn.datasets import load_sample_images

from lightning_tricks import (
    RICAP,
    CutMix,
    Cutout,
    LabelSmoothing,
    Mixup,
    Mosaic,
    RandomChoice,
    RandomErasing,
    preview,
)

# %% [markdown]
# Four crops of the two photographs that ship with scikit-learn, wider than high:

# %%
CLASSES = ["temple", "flower"]
photos = [torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255 for photo in load_sample_images().images]
crops = [
    photo[:, top : top + 288 : 8, left : left + 384 : 8] for photo in photos for top, left in ((20, 20), (130, 240))
]
batch = torch.stack(crops), torch.tensor([0, 0, 1, 1])


def show(*tricks):
    return preview(list(tricks), batch, rng=116, max_images=4, mean=0.0, std=1.0, class_names=CLASSES)


# %% [markdown]
# **Mixup** blends each image with another: λ of the one, 1 − λ of the other, λ ~ Beta(α, α). With the usual α = 0.2
# most blends are faint; α = 1 shows more.

# %%
show(Mixup(alpha=1.0))

# %% [markdown]
# **CutMix** pastes a box of another image. The box is clipped at the border, and λ is that of the clipped box.

# %%
show(CutMix())

# %% [markdown]
# `per_sample=True` draws a box for each image rather than one for the batch:

# %%
show(CutMix(per_sample=True))

# %% [markdown]
# **RICAP** patches four crops together, each of another image and as large as its quadrant:

# %%
show(RICAP(beta=1.0))

# %% [markdown]
# **Mosaic** shows four whole images, each resized to its quadrant:

# %%
show(Mosaic())

# %% [markdown]
# **Cutout** and **RandomErasing** blank a part, and leave the label alone:

# %%
show(Cutout(length=0.5, value=0.5), RandomErasing(p=1.0, value=0.5))

# %% [markdown]
# Two mixing tricks in one list would both mix every batch. `RandomChoice` takes one of them for each batch:

# %%
show(RandomChoice([Mixup(alpha=1.0), CutMix()]))

# %% [markdown]
# The numbers behind a picture: each image is labelled by components, whose weights add up to 1. Smoothing adds its
# share of all classes.

# %%
_, labels = CutMix()(batch, rng=1)
print(labels.probabilities(2))
_, labels = LabelSmoothing(label_smoothing=0.1)(batch, rng=1)
print(labels.probabilities(2))
