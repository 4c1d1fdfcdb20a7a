# %% [markdown]
# # Which tricks help on my own data?
#
# That differs from problem to problem. `Ablation` trains a baseline and each trick over several seeds, and compares
# them so that the answer can be trusted: on a validation part, with the weights of the last epoch, paired by seed,
# with intervals that know that the splits overlap. The same as a command: `lightning-tricks ablate --data FOLDER`.

# %%
# %matplotlib inline
import tempfile
from functools import partial
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

from lightning_tricks import Ablation, Arm, CosineDecay, Mixup
from lightning_tricks.data import ImageFolderDataModule
from lightning_tricks.models import Classifier

# %% [markdown]
# A folder with one folder of images for each class. Here we write one, with the digits 3 and 8; take your own.

# %%
folder = Path(tempfile.mkdtemp())
digits = load_digits()
for i, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
    if label in (3, 8):
        (folder / str(label)).mkdir(exist_ok=True)
        Image.fromarray((pixels * 15).astype("uint8")).save(folder / str(label) / f"{i}.png")
print({path.name: len(list(path.iterdir())) for path in sorted(folder.iterdir())})

# %% [markdown]
# A study needs a function for the module, one for the data of a seed, and the arms: callbacks, by a function that
# makes them anew for each run. Any LightningModule that logs its metric will do.

# %%
study = Ablation(
    partial(Classifier, num_classes=2, in_channels=3, image_size=12, lr=0.01),
    partial(ImageFolderDataModule, folder, image_size=12, batch_size=16),
    {"mixup": Arm(lambda: [Mixup()]), "cosine": Arm(lambda: [CosineDecay()])},
    num_seeds=3,
    max_epochs=8,
    trainer_options={"accelerator": "cpu"},
)
result = study.run(progress=False)

# %% [markdown]
# The runs are the same on every machine of a kind; with `directory=` each is on disk as soon as it is finished, and
# never done twice.

# %%
for row in result.rows:
    print(f"{row.arm:10} {row.value:.3f} {row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}] {row.verdict}")

# %%
result.figure()

# %%
for note in (*result.notes(), result.warning):
    print(note)

# %% [markdown]
# Three seeds are a demonstration: take ten seeds or more, and as many epochs as you train for. State
# the largest difference that does not matter to you, `margin=0.005` say, before you look; otherwise "inconclusive" is
# all that a null result can say.
#
# One chosen arm may then be compared with the baseline on the test part, once: `study.confirm("mixup")`.
# `result.write(folder)` leaves the tables, the picture and one self-contained page.
