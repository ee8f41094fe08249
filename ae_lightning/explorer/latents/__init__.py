"""Dictionaries on activations as pages: for each latent what it does, and the samples that excite it most."""
