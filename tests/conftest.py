import lightning.pytorch as pl
import pytest
import torch


def pytest_configure(config):
    # Here rather than in a fixture, for the examples in the package's docstrings need it too.
    torch.set_num_threads(1)


@pytest.fixture
def make_trainer(tmp_path):
    """A Trainer on the CPU that writes to a temporary folder and nothing to the screen."""

    def make(**kwargs):
        defaults = {
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "max_epochs": 1,
            "default_root_dir": tmp_path,
        }
        return pl.Trainer(**(defaults | kwargs))

    return make
