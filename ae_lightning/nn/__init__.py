"""Plain `torch.nn` blocks: they know tensors and parameters, and nothing of training."""
