"""`fit`, `validate`, `test` and `predict`: Lightning's command line over our models and data."""
