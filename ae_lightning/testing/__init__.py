"""The tests that every variant must pass, for a test suite of your own; they need pytest, `ae-lightning[testing]`."""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("variant_tests", "population_tests", "outputs")))

from ae_lightning.testing.variant_tests import VariantTests  # noqa: E402 (only what is imported later is rewritten)

__all__ = ["VariantTests"]
