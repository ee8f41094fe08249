"""A run's folder: where it lies, each format in it, and `Run`, which reads it back."""
