"""Notices by e-mail: a job's end, what holds it up, a network that is away."""

from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self

from pydantic import AfterValidator, Field, FilePath, SecretStr, StringConstraints, model_validator

from cortex.plugins.contract import Away, Plugin, PluginConfig
from cortex.plugins.notifications import Notification
from cortex.sinks.levels import Threshold, words

_TIMEOUT: Final = 20.0
_LIMIT: Final = timedelta(seconds=60)
_TRANSIENT: Final = range(400, 500)
_LONGEST_SUBJECT: Final = 200


class Tls(StrEnum):
    STARTTLS = "starttls"
    """Begins in clear and must change to TLS before anything is said."""
    TLS = "tls"
    NONE = "none"


def _address(text: str) -> str:
    try:
        address = Address(addr_spec=text)
    except Exception:  # the parser of the standard library raises many kinds
        raise ValueError("must be an e-mail address, such as ops@example.com") from None
    if not address.username or not address.domain:
        raise ValueError("must be an e-mail address, such as ops@example.com")
    return text


MailAddress = Annotated[str, StringConstraints(max_length=254), AfterValidator(_address)]


class EmailConfig(PluginConfig, Threshold):
    """`[plugins.email]`."""

    to: tuple[MailAddress, ...] = Field(min_length=1, max_length=50)
    sender: MailAddress = Field(description="What the mails are from.")
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
        import aiosmtplib  # few have a server

        config = self._config
        if not config.tells(note):
            return
        try:
            await aiosmtplib.send(
                mail_of(note, config),
                hostname=config.host,
                port=config.port,
                cert_bundle=str(config.ca) if config.ca else None,
                use_tls=config.tls is Tls.TLS,
                start_tls=config.tls is Tls.STARTTLS,
                username=config.username or None,
                password=config.password.get_secret_value() or None,
                timeout=_TIMEOUT,
            )
        except aiosmtplib.SMTPRecipientsRefused as refused:
            codes = {each.code for each in refused.recipients}
            if all(code in _TRANSIENT for code in codes):
                raise Away(f"the mail server takes none for these addresses: {refused}") from None
            raise
        except aiosmtplib.SMTPAuthenticationError as refused:
            raise Away(f"the mail server does not let Cortex in: {refused.message}") from None
        except aiosmtplib.SMTPResponseException as refused:
            if refused.code in _TRANSIENT:
                raise Away(f"the mail server takes none: {refused.message}") from None
            raise
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Away(f"the mail server cannot be used: {words(error)}") from None


class Email(Plugin[EmailConfig]):
    """Notices by e-mail."""

    Config: ClassVar[type[PluginConfig]] = EmailConfig
    timeout: ClassVar[timedelta | None] = _LIMIT

    def __init__(self, config: EmailConfig) -> None:
        super().__init__(config)
        self.channels = (EmailChannel(config),)


def mail_of(note: Notification, config: EmailConfig) -> EmailMessage:
    """The mail; its `Message-ID` is the same if it is sent again."""
    mail = EmailMessage()
    title = " ".join(note.title.split())
    mail["Subject"] = f"[Cortex] {title}"[:_LONGEST_SUBJECT]
    mail["From"] = config.sender
    mail["To"] = ", ".join(config.to)
    mail["Date"] = note.time
    mail["Message-ID"] = f"<{note.event.id}@{config.sender.rpartition('@')[2]}>"
    # No answers of machines to a machine (RFC 3834).
    mail["Auto-Submitted"] = "auto-generated"
    lines = [f"{title[:1].upper()}{title[1:]}.", "", note.text, ""]
    if note.job_id:
        lines.append(f"See: cortex show {note.job_id}")
    lines.append(f"At {note.time:%Y-%m-%d %H:%M:%S} UTC.")
    mail.set_content("\n".join(lines))
    return mail
