"""The final numbers, beside what they must beat."""

from ae_lightning.report.contributed import SectionMaker
from ae_lightning.report.overview import error_table, latent_table, probe_table
from ae_lightning.report.page import Numbers


class NumbersSection(SectionMaker):
    """Errors, probes and the code, as tables."""

    title = "Numbers and baselines"
    place = 100

    def tables(self) -> list[Numbers]:
        """Errors on the test set, accuracies if there was a probe, and what the code is like."""
        results = self.subject.results
        tables = [
            error_table(results, len(self.subject.data.test_set), self.subject.random_error),
            probe_table(results),
            latent_table(results),
        ]
        return [table for table in tables if table is not None]
