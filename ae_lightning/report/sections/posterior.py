"""What the posterior of a variational autoencoder tells, and the bound on how probable its model finds the data."""

from typing import Any, ClassVar

import numpy as np

from ae_lightning.evaluation.judgment import collapsed
from ae_lightning.evaluation.posterior import ACTIVE
from ae_lightning.numerals import numeral
from ae_lightning.plots.posterior import divergence_bars
from ae_lightning.report.contributed import Makers, SectionMaker
from ae_lightning.report.page import Numbers


class PosteriorSection(SectionMaker):
    """KL divergence, active latents and the bound on log p(x); empty of models that have no posterior."""

    title = "The posterior"
    place = 450
    readings: ClassVar = {
        "kl_of_latents": (
            "What each latent tells",
            "KL divergence of a latent's posterior from the prior, mean over test samples. A latent is active whose "
            "posterior mean has a variance above 0.01; one that is not is told apart from noise by no sample.",
        )
    }

    def figures(self) -> Makers:
        """Bars of the latents' divergences."""
        posterior = self._posterior()
        if not posterior:
            return {}
        nats, variances = (_numbers(posterior[name]) for name in ("kl_of_latents", "variance_of_means"))
        return {"kl_of_latents": lambda: divergence_bars(nats, variances > ACTIVE)}

    def tables(self) -> list[Numbers]:
        """The divergence, how many latents are active, and the bound."""
        posterior = self._posterior()
        if not posterior:
            return []
        rows = [
            ["KL divergence", f"{_nats(posterior['kl'])} nats a sample"],
            ["active latents", f"{posterior['active']} of {len(posterior['kl_of_latents'])}"],
        ]
        note = ""
        if bound := self.subject.results.get("bound"):
            error = "" if bound["nats_se"] is None else f" ± {bound['nats_se']:.2f}"
            rows.append(["−log p(x), upper bound", f"{_nats(bound['nats'])}{error} nats a sample"])
            note = (
                f"The bound is that of {bound['samples']:,} codes for each of {bound['images']:,} test samples; ± is "
                "its standard error over samples. More codes, `ae-lightning evaluate --bound-samples 5000`, lower it."
            )
        return [Numbers(["the posterior on the test set", ""], rows, note)]

    def sentences(self) -> list[str]:
        """What is said of a collapse."""
        return [said] if (said := collapsed(self.subject.results)) else []

    def _posterior(self) -> dict[str, Any]:
        found: dict[str, Any] = self.subject.results.get("posterior", {})
        return found


def _numbers(values: list[float | None]) -> np.ndarray:
    """Numbers of which some may not have been finite: 0 stands for these."""
    return np.array([0.0 if value is None else value for value in values])


def _nats(value: float | None) -> str:
    return "not finite" if value is None else numeral(value, ".2f")
