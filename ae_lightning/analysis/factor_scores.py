"""How a code stands to the factors that samples were made from, by the scores of the literature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ae_lightning.analysis.factor_importance import completeness, disentanglement, read_factors
from ae_lightning.analysis.factor_information import (
    attribute_scores,
    entropies,
    mutual_information,
    mutual_information_gap,
    separated_attribute_predictability,
    varying_latents,
)
from ae_lightning.analysis.factor_score_names import SCORES
from ae_lightning.analysis.factor_votes import factor_vae_score
from ae_lightning.analysis.pca import Array

FEWEST_SAMPLES = 100
"""Samples that the scores need at least; their biases shrink with the number of samples."""


class FactorScores(NamedTuple):
    """Scores of a code: all in all, and of each factor.

    Args:
        overall: A number for each of `SCORES`, and `varying_latents`, how many latents are not constant.
        each: `mig`, `sap`, `completeness` and `informativeness` of each factor that varies, (factors,) each.
        factors: Numbers of the factors that vary, in their order.
    """

    overall: dict[str, float]
    each: dict[str, Array]
    factors: list[int]


def factor_scores(codes: Array, factors: Array, ordered: Sequence[bool], seed: int = 0) -> FactorScores:
    """Measure a code by MIG, SAP, DCI and the FactorVAE score.

    Constant latents are left out, and so are factors that do not vary. All scores are 1 for the factors themselves,
    permuted and rescaled, but for the bias of mutual information, which takes (bins − 1)(values − 1) / 2n from MIG. Of
    a code that knows nothing MIG, SAP, disentanglement and completeness are near 0; informativeness is that of guessing
    the commonest value, and the FactorVAE score 1 / factors. Scores are NaN where a code is not finite.

    Args:
        codes: Codes (n, latents).
        factors: Values (n, factors), whole numbers from 0.
        ordered: Whether a larger value of each factor is more of something.
        seed: Seed of what is drawn.

    Raises:
        ValueError: There are fewer than 100 samples, or fewer than two factors vary.

    Example:
        >>> values = np.stack(np.unravel_index(np.arange(480), (4, 6, 20)), axis=1)
        >>> scores = factor_scores(values * 0.1, values, [False, True, True])
        >>> {name: round(score, 2) for name, score in scores.overall.items() if name != "mig"}
        {'sap': 1.0, 'dci_disentanglement': 1.0, 'dci_completeness': 1.0, 'dci_informativeness': 1.0, \
'factor_vae': 1.0, 'varying_latents': 3}
    """
    if len(codes) < FEWEST_SAMPLES:
        raise ValueError(f"scores of factors need at least {FEWEST_SAMPLES} samples, but there are {len(codes)}")
    varying = [int(column) for column in np.flatnonzero(factors.min(axis=0) < factors.max(axis=0))]
    if len(varying) < 2:
        raise ValueError(f"scores of factors need at least two that vary, but {len(varying)} of them does")
    if not np.isfinite(codes).all():
        unknown = np.full(len(varying), np.nan)
        each = dict.fromkeys(("mig", "sap", "completeness", "informativeness"), unknown)
        return FactorScores(dict.fromkeys((*SCORES, "varying_latents"), math.nan), each, varying)
    values, latents = factors[:, varying], varying_latents(codes)
    varied = codes[:, latents].astype(np.float64)
    codes = varied if len(latents) else np.zeros((len(codes), 1))  # which tells as little as a code of none
    information = mutual_information(codes, values)
    reading = read_factors(codes, values, information, seed)
    each = {
        "mig": mutual_information_gap(information, entropies(values)),
        "sap": separated_attribute_predictability(attribute_scores(codes, values, [ordered[i] for i in varying])),
        "completeness": completeness(reading.importance),
        "informativeness": reading.accuracy,
    }
    overall = {
        "mig": float(each["mig"].mean()),
        "sap": float(each["sap"].mean()),
        "dci_disentanglement": disentanglement(reading.importance),
        "dci_completeness": float(each["completeness"].mean()),
        "dci_informativeness": float(each["informativeness"].mean()),
        "factor_vae": factor_vae_score(varied, values, seed),
        "varying_latents": len(latents),
    }
    return FactorScores(overall, each, varying)
