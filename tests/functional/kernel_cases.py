"""Batches of images for the kernels, and what every kernel promises whatever it does."""

import torch
from hypothesis import strategies as st

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
ANY_DTYPE = (*FLOATS, torch.uint8, torch.int64, torch.bool)
LAYOUTS = ("contiguous", "channels_last", "every other column")


def make_images(shape, *, dtype=torch.float32, seed=0):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (values * 200).round().to(dtype) if not dtype.is_floating_point else (values * 4 - 2).to(dtype)


@st.composite
def image_batches(draw, dtypes, *, min_size=1, ndims=(3, 4, 5)):
    """Batches (N, …, H, W) with H ≠ W, among them masks (N, H, W)."""
    height = draw(st.integers(min_size, 9))
    width = height + draw(st.sampled_from([1, 2, 5]))
    size = (height, width) if draw(st.booleans()) else (width, height)
    ndim = draw(st.sampled_from(ndims))
    leading = {3: (), 4: (draw(st.integers(1, 8)),), 5: (3, 2)}[ndim]
    dtype = draw(st.sampled_from(dtypes))
    layout = draw(st.sampled_from(LAYOUTS))
    shape = (draw(st.sampled_from([1, 2, 3, 7])), *leading, *size)
    if layout == "every other column":
        return make_images((*shape[:-1], 2 * shape[-1]), dtype=dtype, seed=draw(st.integers(0, 99)))[..., ::2]
    images = make_images(shape, dtype=dtype, seed=draw(st.integers(0, 99)))
    return images.to(memory_format=torch.channels_last) if layout == "channels_last" and ndim == 4 else images


def run_kernel(kernel, images):
    """Runs the kernel, checks what they all promise, and gives its result as float64 for exact comparison."""
    before, version = images.clone(), images._version
    result = kernel(images)
    assert images._version == version
    assert torch.equal(images, before)
    assert type(result) is torch.Tensor
    assert (result.shape, result.dtype, result.device) == (images.shape, images.dtype, images.device)
    if result is not images:
        assert result.untyped_storage().data_ptr() != images.untyped_storage().data_ptr()
        assert result.stride() == torch.empty_like(images).stride()
    on_meta = kernel(torch.empty_strided(images.shape, images.stride(), dtype=images.dtype, device="meta"))
    assert on_meta.is_meta
    assert (on_meta.shape, on_meta.dtype) == (result.shape, result.dtype)
    assert on_meta.stride() == result.stride()
    return result.double().numpy()


def constant_images(n, *, size=(6, 11), dtype=torch.float64):
    """Image i is filled with the constant i, its label."""
    return torch.arange(n, dtype=dtype).view(n, 1, 1, 1).expand(n, 3, *size).contiguous()
