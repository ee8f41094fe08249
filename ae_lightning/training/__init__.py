"""What the base of all models delegates: checks, sizes, epoch means, rows of metrics, the learning rate."""
