"""Notices by e-mail: a job's end, what holds it up, a network that is away."""

from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Annotated, ClassVar, Final, Self

from pydantic import AfterValidator, Field, FilePath, SecretStr, StringConstraints, model_validator

from cortex.domain.mail import Tls
from cortex.notices.smtp import MailServer, ServerAway, new_mail, send_mail
from cortex.plugins.contract import Away, Plugin, PluginConfig
from cortex.plugins.notifications import Notification
from cortex.sinks.levels import Threshold

_LIMIT: Final = timedelta(seconds=60)


def _address(text: str) -> str:
    try:
        address = Address(addr_spec=text)
    except Exception:  # the parser of the standard library raises many kinds
        raise ValueError("must be an e-mail address, such as ops@example.com") from None
    if not address.username or not address.domain:
        raise ValueError("must be an e-mail address, such as ops@example.com")
    return text


_Address = Annotated[str, StringConstraints(max_length=254), AfterValidator(_address)]


class EmailConfig(PluginConfig, Threshold):
    """`[plugins.email]`; server and sender are those of `[smtp]` where none is given here."""

    to: tuple[_Address, ...] = Field(min_length=1, max_length=50)
    sender: _Address = Field(description="What the mails are from.")
    host: str = Field(min_length=1, max_length=253, description="The SMTP server.")
    port: int = Field(default=587, ge=1, le=65535)
    tls: Tls = Tls.STARTTLS
    ca: FilePath | None = Field(
        default=None, description="Certificates (PEM) to trust besides the system's."
    )
    username: str = ""
    password: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _no_password_in_clear(self) -> Self:
        if self.username and self.tls is Tls.NONE:
            raise ValueError("`username` needs `tls`: a password is not sent in clear")
        return self


class EmailChannel:
    """Sends each notice to all addresses as one mail."""

    name = "email"

    def __init__(self, config: EmailConfig) -> None:
        self._config = config

    async def send(self, note: Notification) -> None:
        """Hand the mail to the server.

        Raises:
            Away: the server cannot be reached, or takes none just now.
            SMTPException: it refuses this mail for good.
        """
        config = self._config
        if not config.tells(note):
            return
        server = MailServer(
            host=config.host,
            port=config.port,
            tls=config.tls,
            ca=config.ca,
            username=config.username,
            password=config.password.get_secret_value(),
        )
        try:
            await send_mail(mail_of(note, config), server)
        except ServerAway as away:
            raise Away(str(away)) from None


class Email(Plugin[EmailConfig]):
    """Notices by e-mail."""

    Config: ClassVar[type[PluginConfig]] = EmailConfig
    timeout: ClassVar[timedelta | None] = _LIMIT

    def __init__(self, config: EmailConfig) -> None:
        super().__init__(config)
        self.channels = (EmailChannel(config),)


def mail_of(note: Notification, config: EmailConfig) -> EmailMessage:
    """The mail; its `Message-ID` is the same if it is sent again."""
    title = " ".join(note.title.split())
    lines = [f"{title[:1].upper()}{title[1:]}.", "", note.text, ""]
    if note.job_id:
        lines.append(f"See: cortex job {note.job_id}")
    lines.append(f"At {note.time:%Y-%m-%d %H:%M:%S} UTC.")
    return new_mail(
        subject=f"[Cortex] {title}",
        sender=config.sender,
        to=config.to,
        text="\n".join(lines),
        mail_id=note.event.id,
        time=note.time,
    )
