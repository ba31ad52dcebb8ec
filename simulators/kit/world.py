"""What a simulator is made of: a world with state of its own, seen through a router."""

from abc import ABC, abstractmethod
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import BaseModel, Field

from simulators.kit.clock import Clock
from simulators.kit.runs import Runs


class SimLease(BaseModel):
    """What the network itself has on its books: alive means that it costs money."""

    id: str
    key: str
    alive: bool


class SimBill(BaseModel):
    """What the network charges for one lease, by its own reckoning."""

    id: str
    key: str
    amount: Decimal
    currency: str
    final: bool


class Action(BaseModel):
    """Something that happens in the world, set off by a test."""

    action: str
    args: dict[str, Any] = Field(default_factory=dict)


class UnknownAction(Exception):
    """This world knows no such action, or not for this subject."""


class World(ABC):
    """One simulated network. All state lives in `folder` or can be lost with the process."""

    name: ClassVar[str]

    def __init__(self, folder: Path, clock: Clock, runs: Runs) -> None:
        self.folder = folder
        self.clock = clock
        self.runs = runs

    @abstractmethod
    def router(self) -> APIRouter:
        """The network's API."""

    async def start(self) -> None:  # noqa: B027
        """Called before the first request."""

    async def aclose(self) -> None:  # noqa: B027
        """Called after the last one."""

    @abstractmethod
    async def leases(self) -> list[SimLease]:
        """Everything that was ever leased, for checks from outside."""

    @abstractmethod
    async def bill(self) -> list[SimBill]:
        """What each lease costs, for checks from outside."""

    async def act(self, action: str, args: dict[str, Any]) -> dict[str, Any]:
        """Let something happen.

        Raises:
            UnknownAction: nothing like that can happen here.
        """
        raise UnknownAction(f"`{self.name}` knows no action `{action}`")
