import torch

from lightning_tricks.data import DigitsDataModule


def parts(seed, **kwargs):
    data = DigitsDataModule(seed=seed, **kwargs)
    data.setup("fit")
    return data


def key(part):
    """Images as exact integers, so that parts can be compared as sets whatever their normalisation."""
    images = part.tensors[0].flatten(1)
    steps = ((images - images.min()) / (images.max() - images.min()) * 16).round().int()
    return [tuple(row) for row in steps.tolist()]


def test_sizes_shapes_and_dtypes():
    data = parts(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1077, 360, 360]
    for part in (data.train, data.validation, data.test):
        images, labels = part.tensors
        assert images.shape[1:] == (1, 8, 8)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert labels.unique().tolist() == list(range(10))


def test_training_part_is_normalised():
    images = parts(3).train.tensors[0]
    assert abs(images.mean().item()) < 1e-5
    assert abs(images.std().item() - 1) < 1e-5


def test_parts_share_no_image_and_hold_them_all():
    data = parts(1)
    counts = [key(part) for part in (data.train, data.validation, data.test)]
    assert len(set().union(*counts)) == sum(len(set(count)) for count in counts) == 1797


def test_the_seed_changes_the_split_but_never_the_test_part():
    first, second, again = parts(0), parts(1), parts(0)
    assert key(first.test) == key(second.test)
    assert set(key(first.train)) != set(key(second.train))
    assert set(key(first.train)) | set(key(first.validation)) == set(key(second.train)) | set(key(second.validation))
    assert torch.equal(first.train.tensors[0], again.train.tensors[0])


def test_parts_are_stratified():
    data = parts(2)
    for part in (data.train, data.validation, data.test):
        shares = part.tensors[1].bincount() / len(part)
        assert (shares - 0.1).abs().max() < 0.01


def test_order_comes_from_the_seed_alone():
    def orders(seed, noise):
        loader = parts(seed, batch_size=50).train_dataloader()
        torch.manual_seed(noise)
        return [torch.cat([y for _, y in loader]) for _ in range(2)]

    assert torch.equal(torch.stack(orders(4, noise=0)), torch.stack(orders(4, noise=1)))
    epochs = orders(4, noise=0)
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], orders(5, noise=0)[0])


def test_batch_size_and_loaders():
    data = parts(0, batch_size=50)
    assert len(next(iter(data.train_dataloader()))[1]) == 50
    assert torch.equal(next(iter(data.val_dataloader()))[0], data.validation.tensors[0])
    assert torch.equal(next(iter(data.test_dataloader()))[0], data.test.tensors[0])
