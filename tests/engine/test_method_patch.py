import copy
import inspect
import pickle

from lightning_tricks.engine.method_patch import MethodPatch, remove_patches


class Owner:
    def step(self, batch, batch_idx):
        return ("step", batch, batch_idx)


def doubled(original, batch, *args, **kwargs):
    return original(batch * 2, *args, **kwargs)


def test_patch_calls_around_and_leaves_nothing_behind():
    owner = Owner()
    patch = MethodPatch(owner, "step", doubled)
    patch.install()
    assert owner.step(3, batch_idx=1) == ("step", 6, 1)
    patch.remove()
    assert vars(owner) == {}
    assert owner.step(3, 1) == ("step", 3, 1)


def test_an_instance_attribute_is_put_back():
    owner = Owner()
    owner.step = replacement = lambda batch, batch_idx: ("own", batch)
    patch = MethodPatch(owner, "step", doubled)
    patch.install()
    assert owner.step(3, 0) == ("own", 6)
    patch.remove()
    assert owner.step is replacement


def test_signature_is_seen_through_one_level():
    owner = Owner()
    MethodPatch(owner, "step", doubled).install()
    assert inspect.getfullargspec(owner.step.__wrapped__).args == ["self", "batch", "batch_idx"]


def test_copies_call_the_original_of_their_own_owner():
    owner = Owner()
    MethodPatch(owner, "step", doubled).install()
    for twin in (copy.deepcopy(owner), pickle.loads(pickle.dumps(owner))):
        assert twin.step.owner is twin
        assert twin.step(3, 0) == ("step", 3, 0)
    assert owner.step(3, 0) == ("step", 6, 0)


def test_a_patch_that_was_wrapped_goes_quiet():
    owner = Owner()
    patch = MethodPatch(owner, "step", doubled)
    patch.install()
    inner = owner.step
    owner.step = lambda *args: ("wrapped", inner(*args))
    patch.remove()
    assert owner.step(3, 0) == ("wrapped", ("step", 3, 0))


def test_left_over_patches_are_removed():
    owner = Owner()
    for _ in range(2):
        MethodPatch(owner, "step", doubled).install()
    assert owner.step(1, 0) == ("step", 4, 0)
    remove_patches(owner, "step")
    assert vars(owner) == {}
