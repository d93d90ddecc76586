"""Filters: linear read-outs of an MLP's input that know one subject from everything else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class FilterWeights:
    """How much similar names (h) and the subject itself (p) weigh beside ordinary inputs."""

    stranger: float
    subject: float


class FilterSolver:
    """Solves for filters over one second moment C (u, u), float64, factored once."""

    def __init__(self, moment: Tensor, weights: FilterWeights) -> None:
        self.weights = weights
        self._lower = torch.linalg.cholesky(moment.double())

    def filter(self, subject: Tensor, strangers: Tensor) -> Tensor:
        """The filter w (u,) for inputs of the subject P (n, u) and of similar names H (m, u).

        ``w ~ (C + h E_H[x x^T] + p E_P[x x^T])^-1 E_P[x]``, scaled so that the mean score ``w . x``
        over P is 1. By Woodbury's identity over the factor of C: a system of n + m equations.
        """
        rows = [(self.weights.subject / len(subject)) ** 0.5 * subject.double()]
        if len(strangers):
            rows.append((self.weights.stranger / len(strangers)) ** 0.5 * strangers.double())
        mean = subject.double().mean(dim=0)  # (u,)
        # (u, 1 + n + m), whitened: L^-1 [mean, rows^T]
        white = torch.linalg.solve_triangular(
            self._lower, torch.cat([mean[None], *rows]).T, upper=False
        )
        first, rest = white[:, 0], white[:, 1:]  # (u,), (u, n + m)
        gram = rest.T @ rest + torch.eye(rest.shape[1], dtype=rest.dtype)
        reduced = first - rest @ torch.linalg.solve(gram, rest.T @ first)  # (u,)
        w = torch.linalg.solve_triangular(self._lower.T, reduced[:, None], upper=True)[:, 0]
        scaled: Tensor = w / (mean @ w)
        return scaled


def telling_filter(moment: Tensor, subject: Tensor, twins: Tensor, ridge: float) -> Tensor:
    """The filter (u,) that is 1 on inputs of the subject P (n, u) and 0 on those of twins H (m, u).

    Ridge regression against ordinary inputs: ``(ridge C + E_P[x x^T] + E_H[x x^T])^-1 E_P[x]``.
    """
    total = ridge * moment.double() + subject.T @ subject / len(subject)
    if len(twins):
        total = total + twins.T @ twins / len(twins)
    w: Tensor = torch.linalg.solve(total, subject.double().mean(dim=0))
    return w
