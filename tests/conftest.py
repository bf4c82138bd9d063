"""Shared by all tests: one PyTorch thread, because tensors are small and cores may be shared."""

import torch

torch.set_num_threads(1)
