"""What holds for every trick in the registry, whatever it changes."""

import copy
import pickle
from contextlib import suppress

import lightning.pytorch as pl
import pytest
import torch
from jsonargparse import ArgumentParser

import lightning_tricks
from lightning_tricks import BatchPreview, BatchTrick, LRTrick
from tests.registry import TRICKS, YAML
from tests.test_faults import HOOKS, Boom, Module, failing, loader, run, weights_of

every_trick = pytest.mark.parametrize("make", TRICKS.values(), ids=TRICKS.keys())
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda trick: pickle.loads(pickle.dumps(trick))}


def test_every_public_callback_is_in_the_registry():
    public = {name: getattr(lightning_tricks, name) for name in lightning_tricks.__all__}
    callbacks = {it for it in public.values() if isinstance(it, type) and issubclass(it, pl.Callback)}
    assert {type(make()) for make in TRICKS.values()} == callbacks - {BatchTrick, LRTrick, BatchPreview}


@every_trick
def test_the_repr_is_for_readers(make):
    text = repr(make())
    assert text.startswith(f"{type(make()).__name__}(")
    assert " at 0x" not in text
    assert repr(make()) == text


def test_every_class_is_in_the_yaml_table():
    assert YAML.keys() == {type(make()).__name__ for make in TRICKS.values()}


@pytest.mark.parametrize(("name", "arguments"), YAML.items(), ids=YAML.keys())
def test_it_is_configured_in_yaml(name, arguments):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callbacks", type=list[pl.Callback])
    config = parser.parse_object({"callbacks": [{"class_path": f"lightning_tricks.{name}", "init_args": arguments}]})
    (trick,) = parser.instantiate(config).callbacks
    assert type(trick).__name__ == name
    for argument, value in arguments.items():
        if argument not in ("transform", "tricks", "weights", "teacher", "temperature", "factor"):
            kept = getattr(trick, argument)
            assert (list(kept) if isinstance(kept, tuple) else kept) == value


def state_of(trainer, module):
    """What a trick could have left behind: attributes, callbacks, hooks of the optimizers, learning rates."""
    optimizers = [
        ({name: len(value) for name, value in vars(it).items() if "hooks" in name}, it.param_groups[0]["lr"])
        for it in trainer.optimizers
    ]
    hooks = {name: len(value) for name, value in vars(module).items() if "hooks" in name}
    return (
        set(vars(module)),
        type(module).__mro__[-4:],
        type(module).__name__,
        hooks,
        list(module.state_dict()),
        optimizers,
    )


def fit(make_trainer, callbacks, module, **kwargs):
    """The state after a fit, which may fail, and the callbacks before and after it."""
    trainer = make_trainer(callbacks=callbacks, num_sanity_val_steps=0, **kwargs)
    before = list(trainer.callbacks)
    with suppress(Boom):
        trainer.fit(module, loader())
    assert trainer.callbacks == before
    return state_of(trainer, module)


@every_trick
def test_nothing_is_left_behind_after_fit(make_trainer, make):
    plain, state = fit(make_trainer, [], Module()), fit(make_trainer, [make()], Module())
    assert state[:-1] == plain[:-1]
    # A scheduler that was held leaves another learning rate on purpose.
    assert getattr(make(), "hold_scheduler", False) or state == plain


@pytest.fixture(scope="module")
def after_exceptions():
    """The state that an exception in each hook leaves where there is no trick."""
    return {}


@every_trick
@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_nothing_is_left_behind_after_an_exception_in_any_hook(make_trainer, make, after_exceptions):
    for hook in HOOKS:
        kwargs = {"enable_checkpointing": hook == "on_save_checkpoint"}
        if hook not in after_exceptions:
            after_exceptions[hook] = fit(make_trainer, [], failing(hook), **kwargs)
        state = fit(make_trainer, [make()], failing(hook), **kwargs)
        assert state[:-1] == after_exceptions[hook][:-1], hook
        assert getattr(make(), "hold_scheduler", False) or state == after_exceptions[hook], hook


@every_trick
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_a_copy_belongs_to_no_run(make_trainer, make, copied):
    """Also one that is made in the middle of a run; it trains as the original did."""
    copies = [copied(make())]

    class Copying(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            copies.append(copied(trick))

    trick = make()
    expected = weights_of(run(make_trainer, [trick], callbacks=[Copying()]))
    for twin in (copies[0], copies[4], trick):
        assert not any(
            isinstance(value, (pl.Trainer, pl.LightningModule)) for value in vars(twin).values() if twin is not trick
        )
        for new, old in zip(weights_of(run(make_trainer, [twin])), expected, strict=True):
            assert torch.equal(new, old)
