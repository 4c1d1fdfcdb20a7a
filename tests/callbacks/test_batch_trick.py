import copy
import dataclasses
import functools
import pickle
from collections import namedtuple

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader, TensorDataset, default_collate

from lightning_tricks import Augment, BatchTrick, Cutout, Mixup
from lightning_tricks.callbacks.batch_trick import BatchParams
from lightning_tricks.engine.method_patch import MethodPatch
from tests.plain import PlainModule, image_loader


@dataclasses.dataclass(frozen=True)
class AddParams(BatchParams):
    amount: float


class Add(BatchTrick):
    """Adds a random number to the images and one to each label, and remembers what it drew."""

    def __init__(self, **shared):
        super().__init__(**shared)
        self.drawn = []

    def draw(self, rng, images):
        params = AddParams(active=bool(rng.random() < self.p), amount=float(rng.random()))
        self.drawn.append(params.amount)
        return params

    def apply(self, params, images, target):
        if not params.active:
            return images, target
        return images + params.amount, None if target is None else (target + 1) % 5


class Times(BatchTrick):
    uses_target = False

    def draw(self, rng, images):
        return BatchParams(active=True)

    def apply(self, params, images, target):
        return images * 10, target


class Seen(PlainModule):
    """Keeps what each hook received."""

    def __init__(self):
        super().__init__()
        self.train_batches, self.other_batches = [], []

    def training_step(self, batch, batch_idx):
        self.train_batches.append(batch)
        return super().training_step(batch, batch_idx)

    def on_train_batch_start(self, batch, batch_idx):
        self.other_batches.append(batch)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.other_batches.append(batch)


class SeenEverywhere(Seen):
    """Evaluates by calling its own ``training_step``."""

    def validation_step(self, batch, batch_idx):
        with torch.no_grad():
            self.training_step(batch, batch_idx)

    test_step = validation_step

    def predict_step(self, batch, batch_idx):
        assert any(torch.equal(batch[0], images) for images in originals())
        return batch[0]


def fit(make_trainer, tricks, module=None, loader=None, **kwargs):
    module = PlainModule() if module is None else module
    trainer = make_trainer(callbacks=tricks, **kwargs)
    trainer.fit(module, image_loader() if loader is None else loader)
    return module


def images_of(batches):
    return torch.stack([images for images, _ in batches])


def originals(epochs=1):
    return torch.stack([images for images, _ in image_loader()] * epochs)


def test_training_step_receives_the_new_batch_and_other_hooks_the_loaders(make_trainer):
    trick = Add(seed=1)
    module = fit(make_trainer, [trick], Seen())
    assert len(set(trick.drawn)) == 4
    amounts = torch.tensor(trick.drawn).view(4, 1, 1, 1, 1)
    torch.testing.assert_close(images_of(module.train_batches), originals() + amounts)
    labels = torch.stack([labels for _, labels in image_loader()])
    assert torch.equal(torch.stack([labels for _, labels in module.train_batches]), (labels + 1) % 5)
    assert torch.equal(images_of(module.other_batches), originals().repeat_interleave(2, 0))


def test_only_training_batches_of_fit_are_touched(make_trainer):
    trick, module = Add(), SeenEverywhere()
    trainer = make_trainer(callbacks=[trick], num_sanity_val_steps=2, val_check_interval=0.5)
    trainer.fit(module, image_loader(), image_loader())
    amounts = iter(trick.drawn)
    training = {2, 3, 8, 9}  # two sanity batches, two of training, four of validation, two of training, four again
    x = originals()
    for i, (images, _) in enumerate(module.train_batches):
        order = [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 2, 3]
        torch.testing.assert_close(images, x[order[i]] + (next(amounts) if i in training else 0))
    assert len(trick.drawn) == 4
    trainer.validate(module, image_loader(), verbose=False)
    trainer.test(module, image_loader(), verbose=False)
    trainer.predict(module, image_loader())
    for i, (images, _) in enumerate(module.train_batches[14:]):
        assert torch.equal(images, x[i % 4])
    assert len(trick.drawn) == 4


def test_an_epoch_that_a_hook_ends_early(make_trainer):
    """The batch that the trick was armed for is never trained on; a later call of the step is an ordinary one."""

    class EndsEarly(Seen):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 1 else None

        def on_train_epoch_end(self):
            self.training_step(next(iter(image_loader())), 0)

    module = fit(make_trainer, [Add()], EndsEarly())
    assert [torch.equal(images, originals()[0]) for images, _ in module.train_batches] == [False, True]


def test_tricks_apply_in_list_order_and_last_comes_last(make_trainer):
    class Final(Times):
        comes_last = True

    x = originals()
    add = Add(seed=0)
    module = fit(make_trainer, [Times(), add], Seen())
    torch.testing.assert_close(images_of(module.train_batches)[0], x[0] * 10 + add.drawn[0])
    module = fit(make_trainer, [Final(), add], Seen())
    torch.testing.assert_close(images_of(module.train_batches)[0], (x[0] + add.drawn[0]) * 10)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_p_is_the_chance_that_a_batch_is_touched(p):
    trick = Add(p=p, seed=0)
    batch = next(iter(image_loader()))
    touched = sum(trick(batch)[0] is not batch[0] for _ in range(1000))
    assert abs(touched - 1000 * p) <= 3 * (1000 * p * (1 - p)) ** 0.5


def test_start_and_stop_epoch(make_trainer):
    module = fit(make_trainer, [Add(start_epoch=1, stop_epoch=3)], Seen(), max_epochs=4)
    same = (images_of(module.train_batches) == originals(4)).flatten(1).all(1).tolist()
    assert same == [True] * 4 + [False] * 8 + [True] * 4


Point = namedtuple("Point", ["image", "label"])


@dataclasses.dataclass
class Record:
    image: torch.Tensor
    label: torch.Tensor


@pytest.mark.parametrize(
    ("collate", "read", "keys"),
    [
        (lambda b: b, lambda b: (b[0], b[1]), {}),
        (tuple, lambda b: (b[0], b[1]), {}),
        (lambda b: Point(*b), lambda b: (b.image, b.label), {}),
        (lambda b: {"image": b[0], "label": b[1]}, lambda b: (b["image"], b["label"]), {}),
        (lambda b: Record(*b), lambda b: (b.image, b.label), {}),
        (lambda b: {"data": {"x": b[0], "y": b[1]}}, lambda b: (b["data"]["x"], b["data"]["y"]), {}),
        (lambda b: (b[1], b[0]), lambda b: (b[1], b[0]), {"input_key": 1, "target_key": 0}),
        (
            lambda b: {"picture": b[0], "kind": b[1]},
            lambda b: (b["picture"], b["kind"]),
            {"input_key": "picture", "target_key": "kind"},
        ),
        (
            lambda b: {"deep": [b[0]], "y": b[1]},
            lambda b: (b["deep"][0], b["y"]),
            {"input_key": (lambda b: b["deep"][0], lambda b, value: {**b, "deep": [value]})},
        ),
    ],
)
def test_containers(make_trainer, collate, read, keys):
    class Reads(Seen):
        def training_step(self, batch, batch_idx):
            return super().training_step(read(batch), batch_idx)

    data = image_loader().dataset
    loader = DataLoader(data, batch_size=8, collate_fn=lambda samples: collate(default_collate(samples)))
    trick = Add(seed=0, **keys)
    module = fit(make_trainer, [trick], Reads(), loader)
    amounts = torch.tensor(trick.drawn).view(4, 1, 1, 1, 1)
    torch.testing.assert_close(images_of(module.train_batches), originals() + amounts)


def test_users_tensors_are_not_written_to(make_trainer):
    class Views(torch.utils.data.Dataset):
        images, labels = torch.rand(16, 3, 6, 4), torch.arange(16) % 5

        def __len__(self):
            return 2

        def __getitems__(self, indices):
            return [(self.images[8 * i : 8 * i + 8], self.labels[8 * i : 8 * i + 8]) for i in indices]

    data = Views()
    versions, before = (data.images._version, data.labels._version), data.images.clone()
    fit(make_trainer, [Add(), Times()], None, DataLoader(data, batch_size=1, collate_fn=lambda samples: samples[0]))
    assert (data.images._version, data.labels._version) == versions
    assert torch.equal(data.images, before)


def test_later_calls_of_one_batch_get_the_same(make_trainer):
    class Closures(Seen):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), max_iter=3)

    trick = Add()
    module = fit(make_trainer, [trick], Closures())
    assert len(trick.drawn) == 4 < len(module.train_batches)
    assert len({id(batch) for batch in module.train_batches}) == 4


def test_a_batch_that_the_module_rebuilt_is_still_rewritten(make_trainer):
    class Rebuilds(Seen):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return [part.clone() for part in batch]

        def on_train_batch_start(self, batch, batch_idx):
            batch[0].add_(100)

    trick = Add()
    module = fit(make_trainer, [trick], Rebuilds())
    torch.testing.assert_close(
        images_of(module.train_batches), originals() + 100 + torch.tensor(trick.drawn).view(4, 1, 1, 1, 1)
    )


def test_a_decorated_step_that_takes_the_batch_alone(make_trainer):
    """Lightning looks below the decorator for what the step takes, and has to find the same as without the trick."""

    def decorated(step):
        @functools.wraps(step)
        def wrapper(*args, **kwargs):
            return step(*args, **kwargs)

        return wrapper

    class BatchAlone(Seen):
        @decorated
        def training_step(self, batch):
            return super().training_step(batch, 0)

    for tricks in ([], [Add()]):
        module = fit(make_trainer, tricks, BatchAlone())
        assert torch.equal(images_of(module.train_batches), originals()) is (not tricks)


def test_training_step_called_by_keyword(make_trainer):
    class Keyword(Seen):
        automatic_optimization = False

        def on_train_batch_end(self, outputs, batch, batch_idx):
            batch = (torch.zeros(2, 3, 6, 4), torch.zeros(2, dtype=torch.long))
            self.training_step(batch=batch, batch_idx=0)

    module = fit(make_trainer, [Add()], Keyword())
    assert all(len(images) == 2 and not images.any() for images, _ in module.train_batches[1::2])


def test_a_step_by_keyword_inside_the_batch_gets_the_new_batch(make_trainer):
    trick, module = Add(seed=0), Seen()
    trainer = make_trainer(callbacks=[trick])
    trainer.strategy.training_step = lambda batch, batch_idx: module.training_step(batch=batch, batch_idx=batch_idx)
    trainer.fit(module, image_loader())
    torch.testing.assert_close(
        images_of(module.train_batches), originals() + torch.tensor(trick.drawn).view(4, 1, 1, 1, 1)
    )


def test_kernels_run_with_autocast_and_grad_off(make_trainer):
    class Checks(Times):
        def apply(self, params, images, target):
            assert not torch.is_autocast_enabled("cpu")
            assert not torch.is_grad_enabled()
            assert (images.flatten(1) @ images.flatten(1).T).dtype == torch.float32
            return super().apply(params, images, target)

    class Autocast(Seen):
        def training_step(self, batch, batch_idx):
            assert torch.is_autocast_enabled("cpu")
            return super().training_step(batch, batch_idx)

    module = fit(make_trainer, [Checks()], Autocast(), precision="bf16-mixed")
    assert len(module.train_batches) == 4


class Boom(RuntimeError):
    pass


HOOKS = [
    "training_step",
    "on_train_start",
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_train_epoch_end",
    "setup",
]


@pytest.mark.parametrize("hook", HOOKS)
def test_nothing_is_left_behind_after_an_exception(make_trainer, hook):
    def fail(self, *args, **kwargs):
        raise Boom

    module = type("Fails", (PlainModule,), {hook: fail})()
    with pytest.raises(Boom):
        fit(make_trainer, [Add(), Times()], module)
    assert "training_step" not in vars(module)


def test_nothing_is_left_behind_after_fit_and_a_second_fit(make_trainer):
    module, tricks = PlainModule(), [Add(), Times()]
    for _ in range(2):
        fit(make_trainer, tricks, module)
        assert "training_step" not in vars(module)
    assert len(tricks[0].drawn) == 8


def test_the_users_own_instance_attribute_is_put_back(make_trainer):
    module = PlainModule()
    module.training_step = own = module.training_step
    fit(make_trainer, [Add()], module)
    assert vars(module)["training_step"] is own


def test_a_left_over_patch_is_stripped(make_trainer):
    module, trick = PlainModule(), Add()
    MethodPatch(module, "training_step", lambda original, *args: pytest.fail("a dead run's patch was called")).install()
    fit(make_trainer, [trick], module)
    assert len(trick.drawn) == 4
    assert "training_step" not in vars(module)


@pytest.mark.parametrize("method", ["lr_find", "scale_batch_size"])
def test_tuner_sees_the_plain_module_and_nothing_is_left(make_trainer, method):
    class WithLoader(PlainModule):
        batch_size = 4

        def train_dataloader(self):
            return image_loader(n=64, batch_size=self.batch_size)

    module, trick = WithLoader(), Add()
    tuner = pl.tuner.Tuner(make_trainer(callbacks=[trick], max_steps=4))
    arguments = {"lr_find": {"num_training": 4}, "scale_batch_size": {"max_trials": 1, "steps_per_trial": 1}}[method]
    getattr(tuner, method)(module, **arguments)
    assert "training_step" not in vars(module)
    assert trick.drawn == []


def test_the_module_pickles_and_copies_in_the_middle_of_fit(make_trainer):
    twins = []

    class Copies(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            twins.extend([copy.deepcopy(pl_module), pickle.loads(pickle.dumps(pl_module))])

    fit(make_trainer, [Add(), Copies()], Seen())
    for twin in twins:
        twin.train_batches.clear()
        twin.log = lambda *args: None
        batch = next(iter(image_loader()))
        twin.training_step(batch, 0)
        assert twin.train_batches == [batch]


def test_tricks_pickle_in_the_middle_of_fit(make_trainer):
    class Pickles(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            twin = pickle.loads(pickle.dumps(trainer.callbacks[0]))
            assert twin.p == 0.25
            assert not any(isinstance(value, (pl.Trainer, pl.LightningModule)) for value in vars(twin).values())
            assert "log" not in vars(twin)  # Lightning's, which would bring the module along

    fit(make_trainer, [Add(p=0.25), Pickles()])


def test_hooks_tolerate_a_setup_that_never_ran():
    trick, checkpoint, trainer = Add(), {}, pl.Trainer(logger=False)
    trick.on_exception(trainer, None, Boom())
    trick.on_save_checkpoint(trainer, None, checkpoint)
    trick.on_load_checkpoint(trainer, None, {"lightning_tricks": {"batch": {"seed": 1}}})
    trick.teardown(trainer, None, "fit")
    assert checkpoint == {}
    assert trick.state_dict() == {}


def test_seed_everything_governs_and_a_seed_of_its_own_overrides(make_trainer):
    def drawn(global_seed, **arguments):
        pl.seed_everything(global_seed, verbose=False)
        trick = Add(**arguments)
        fit(make_trainer, [trick])
        return trick.drawn

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1, seed=5) == drawn(2, seed=5)


def test_adding_another_trick_changes_no_draw_and_equal_ones_differ(make_trainer):
    alone, beside, twin = Add(seed=1), Add(seed=1), Add(seed=1)
    fit(make_trainer, [alone])
    fit(make_trainer, [Times(), beside, twin])
    assert alone.drawn == beside.drawn
    assert set(beside.drawn).isdisjoint(twin.drawn)


def test_epochs_differ(make_trainer):
    trick = Add()
    fit(make_trainer, [trick], max_epochs=3)
    assert len(set(trick.drawn)) == 12


def test_the_seed_of_a_resumed_run_is_the_checkpoints(make_trainer, tmp_path):
    """Also where the run that wrote the checkpoint was itself a resumed one."""

    def drawn(seed, max_epochs, ckpt_path=None):
        pl.seed_everything(seed, verbose=False)
        trick = Add()
        trainer = make_trainer(callbacks=[trick], max_epochs=max_epochs)
        trainer.fit(PlainModule(), image_loader(), ckpt_path=ckpt_path, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{max_epochs}.ckpt")
        return trick.drawn

    whole = drawn(1, 3)
    assert drawn(1, 1) == whole[:4]
    assert drawn(2, 2, tmp_path / "1.ckpt") == whole[4:8]
    assert drawn(3, 3, tmp_path / "2.ckpt") == whole[8:]


@pytest.mark.parametrize("saved_with", [[], ["Add"]])
def test_checkpoints_with_and_without_tricks_are_interchangeable(make_trainer, tmp_path, saved_with):
    trainer = make_trainer(callbacks=[Add() for _ in saved_with])
    trainer.fit(PlainModule(), image_loader())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    tricks = [] if saved_with else [Add()]
    make_trainer(callbacks=tricks, max_epochs=2).fit(PlainModule(), image_loader(), ckpt_path=tmp_path / "end.ckpt")
    assert all(len(trick.drawn) == 4 for trick in tricks)


class TestOutsideATrainer:
    def test_rng_may_be_a_generator_or_a_seed(self):
        batch = next(iter(image_loader()))
        expected = Add()(batch, np.random.default_rng(7))[0]
        assert torch.equal(Add()(batch, rng=7)[0], expected)
        assert not torch.equal(Add()(batch, rng=8)[0], expected)

    def test_without_rng_the_trick_goes_on_with_its_own(self):
        batch = next(iter(image_loader()))
        trick = Add(seed=3)
        first, second = trick(batch)[0], trick(batch)[0]
        assert not torch.equal(first, second)
        assert torch.equal(Add(seed=3)(batch)[0], first)

    def test_what_is_not_touched_is_shared(self):
        images, labels = next(iter(image_loader()))
        assert Times()((images, labels))[1] is labels
        batch = [images, labels]
        assert Add(p=0)(batch) is batch

    def test_a_plain_tensor_is_a_batch_of_images(self):
        assert torch.equal(Times()(torch.ones(2, 3, 8, 6)), torch.full((2, 3, 8, 6), 10.0))


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (None, TypeError, "Add needs a batch, but got None"),
        ({"a": 1}, ValueError, r"Add needs to know where the input is: .* but got dict\('a': int\).*pass input_key="),
        ("text", ValueError, "Add needs to know where the input is.*but got str"),
        ((np.ones((2, 3)), torch.ones(2)), ValueError, "where the input is.*got tuple of 2 .ndarray, float32"),
        (
            {"image": torch.ones(2, 3, 8, 6), "id": 1},
            ValueError,
            r"where the target is.*whose keys are \['image', 'id'\]",
        ),
        ({"image": [1, 2], "label": 1}, TypeError, "Add needs images as one tensor, but got list of 2 .int, int"),
        (
            (torch.ones(2, 3, 8, 6).to_sparse(), torch.ones(2)),
            TypeError,
            r"Add needs images as one tensor, but got float32\[2, 3, 8, 6\] of layout torch.sparse_coo",
        ),
    ],
)
def test_bad_batches(batch, error, message):
    with pytest.raises(error, match=message):
        Add()(batch)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"input_key": "picture"}, "Add was told input_key='picture', but 'picture' is not in tuple of 2"),
        ({"target_key": 5}, "Add was told target_key=5, but 5 is not in tuple of 2"),
        ({"input_key": 1, "target_key": 1}, "Add found its images and its target in the same place, 1"),
    ],
)
def test_bad_keys_for_a_batch(keys, message):
    with pytest.raises(ValueError, match=message):
        Add(**keys)((torch.ones(2, 3, 8, 6), torch.ones(2)))


def test_a_key_that_leads_into_a_tensor():
    with pytest.raises(TypeError, match=r"^Add: an entry of float32\[2\] cannot be replaced; pass a \(getter"):
        Add(target_key=(1, 0))((torch.ones(2, 3, 8, 6), torch.ones(2)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"p": 1.5}, ValueError, "Add needs p to be at least 0 and at most 1, but got 1.5"),
        ({"p": "1"}, TypeError, "Add needs p to be a number, but got '1' of type str"),
        ({"start_epoch": -1}, ValueError, "Add needs start_epoch to be at least 0"),
        ({"start_epoch": 1.5}, TypeError, "Add needs start_epoch to be an integer"),
        ({"stop_epoch": "3"}, TypeError, "Add needs stop_epoch to be an integer"),
        ({"start_epoch": 3, "stop_epoch": 3}, ValueError, "a stop_epoch after start_epoch=3, but got stop_epoch=3"),
        ({"seed": -1}, ValueError, "Add needs seed to be at least 0"),
        ({"seed": True}, TypeError, "Add needs seed to be an integer"),
        ({"input_key": 1.5}, TypeError, "Add needs input_key to be an index, a key"),
        ({"target_key": True}, TypeError, "Add needs target_key to be an index, a key"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Add(**arguments)


def test_a_bad_rng():
    with pytest.raises(TypeError, match="Add needs rng to be an integer, but got 'x'"):
        Add()(torch.ones(2, 3, 8, 6), rng="x")


def test_a_loader_that_gives_none(make_trainer):
    loader = DataLoader(range(2), collate_fn=lambda samples: None)
    with (
        pytest.warns(UserWarning, match="train_dataloader yielded None"),
        pytest.raises(TypeError, match="Add needs a batch, but the train dataloader gave None at batch_idx=0"),
    ):
        fit(make_trainer, [Add()], None, loader)


def test_several_loaders_are_refused_unless_keys_are_given(make_trainer):
    class Two(PlainModule):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch["a"], batch_idx)

    loaders = {"a": image_loader(), "b": image_loader()}
    with pytest.raises(MisconfigurationException, match="Add needs batches of one train dataloader, but there are 2"):
        fit(make_trainer, [Add()], Two(), loaders)
    trick = Add(input_key=("a", 0), target_key=("a", 1))
    fit(make_trainer, [trick], Two(), loaders)
    assert len(trick.drawn) == 4


def test_dataloader_iter_steps_are_refused(make_trainer):
    class Iterates(PlainModule):
        def training_step(self, dataloader_iter):
            raise AssertionError

    module = Iterates()
    with (
        pytest.warns(UserWarning, match="You are using the `dataloader_iter` step flavor"),
        pytest.raises(MisconfigurationException, match=r"Add rewrites the batch.*takes `dataloader_iter`"),
    ):
        fit(make_trainer, [Add()], module)
    assert "training_step" not in vars(module)


def test_two_mixing_tricks_warn_once(make_trainer):
    class Mixes(Times):
        mixes = True

    with pytest.warns(UserWarning, match="Mixes and Mixes stand in one callback list") as record:
        fit(make_trainer, [Mixes(), Mixes()])
    assert sum("stand in one callback list" in str(warning.message) for warning in record) == 1


def test_a_step_with_a_loss_of_its_own_under_manual_optimisation_and_accumulation(make_trainer):
    class Manual(Seen):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            self.train_batches.append(batch)
            loss = F.cross_entropy(self(batch[0]), batch[1])
            self.manual_backward(loss)
            self.optimizers().step()

    for module, arguments in ((Manual(), {}), (Seen(), {"accumulate_grad_batches": 2})):
        trick = Add()
        fit(make_trainer, [trick], module, **arguments)
        amounts = torch.tensor(trick.drawn).view(4, 1, 1, 1, 1)
        torch.testing.assert_close(images_of(module.train_batches), originals() + amounts)


def test_plain_dataset_of_images_only(make_trainer):
    class Autoencoder(PlainModule):
        def training_step(self, batch, batch_idx):
            (images,) = batch
            return self(images).square().mean()

    trick = Add()
    data = TensorDataset(image_loader().dataset.tensors[0])
    fit(make_trainer, [trick], Autoencoder(), DataLoader(data, batch_size=8))
    assert len(trick.drawn) == 4


@pytest.mark.parametrize(("start_epoch", "is_late"), [(1, False), (2, True), (5, True)])
def test_a_start_after_the_run_is_said(make_trainer, recwarn, start_epoch, is_late):
    fit(make_trainer, [Add(start_epoch=start_epoch)], Seen(), max_epochs=2)
    messages = [str(warning.message) for warning in recwarn]
    late = f"Add begins at start_epoch={start_epoch}, but the run ends after 2 epochs: it touches no batch."
    assert (late in messages) == is_late


@pytest.mark.parametrize("trick", [Mixup(), Cutout(length=2), Augment(torch.nn.Identity())])
def test_a_second_view_is_no_target_and_not_left_behind(trick):
    view = torch.rand(4, 3, 8, 6)
    with pytest.raises(ValueError, match=r"needs to know where the target is.* pass target_key="):
        trick((view, view, torch.arange(4)), rng=0)
