"""All tricks together in one callback list, on a module that knows nothing of them."""

import dataclasses
import warnings
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.utils.data import DataLoader, default_collate

from lightning_tricks import (
    RICAP,
    CosineDecay,
    CutMix,
    GradualWarmup,
    Mixup,
    Mosaic,
    RandomChoice,
    SoftTarget,
)
from tests.plain import PlainModule, image_loader
from tests.registry import BATCH_TRICKS
from tests.scripts import run_script

pytestmark = pytest.mark.filterwarnings("ignore:.* stand in one callback list")


def tricks():
    return [Mixup(alpha=1.0), CutMix(p=0.5), GradualWarmup(epochs=1), CosineDecay()]


class Recording(PlainModule):
    """The plain module; what it sees is looked at from outside by the tests."""

    read = staticmethod(lambda batch: batch)

    def __init__(self):
        super().__init__()
        self.seen = []

    def training_step(self, batch, batch_idx):
        x, y = self.read(batch)
        self.seen.append((x, y))
        return super().training_step((x, y), batch_idx)


def check_trained(module, before):
    """The batches were mixed, the labels soft, the loss exact and the weights have moved."""
    originals = {image.numpy().tobytes() for image in image_loader().dataset.tensors[0]}
    assert all(isinstance(y, SoftTarget) and len(y.components) == 4 for _, y in module.seen)
    touched = sum(image.numpy().tobytes() not in originals for x, _ in module.seen for image in x)
    assert touched > 0.7 * sum(len(x) for x, _ in module.seen)
    x, y = module.seen[-1]
    logits = module(x)
    expected = torch.linalg.vecdot(y.probabilities(5), -logits.log_softmax(1)).mean()
    torch.testing.assert_close(F.cross_entropy(logits, y), expected)
    assert all(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


def fit(make_trainer, module, loader=None, callbacks=(), **kwargs):
    torch.manual_seed(0)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    trainer = make_trainer(callbacks=[*tricks(), *callbacks], max_epochs=3, **kwargs)
    trainer.fit(module, image_loader() if loader is None else loader)
    assert 0 < trainer.callback_metrics["train_acc"] <= 1
    return before


Point = namedtuple("Point", ["image", "label"])


@dataclasses.dataclass
class Record:
    image: torch.Tensor
    label: torch.Tensor


@pytest.mark.parametrize(
    ("collate", "read"),
    [
        (list, lambda batch: batch),
        (tuple, lambda batch: batch),
        (lambda batch: Point(*batch), lambda batch: (batch.image, batch.label)),
        (lambda batch: {"image": batch[0], "label": batch[1]}, lambda batch: (batch["image"], batch["label"])),
        (lambda batch: Record(*batch), lambda batch: (batch.image, batch.label)),
    ],
    ids=["list", "tuple", "namedtuple", "dict", "dataclass"],
)
def test_every_container(make_trainer, collate, read):
    module = Recording()
    module.read = read
    data = image_loader().dataset
    loader = DataLoader(data, batch_size=8, collate_fn=lambda samples: collate(default_collate(samples)))
    check_trained(module, fit(make_trainer, module, loader))


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_automatic_optimisation(make_trainer, accumulate):
    module = Recording()
    check_trained(module, fit(make_trainer, module, accumulate_grad_batches=accumulate))


def test_manual_optimisation(make_trainer):
    class Manual(Recording):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            self.optimizers().zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            self.optimizers().step()

    module = Manual()
    check_trained(module, fit(make_trainer, module))


def test_beside_an_average_of_the_weights(make_trainer):
    for order in (1, -1):
        module = Recording()
        before = [parameter.detach().clone() for parameter in module.parameters()]
        trainer = make_trainer(callbacks=[*tricks(), EMAWeightAveraging(decay=0.5)][::order], max_epochs=2)
        trainer.fit(module, image_loader())
        check_trained(module, before)
        assert "training_step" not in vars(module)


def greatest_error(tricks):
    """The greatest |pixel share − label weight| over some draws: the mean of channel c is the share of image c."""
    n, errors = 6, []
    images = torch.eye(n).view(n, n, 1, 1).repeat(1, 1, 12, 20)
    for seed in range(20):
        batch = (images, torch.arange(n))
        for trick in tricks:
            batch = trick(batch, rng=seed)
            seed += 100
        errors.append((batch[0].mean((2, 3)) - batch[1].probabilities(n)).abs().max())
    return max(errors).item()


CUTS = {
    "CutMix and RICAP": lambda: [CutMix(), RICAP(beta=1.0)],
    "Mosaic and CutMix": lambda: [Mosaic(), CutMix()],
    "CutMix and CutMix": lambda: [CutMix(), CutMix()],
    "RandomChoice and RICAP": lambda: [RandomChoice([Mixup(alpha=1.0), RandomChoice([CutMix()])]), RICAP()],
}
EXACT = {
    "Mixup and CutMix": lambda: [Mixup(alpha=1.0), CutMix()],
    "RICAP and Mixup": lambda: [RICAP(), Mixup(alpha=1.0)],
    "RandomChoice": lambda: [RandomChoice([CutMix(), RICAP(), Mosaic()])],
    "RandomChoice and Mixup": lambda: [RandomChoice([CutMix(), RICAP()]), Mixup(alpha=1.0)],
}


@pytest.mark.parametrize(("names", "make"), (CUTS | EXACT).items(), ids=(CUTS | EXACT).keys())
def test_where_two_tricks_cut_the_warning_says_that_weights_are_not_shares(make_trainer, names, make):
    assert (greatest_error(make()) < 1e-5) == (names in EXACT)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        make_trainer(callbacks=make()).fit(PlainModule(), image_loader())
    messages = [str(warning.message) for warning in record if "stand in one callback list" in str(warning.message)]
    assert len(messages) == (len(make()) > 1)
    said = f"{names} both cut: the later one may cover what the earlier one has put in, so the weight of a label is not"
    assert any(said in message for message in messages) == (names in CUTS)


SIZE = (16, 12)


def every_trick():
    """One of each, all in one list: 128 labels a sample."""
    batch_tricks = {trick.name: trick for trick in (make() for make in BATCH_TRICKS.values())}
    return [*batch_tricks.values(), GradualWarmup(epochs=1), CosineDecay()]


class Compiled(PlainModule):
    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)


@pytest.mark.parametrize("make_tricks", [tricks, every_trick])
def test_a_compiled_module_trains_as_the_plain_one_and_is_compiled_once(make_trainer, make_tricks):
    torch._dynamo.reset()
    results, graphs = [], []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    for compiled in (False, True):
        torch.manual_seed(0)
        module, loader = Compiled(size=SIZE), image_loader(size=SIZE)
        trainer = make_trainer(callbacks=make_tricks(), max_epochs=2)
        trainer.fit(torch.compile(module, backend=backend, fullgraph=True) if compiled else module, loader)
        results.append([parameter.detach().clone() for parameter in module.parameters()])
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(plain, compiled)
    assert len(graphs) == 1


@pytest.mark.slow
def test_a_compiled_module_under_inductor(make_trainer):
    torch._dynamo.reset()
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        module = Compiled()
        trainer = make_trainer(callbacks=tricks(), max_epochs=1)
        trainer.fit(torch.compile(module) if compiled else module, image_loader())
        results.append([parameter.detach().clone() for parameter in module.parameters()])
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(plain, compiled)


DDP_SCRIPT = """
    import sys
    import lightning.pytorch as pl
    import torch
    from torch.utils.data import DataLoader
    from tests.plain import PlainModule, image_loader
    from tests.test_compositions import SIZE, every_trick

    class Recording(PlainModule):
        def training_step(self, batch, batch_idx):
            self.batches.append((batch[0].clone(), batch[1].components[0][1].clone()))
            return super().training_step(batch, batch_idx)

    if __name__ == "__main__":
        out = sys.argv[1]
        pl.seed_everything(7, verbose=False)
        module = Recording(size=SIZE)
        module.batches = []
        trainer = pl.Trainer(
            accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
            callbacks=every_trick(),
        )
        trainer.fit(module, image_loader(size=SIZE))
        state = {"batches": module.batches, "weights": module.state_dict()}
        torch.save(state, f"{out}/{trainer.global_rank}.pt")
        trainer.strategy.barrier()
"""


def run_ddp(tmp_path):
    run_script(DDP_SCRIPT, tmp_path, tmp_path).check_returncode()
    return [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
def test_two_processes_draw_differently_and_end_with_equal_weights(tmp_path):
    """Both ranks load the same batches, so that what differs between them is what was drawn."""
    first, second = run_ddp(tmp_path)
    for name, weights in first["weights"].items():
        if not name.startswith("accuracy"):
            assert torch.equal(weights, second["weights"][name])
    for (images, lam), (other_images, other_lam) in zip(first["batches"], second["batches"], strict=True):
        assert not torch.equal(images, other_images)
        assert not torch.equal(lam, other_lam)
