"""What all repositories share."""

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

Row = RowMapping


class Repository:
    """SQL about one noun, inside a transaction that somebody else owns."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
