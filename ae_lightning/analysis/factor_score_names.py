"""What the scores of a code on known factors are called; a leaf, so that tables need not load what computes them."""

SCORES = ("mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae")
"""See `ae_lightning.analysis.factor_scores`."""
