"""Pure functions from arrays to pictures: tiles for TensorBoard, figures of weights, samples and runs."""
