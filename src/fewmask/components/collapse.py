"""A watch on networks that stop to predict foreground, as two networks that believe each other can."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from fewmask.errors import FewmaskWarning


class CollapseMonitor(nn.Module):
    """Counts for how many steps in a row a network has predicted far less foreground than the labels hold.

    Args:
        networks: how many are watched.
        share: of the labelled patches' mean foreground; a network below it starves.
        patience: steps in a row after which a warning is given.
    """

    starved: Tensor
    prevalence: Tensor

    def __init__(self, networks: int, share: float = 0.1, patience: int = 100) -> None:
        super().__init__()
        self.share, self.patience = share, patience
        self.register_buffer("starved", torch.zeros(networks, dtype=torch.int64))
        self.register_buffer("prevalence", torch.zeros(()))

    @torch.no_grad()
    def update(self, labels: Tensor, *predicted: Tensor) -> Tensor:
        """One step.

        Args:
            labels: of the labelled patches, ``(B, *S)``; their foreground share is averaged over about 20 steps.
            predicted: each network's classes on unlabelled patches, ``(B, *S)``.

        Returns:
            Steps in a row in which the network that starves longest has done so; for the log.
        """
        share = (labels > 0).float().mean()
        self.prevalence.copy_(torch.where(self.prevalence > 0, self.prevalence.lerp(share, 0.05), share))
        low = torch.stack([(one > 0).float().mean() for one in predicted]) < self.share * self.prevalence
        self.starved.copy_(torch.where(low, self.starved + 1, 0))
        return self.starved.max()

    def warn(self, step: int) -> None:
        """Warn when a network has starved for ``patience`` steps; looks only every ``patience`` steps, which on a GPU saves waiting."""
        if step % self.patience == 0 and int(self.starved.max()) >= self.patience:
            warnings.warn(
                f"a network has predicted almost no foreground on unlabelled patches for {int(self.starved.max())} steps "
                f"(step {step}): it may have collapsed; ramp or lower the weights of the pseudo-label losses",
                FewmaskWarning,
                stacklevel=2,
            )
