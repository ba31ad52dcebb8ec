"""The part of the asynchronous client that is about what one is told."""

from collections.abc import Sequence

from cortex.client._routes import notices as routes
from cortex.client.transport import AsyncTransport
from cortex.schemas.notices import NoticesView


class AsyncNoticeCalls:
    """What `AsyncCortex` can do with one's own notices."""

    _transport: AsyncTransport

    async def notices(self) -> NoticesView:
        """What one is told, by which ways, and what became of the last message of each."""
        return await self._transport.call(routes.notices())

    async def update_notices(
        self,
        *,
        enabled: bool | None = None,
        named: bool | None = None,
        own: Sequence[str] | None = None,
        projects: Sequence[str] | None = None,
        email: bool | None = None,
        chat: str | None = None,
    ) -> NoticesView:
        """Choose what one is told; what is None stays as it is.

        Args:
            enabled: False: nothing at all.
            named: Whether jobs of others may name one in `notify`.
            own: Events of own jobs, groups and schedules, such as `failed`.
            projects: Events of those of others in projects that one is in.
            email: Whether by e-mail.
            chat: A chat as Apprise writes it, such as `discord://…`; empty: none any more.
        """
        now = await self.notices()
        return await self._transport.call(
            routes.put(
                enabled=now.enabled if enabled is None else enabled,
                named=now.named if named is None else named,
                own=now.own if own is None else own,
                projects=now.projects if projects is None else projects,
                email=now.email.on if email is None else email,
                chat=chat,
            )
        )
