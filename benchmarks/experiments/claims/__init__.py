"""The claims of the five papers, in their order."""

from __future__ import annotations

from experiments.claims import adaple, d4s, dual_facets, gradual, prune
from experiments.items import Item

PAPERS = {
    "gupta": "Gupta et al. 2024, Model Editing at Scale leads to Gradual and Catastrophic "
    "Forgetting",
    "d4s": "Huang et al. 2024, Reasons and Solutions for the Decline in Model Performance (D4S)",
    "lin": "Lin et al. 2024, Navigating the Dual Facets",
    "prune": "Ma et al. 2025, Perturbation-Restrained Sequential Model Editing (PRUNE)",
    "adaple": "Li and Chu 2024, Can We Continually Edit Language Models? (AdaPLE)",
}
ITEMS: tuple[Item, ...] = (
    *gradual.ITEMS, *d4s.ITEMS, *dual_facets.ITEMS, *prune.ITEMS, *adaple.ITEMS,
)  # fmt: skip
