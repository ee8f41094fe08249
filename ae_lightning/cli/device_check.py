"""Asking whether there is a GPU, which PyTorch's optimizers do at every step."""

import os

import torch


def settle_device_check() -> None:
    """Make that question cheap where there is no GPU.

    Lightning lets PyTorch ask the driver's management library, so that processes can still be forked afterwards; where
    that library is missing it is looked for on the disk at each step, a tenth of a small model's step. The plain
    question remembers its answer, and without a GPU there is nothing that forking could harm.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
