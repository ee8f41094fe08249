"""Pure functions from tensors to a scalar loss; each says over what it sums and over what it averages."""
