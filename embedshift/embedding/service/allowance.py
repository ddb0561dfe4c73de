"""What a request needs before it may be sent: a share of the limits, and of the money, of a whole run."""

from __future__ import annotations

from typing import Protocol


class Allowance(Protocol):
    """Asked before each request, and told what became of it. Threads share one."""

    def reserve(self, tokens: int) -> None:
        """Wait until a request of about so many tokens may be sent, and count it as spent.

        Raises:
            EmbedshiftError: it may not be sent any more: the run is over, or its money is spent.
        """

    def settle(self, reserved: int, used: int) -> None:
        """A request was answered: so many tokens were used instead of those that were reserved, 0 if it was refused.

        What is never settled stays counted as spent.
        """

    def slowed(self, reason: str) -> None:
        """The service makes everybody wait, for a reason that people should see; empty: it does so no more."""


class Unlimited:
    """No limits, for an application, which has its own; it only counts.

    Attributes:
        requests: that were answered.
        tokens: that they used.
    """

    def __init__(self) -> None:
        self.requests = self.tokens = 0

    def reserve(self, tokens: int) -> None:
        """Do nothing."""

    def settle(self, reserved: int, used: int) -> None:
        """Count."""
        self.requests += 1
        self.tokens += used

    def slowed(self, reason: str) -> None:
        """Do nothing."""
