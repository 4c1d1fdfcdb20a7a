import sys

import lightning.pytorch as pl
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from lightning_tricks import (
    RICAP,
    Augment,
    CosineDecay,
    CutMix,
    Cutout,
    Distillation,
    LabelSmoothing,
    Mixup,
    Mosaic,
    RandomChoice,
    RandomErasing,
    SoftTarget,
    preview,
)
from lightning_tricks.engine.batch_run import BatchRandomness
from lightning_tricks.plots.figure import pixels

NAMES = ["cat", "dog", "cow"]


def batch(n=3, channels=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, channels, 8, 6, generator=generator)
    return (images * 255).to(torch.uint8) if dtype == torch.uint8 else images.to(dtype), torch.arange(n) % 3


def rows(figure):
    """The axes of a figure, one list per row; the margin of each row starts with a title."""
    grid = []
    for axes in figure.axes:
        if axes.get_ylabel():
            grid.append([])
        grid[-1].append(axes)
    return grid


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def expected(images, low, high):
    return ((images.float() - low) / (high - low)).clamp(0, 1).movedim(1, -1).numpy()


def test_rows_are_the_originals_each_trick_alone_and_all_in_order():
    images, labels = batch()
    figure = preview([Mixup(alpha=1.0, seed=3), Cutout(length=3, seed=4)], (images, labels), class_names=NAMES)
    titles = [row[0].get_ylabel().split("\n")[0] for row in rows(figure)]
    assert titles == ["original", "Mixup", "Cutout", "Mixup, Cutout in this"]
    low, high = images.min(), images.max()
    for row, made in zip(rows(figure)[:1], [images], strict=True):
        for axes, picture in zip(row, expected(made, low, high), strict=True):
            np.testing.assert_allclose(shown(axes), picture, atol=1e-6)
    mixed, holed, both = ([shown(axes) for axes in row] for row in rows(figure)[1:])
    lam = float(rows(figure)[1][0].get_xlabel().split()[1])
    originals = expected(images, low, high)
    for i in range(3):
        assert min(np.abs(mixed[i] - lam * originals[i] - (1 - lam) * originals[j]).max() for j in range(3)) < 0.01
        hole = (holed[i] == 0).all(-1)
        assert 0 < hole.sum() <= 9
        np.testing.assert_allclose(both[i], np.where(hole[..., None], 0, mixed[i]), atol=1e-6)


def test_a_trick_draws_what_it_draws_in_the_first_batch_of_a_run(make_trainer):
    seen = []

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(3 * 8 * 6, 3)

        def training_step(self, batch, batch_idx):
            seen.append(batch)
            return self.net(batch[0].flatten(1)).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = torch.utils.data.TensorDataset(*batch(7))
    loader = torch.utils.data.DataLoader(data, batch_size=7)
    make = lambda: [CutMix(), Mixup(alpha=1.0), CutMix(p=0.5), RandomErasing(p=1.0)]  # noqa: E731
    pl.seed_everything(5)
    with pytest.warns(UserWarning, match="stand in one callback list"):
        make_trainer(callbacks=make(), max_epochs=1).fit(Module(), loader)
    figure = preview(make(), batch(7), rng=5, max_images=7)
    images, target = seen[0]
    originals = batch(7)[0]
    last = rows(figure)[-1]
    for i, picture in enumerate(expected(images, originals.min(), originals.max())):
        np.testing.assert_allclose(shown(last[i]), picture, atol=1e-5)
        weights = target.probabilities(3)[i]
        words = last[i].get_xlabel().replace(" ·", "").split()
        for label, weight in zip(words[::2], words[1::2], strict=True):
            assert float(weight) == pytest.approx(float(weights[int(label)]), abs=0.0051)


def test_rng_is_a_seed_or_gives_one():
    def title(rng, seed=None):
        return rows(preview([Mixup(alpha=1.0, seed=seed)], batch(), rng=rng))[1][0].get_xlabel()

    assert title(0) == title(0) != title(1)
    assert title(0) == title(1, seed=0) != title(0, seed=1)
    assert title(np.random.default_rng(0)) == title(np.random.default_rng(0)) != title(np.random.default_rng(1))


def test_labels_and_draws_are_written_at_the_images():
    images, labels = batch()
    tricks = [CutMix(per_sample=True), RICAP(), RandomErasing(p=0.5), RandomChoice([CutMix(p=0.0)])]
    _, cutmix, ricap, erasing, choice, _ = rows(preview(tricks, (images, labels), class_names=NAMES))
    params = cutmix_params(images, labels)
    for i, axes in enumerate(cutmix):
        top, left, height, width = params.box[i]
        label, lam, box = axes.get_xlabel().split("\n")
        own, partner = NAMES[i], NAMES[(i + params.shifts[1]) % 3]
        pairs = sorted([(params.weights[0][i], own), (1 - params.weights[0][i], partner)], reverse=True)
        assert label == " · ".join(f"{name} {weight:.2f}" for weight, name in pairs if weight >= 0.005)
        assert box == f"box {height}×{width} at ({top}, {left})"
        assert lam == f"λ {params.weights[0][i]:.2f}"
    assert cutmix[0].get_ylabel() == "CutMix"
    assert "boundary (" in ricap[0].get_ylabel()
    originals = preview([], images).axes
    whole = [np.array_equal(shown(axes), shown(before)) for axes, before in zip(erasing, originals, strict=True)]
    assert [("no box" in axes.get_xlabel()) for axes in erasing] == whole
    assert choice[0].get_ylabel().replace("\n", " ") == "RandomChoice → CutMix (left this batch alone)"


def cutmix_params(images, labels):
    trick = CutMix(per_sample=True)
    return trick.draw(BatchRandomness(0, name="CutMix", ordinal=0, rank=0).at(0), images)


def test_weights_of_equal_labels_are_added_up():
    images, _ = batch()
    figure = preview([Mosaic()], (images, torch.tensor([2, 2, 2])), class_names={2: "cow"})
    assert [axes.get_xlabel() for axes in rows(figure)[1]] == ["cow 1.00"] * 3


def test_long_captions_take_nothing_from_the_pictures():
    names = ["a long name of a cat", "a long name of a dog", "a long name of a cow"]
    figure = preview([CutMix(seed=1), LabelSmoothing(), Mixup(alpha=1.0)], batch(), class_names=names)
    assert [row[0].get_xlabel().count("\n") for row in rows(figure)] == [0, 1, 1, 1, 3]
    pixels(figure)
    sizes = np.array([axes.get_window_extent().size for axes in figure.axes])
    np.testing.assert_allclose(sizes, np.broadcast_to(sizes[0], sizes.shape), rtol=0.005)


def test_captions_are_broken_between_labels():
    target = torch.tensor([[0.5, 0.3, 0.2]] * 3)
    figure = preview([], (batch()[0], target), class_names=["cat", "dog", "golden retriever"])
    assert figure.axes[0].get_xlabel() == "cat 0.50 · dog 0.30\ngolden retriever 0.20"


@pytest.mark.parametrize(
    ("target", "captions"),
    [
        (torch.tensor([0, 2, -100]), ["cat", "cow", "-100"]),
        (
            torch.tensor([[1.0, 0.0, 1.0], [0.25, 0.75, 0.0], [0.0, 0.0, 0.0]]),
            ["cat 1.00 · cow 1.00", "dog 0.75 · cat 0.25", ""],
        ),
        (torch.tensor([0.5, -2.0, 3.25]), ["0.50", "-2.00", "3.25"]),
        (torch.zeros(3, 8, 6, dtype=torch.int64), ["", "", ""]),
        (SoftTarget.smooth(torch.tensor([0, 1, 2]), 0.1), [f"{name} 1.00 · ε 0.1" for name in NAMES]),
        (["a", "b", "c"], ["", "", ""]),
    ],
)
def test_every_kind_of_target_has_its_caption(target, captions):
    (originals,) = rows(preview([], (batch()[0], target), class_names=NAMES))
    assert [axes.get_xlabel() for axes in originals] == captions


SEVERAL = {
    "kind": torch.tensor([0, 1, 2]),
    "fine": torch.tensor([5, 6, 7]),
    "mask": torch.zeros(3, 8, 6, dtype=torch.int64),
    "soft": torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 0.0]]),
    "note": "of no image",
}


@pytest.mark.parametrize("as_keys", [True, False])
def test_each_of_several_targets_has_its_line(as_keys):
    given = {"x": batch()[0], "y": SEVERAL}
    keys = [("y", name) for name in ("kind", "fine", "mask", "soft")] if as_keys else ("y",)
    trick = Mixup(p=0.0, target_key=keys)
    if not as_keys:
        given["y"] = {name: entry for name, entry in SEVERAL.items() if name != "note"}
    originals, mixed = rows(preview([trick], given, class_names=NAMES))
    assert [axes.get_xlabel() for axes in originals] == ["cat\n5\n0 1.00", "dog\n6\n1 0.75 · 0 0.25", "cow\n7"]
    assert [axes.get_xlabel() for axes in mixed] == [
        "cat 1.00\n5 1.00\n0 1.00",
        *["dog 1.00\n6 1.00\n1 0.75 · 0 0.25", "cow 1.00\n7 1.00"],
    ]


@pytest.mark.parametrize("target", [[torch.zeros(8, 6)] * 3, [], {}, torch.zeros(2), [torch.zeros(3, 3)] * 3])
def test_what_is_no_label_has_no_caption(target):
    (originals,) = rows(preview([], (batch()[0], target), class_names=["cat"]))
    assert [axes.get_xlabel() for axes in originals] == ["", "", ""]


def test_class_numbers_stand_in_for_names():
    assert rows(preview([], batch()))[0][2].get_xlabel() == "2"


@pytest.mark.parametrize(("mean", "std"), [((0.5, 0.25, 0.1), (0.2, 0.5, 1.0)), (0.5, 0.25)])
def test_normalised_images_are_shown_as_they_were(mean, std):
    images, labels = batch()
    normalised = v2.functional.normalize(images, list(np.broadcast_to(mean, 3)), list(np.broadcast_to(std, 3)))
    figure = preview([], (normalised, labels), mean=mean, std=std)
    for axes, picture in zip(figure.axes, images.movedim(1, -1).numpy(), strict=True):
        np.testing.assert_allclose(shown(axes), picture, atol=1e-6)
    assert "un-normalised" in figure.get_supxlabel()


def test_images_without_statistics_are_scaled_and_the_figure_says_so():
    images = torch.tensor([-2.0, 0.0, 6.0]).repeat(2, 1, 4, 2)
    figure = preview([], (images, torch.arange(2)))
    np.testing.assert_allclose(shown(figure.axes[0])[0], [0, 0.25, 1, 0, 0.25, 1])
    assert figure.get_supxlabel().replace("\n", " ").startswith("float32 images; black is -2 and white 6")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_channels_and_dtypes(channels, dtype):
    images, labels = batch(channels=channels, dtype=dtype)
    figure = preview([CutMix()], (images, labels))
    picture = shown(figure.axes[1])
    assert picture.shape == ((8, 6) if channels == 1 else (8, 6, 3))
    low, high = (0, 255) if dtype == torch.uint8 else (images.min().float(), images.max().float())
    np.testing.assert_allclose(picture.reshape(8, 6, channels), expected(images, low, high)[1], atol=1e-6)
    assert figure.get_supxlabel().startswith(str(dtype).removeprefix("torch.") + " images")


def test_pixels_that_are_not_finite_are_black():
    images, labels = batch(channels=1)
    images[0, 0, 0] = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.2, 0.3, 0.4])
    picture = shown(preview([], (images, labels)).axes[0])
    assert picture[0, [0, 2]].tolist() == [0, 0]
    assert np.isfinite(picture).all()


def test_max_images_limits_what_is_shown_not_what_is_mixed():
    images, labels = batch(7)
    few, all_ = (rows(preview([Mixup(alpha=1.0)], (images, labels), max_images=n)) for n in (2, 9))
    assert [len(row) for row in few] == [2, 2]
    assert [len(row) for row in all_] == [7, 7]
    assert [axes.get_xlabel() for axes in few[1]] == [axes.get_xlabel() for axes in all_[1][:2]]


def test_containers_and_keys():
    images, labels = batch()
    named = preview([Mixup()], {"pixel_values": images, "labels": labels}, class_names=NAMES)
    keyed = preview([RandomChoice([Mixup(input_key="a", target_key="b")])], {"a": images, "b": labels})
    for figure in (named, keyed):
        np.testing.assert_allclose(shown(figure.axes[0]), expected(images, images.min(), images.max())[0], atol=1e-6)
    assert rows(named)[0][1].get_xlabel() == "dog"
    assert rows(keyed)[0][1].get_xlabel() == "1"


def test_detection_batches_show_their_boxes():
    images, _ = batch(2)
    targets = [{"boxes": torch.tensor([[1.0, 2.0, 5.0, 7.0]]), "labels": torch.tensor([k])} for k in range(2)]
    original, mixed = rows(preview([Mixup()], (list(images), targets), class_names=NAMES))
    assert [text.get_text() for axes in original for text in axes.texts] == ["cat", "dog"]
    assert [sorted(text.get_text() for text in axes.texts) for axes in mixed] == [["cat", "dog"]] * 2
    box = original[0].patches[0]
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (0.5, 1.5, 4.0, 5.0)
    assert [axes.get_xlabel() for axes in original] == ["1 box", "1 box"]
    assert [axes.get_xlabel() for axes in mixed] == ["2 boxes", "2 boxes"]


def test_learning_rate_tricks_are_left_out():
    assert len(rows(preview([CosineDecay(), Mixup(), pl.Callback()], batch()))) == 2


def test_tricks_of_labels_alone_have_their_row():
    teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3))
    tricks = [Distillation(teacher), RandomChoice([LabelSmoothing(0.2)])]
    _, smoothed, distilled, both = rows(preview(tricks, batch(), class_names=NAMES))
    assert smoothed[0].get_ylabel().split() == ["RandomChoice", "→", "LabelSmoothing"]
    assert smoothed[0].get_xlabel() == "cat 1.00 · ε 0.2"
    assert distilled[1].get_xlabel() == "dog 1.00 · teacher T 4"
    assert both[2].get_xlabel() == "cow 1.00 · ε 0.2\nteacher T 4"


def test_images_may_change_their_size():
    figure = preview([Augment(v2.CenterCrop((4, 4)))], batch())
    assert [shown(axes).shape for axes in figure.axes[2:4]] == [(8, 6, 3), (4, 4, 3)]


def test_nothing_of_the_user_s_is_changed():
    images, labels = batch()
    copies = images.clone(), labels.clone()
    tricks = [Mixup(alpha=1.0), CutMix(per_sample=True)]
    states = [dict(vars(trick)) for trick in tricks]
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    preview(tricks, (images, labels))
    assert torch.equal(images, copies[0])
    assert torch.equal(labels, copies[1])
    assert [vars(trick) for trick in tricks] == states
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_pyplot_is_left_alone():
    settings, figures = dict(matplotlib.rcParams), plt.get_fignums()
    pixels(preview([Mixup()], batch()))
    assert dict(matplotlib.rcParams) == settings
    assert plt.get_fignums() == figures


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"callbacks": Mixup()}, TypeError, "preview needs callbacks to be a list of callbacks, but got"),
        ({"callbacks": [Mixup]}, TypeError, "preview needs callbacks to be a list"),
        ({"rng": -1}, ValueError, "preview needs rng to be at least 0, but got -1"),
        ({"rng": "0"}, TypeError, "preview needs rng to be an integer"),
        ({"max_images": 0}, ValueError, "preview needs max_images to be at least 1, but got 0"),
        ({"mean": 0.5}, ValueError, "preview needs mean and std to be given together, but got mean=0.5 and std=None"),
        ({"std": 0.5}, ValueError, "preview needs mean and std to be given together"),
        ({"mean": "a", "std": 1}, TypeError, "preview needs mean to be a number, but got 'a'"),
        ({"mean": 0, "std": [1, 0, 1]}, ValueError, "preview needs std to be above 0, but got 0"),
        (
            {"mean": [0, 0], "std": 1},
            ValueError,
            r"needs mean to be a number or one per channel, but got 2 for float32\[3",
        ),
        ({"class_names": "cat"}, TypeError, "preview needs class_names to be a list of names or a mapping"),
        (
            {"class_names": ["cat"]},
            ValueError,
            r"preview needs class_names to have a name for each class, but got 1 and none for label 1\.",
        ),
        ({"class_names": {0: "cat"}}, ValueError, "preview needs class_names .* but got 1 and none for label 1"),
        ({"batch": torch.rand(2, 5, 4, 4)}, ValueError, r"needs images of shape \(N, C, H, W\) with 1 or 3 channels"),
        ({"batch": torch.rand(0, 3, 4, 4)}, ValueError, r"needs a batch with images, but got float32\[0, 3, 4, 4\]"),
        (
            {"batch": {"a": 1}, "callbacks": []},
            ValueError,
            r"preview needs to know where the input is: .* but got dict\('a'",
        ),
        ({"batch": {"x": 1}, "callbacks": []}, TypeError, "preview needs images as one tensor, but got int"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    arguments = {"callbacks": [], "batch": batch()} | arguments
    with pytest.raises(error, match=message):
        preview(arguments.pop("callbacks"), arguments.pop("batch"), **arguments)


def test_without_matplotlib_it_says_where_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"preview needs matplotlib.* pip install 'lightning-tricks\[cli\]'"):
        preview([], batch())
