"""What the code tells of the factors that samples were made from."""

from typing import Any, ClassVar

from ae_lightning.evaluation.factor_words import factor_table, score_table
from ae_lightning.report.contributed import Makers, SectionMaker
from ae_lightning.report.factors import FactorFigures
from ae_lightning.report.page import Numbers


class FactorsSection(SectionMaker):
    """Scores of disentanglement, and which latent tells which factor; empty where no factors are known."""

    title = "Known factors"
    place = 360
    readings: ClassVar = {
        "factors": (
            "Which latent tells which factor",
            "The mutual information of each latent with each factor, in parts of the factor's entropy: 1 where the "
            "latent alone tells the factor. A disentangled code has one bright square in a row, and in a column.",
        ),
        "factor_traversals": (
            "What these latents write",
            "The first test sample, decoded while one latent goes from its 1st percentile at t = 0 to its 99th at t = "
            "1: in each row the latent that tells most of the factor. Only this factor should change.",
        ),
    }

    def tables(self) -> list[Numbers]:
        """The scores over all factors, and of each."""
        factors = self._factors
        if not factors:
            return []
        measured = f"On {factors['samples']:,} test samples."
        overall = score_table(factors, self.subject.results["pca_components"])
        return [Numbers(*overall, measured), Numbers(*factor_table(factors))]

    def figures(self) -> Makers:
        """What `FactorFigures` has."""
        return FactorFigures(self.subject.model, self.subject.data).fitting() if self._factors else {}

    @property
    def _factors(self) -> dict[str, Any]:
        found: dict[str, Any] = self.subject.results.get("factors") or {}
        return found
