"""What all repositories share, and the three kinds of access to the database.

A repository is typed by what its connection allows, and a method by what it needs: mypy refuses a
write through a `Repository[Reads]`, and several of them through a `Repository[Writes]`.
"""

from typing import Generic, TypeVar

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

Row = RowMapping


class Reads:
    """Reads only: the server refuses everything else."""


class Writes(Reads):
    """One writing statement, which commits by itself."""


class Transacts(Writes):
    """Several statements that commit together, and locks that last until then."""


Access = TypeVar("Access", bound=Reads, covariant=True)


class Repository(Generic[Access]):
    """SQL about one noun, over a connection that somebody else owns.

    A method that writes one statement says so by `self: "…Repository[Writes]"`; one that writes
    several, takes a lock, or belongs to another write by `[Transacts]`.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
