"""One mail to a mail server: taken, refused for good, or to be tried again."""

from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Final

from cortex.domain.mail import Tls

_TIMEOUT: Final = 20.0
_TRANSIENT: Final = range(400, 500)
_LONGEST_SUBJECT: Final = 200
# Addresses in headers are long: folded, programs that look for them would not find them.
_POLICY: Final = SMTP.clone(max_line_length=998, cte_type="7bit")


class ServerAway(Exception):
    """The mail server cannot be reached, or takes none just now; the text says why."""


@dataclass(frozen=True)
class MailServer:
    """Where mails are handed in.

    Attributes:
        ca: Certificates (PEM) to trust besides the system's.
        username: Empty: without logging in.
    """

    host: str
    port: int
    tls: Tls
    ca: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)


def new_mail(
    *, subject: str, sender: str, to: tuple[str, ...], text: str, mail_id: str, time: datetime
) -> EmailMessage:
    """A mail of plain text. Line ends in `subject` are made spaces: none can begin a header.

    `sender` and `to` are addresses. The `Message-ID` is made of `mail_id`: the same if the mail is
    sent again. `time` is in UTC.
    """
    mail = EmailMessage(policy=_POLICY)
    printable = "".join(c if c.isprintable() else " " for c in subject)
    mail["Subject"] = " ".join(printable.split())[:_LONGEST_SUBJECT]
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Date"] = time
    mail["Message-ID"] = f"<{mail_id}@{sender.rpartition('@')[2]}>"
    # No answers of machines to a machine (RFC 3834).
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text)
    return mail


async def send_mail(mail: EmailMessage, server: MailServer) -> None:
    """Hand the mail to the server.

    Raises:
        ServerAway: the server cannot be reached, or takes none just now.
        SMTPException: it refuses this mail for good.
    """
    import aiosmtplib  # few have a server

    try:
        # As bytes: the library would fold it by a policy of its own.
        await aiosmtplib.send(
            mail.as_bytes(),
            sender=str(mail["From"]),
            recipients=[address.addr_spec for address in mail["To"].addresses],
            hostname=server.host,
            port=server.port,
            cert_bundle=str(server.ca) if server.ca else None,
            use_tls=server.tls is Tls.TLS,
            start_tls=server.tls is Tls.STARTTLS,
            username=server.username or None,
            password=server.password or None,
            timeout=_TIMEOUT,
        )
    except aiosmtplib.SMTPRecipientsRefused as refused:
        codes = {each.code for each in refused.recipients}
        if all(code in _TRANSIENT for code in codes):
            raise ServerAway(f"the mail server takes none for these addresses: {refused}") from None
        raise
    except aiosmtplib.SMTPAuthenticationError as refused:
        raise ServerAway(f"the mail server does not let Cortex in: {refused.message}") from None
    except aiosmtplib.SMTPResponseException as refused:
        if refused.code in _TRANSIENT:
            raise ServerAway(f"the mail server takes none: {refused.message}") from None
        raise
    except (aiosmtplib.SMTPException, OSError) as error:
        raise ServerAway(f"the mail server cannot be used: {words(error)}") from None


def words(error: Exception) -> str:
    """What an error says, in one line; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
