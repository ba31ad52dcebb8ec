"""What persons want to be told: each says it of themselves."""

from cortex.db.engine import Database, Reading, Transaction
from cortex.domain.audit import changed_values
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.domain.messages import Channel, MessageState
from cortex.domain.notices import ChannelStatus, Preferences
from cortex.domain.rights import Principal
from cortex.notices.chats import Chats
from cortex.notices.people import People, PersonSecrets, chosen_of, is_token, token_hash
from cortex.schemas.notices import NoticesPut, NoticesView
from cortex.settings import Settings
from cortex.webhooks.addresses import Refused, Rules


class Notices:
    """Shows and changes one's own."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._people = People(settings)
        self._chats = Chats(Rules(settings.webhooks.allowed_networks, settings.webhooks.allow_http))

    async def get(self, by: Principal) -> NoticesView:
        """What `by` is told, and how."""
        async with self._database.reading() as tx:
            stored = (await tx.preferences.find([by.name])).get(by.name)
            return await self._view(tx, by.name, chosen_of(stored))

    async def put(self, wanted: NoticesPut, by: Principal) -> NoticesView:
        """Choose what `by` is told.

        Raises:
            InvalidRequest: the chat may not be used.
            ServiceUnavailable: no encryption key is configured.
        """
        url = None if wanted.chat is None else wanted.chat.get_secret_value()
        service = await self._checked(url) if url else ""
        async with self._database.transaction() as tx:
            old, secrets = await self._people.stored(tx, by.name)
            if url is not None:
                secrets = PersonSecrets(secrets.token, url)
            new = Preferences(
                enabled=wanted.enabled,
                named=wanted.named,
                own=wanted.own,
                projects=wanted.projects,
                email=wanted.email,
                chat=old.chat if url is None else service,
            )
            sealed = secrets.sealed(self._people.keyring, by.name)
            await tx.preferences.put(by.name, new, sealed, secrets.hash)
            before, after = changed_values(_audited(old), _audited(new))
            if url:
                after["chat_set"] = service
            if after:
                await tx.audit.add(by, "notices.change", by.name, before=before, after=after)
            return await self._view(tx, by.name, new)

    async def unsubscribe(self, token: str, by: Principal) -> bool:
        """Tell whoever has this token nothing any more; False: nobody has it."""
        if not is_token(token):
            return False
        async with self._database.transaction() as tx:
            name = await tx.preferences.unsubscribe(token_hash(token))
            if name is None:
                return False
            owner = by.model_copy(update={"name": name})
            after = {"enabled": False}
            await tx.audit.add(owner, "notices.unsubscribe", name, before={}, after=after)
        return True

    async def _checked(self, url: str) -> str:
        try:
            return await self._chats.check(url)
        except Refused as refused:
            raise _invalid(str(refused)) from None
        except OSError:
            raise _invalid("names a host that has no address") from None

    async def _view(self, tx: Reading | Transaction, name: str, chosen: Preferences) -> NoticesView:
        address = await self._people.address(tx, name)
        problem = ""
        if not self._people.mails:
            problem = "this server sends no mail: `smtp.host` is not set"
        elif not address:
            problem = "there is no address: an admin sets it by `cortex users set NAME --email …`"
        email = await _status(tx, name, Channel.EMAIL, address, problem, on=chosen.email)
        chat = await _status(tx, name, Channel.CHAT, chosen.chat, "", on=bool(chosen.chat))
        return NoticesView(
            enabled=chosen.enabled,
            named=chosen.named,
            own=chosen.own,
            projects=chosen.projects,
            email=email,
            chat=chat,
        )


async def _status(
    tx: Reading | Transaction, name: str, channel: Channel, to: str, problem: str, *, on: bool
) -> ChannelStatus:
    last = await tx.messages.last(name, channel)
    if last is None:
        return ChannelStatus(on=on, to=to, problem=problem)
    told = last.error if last.state is not MessageState.SENT else ""
    return ChannelStatus(on=on, to=to, problem=problem or told, last=last.state, last_at=last.time)


def _audited(chosen: Preferences) -> dict[str, object]:
    return {
        "enabled": chosen.enabled,
        "named": chosen.named,
        "own": [each.value for each in chosen.own],
        "projects": [each.value for each in chosen.projects],
        "email": chosen.email,
        "chat": chosen.chat,
    }


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(
        f"the choice of notices is not valid: `chat` {message}",
        errors=[FieldError(field="chat", message=message)],
    )
