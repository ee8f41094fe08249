"""Metrics that torchmetrics lacks: sparsity of codes, and reconstruction error in the usual units."""
