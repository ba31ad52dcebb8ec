"""A real mail server that keeps what it is sent."""

import ssl
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from cortex.embedded.config import free_ports
from simulators.kit.certificates import self_signed


class MailServer(Controller):
    """A server that asks for TLS and a password, and keeps what it is sent.

    `answer` is what it says to each mail; with a `port` it takes the place of one that was there.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        key, pem = self_signed("localhost")
        self.ca = folder / "ca.pem"
        self.ca.write_text(pem)
        chain = folder / "server.pem"
        chain.write_text(key + pem)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain)
        self.answer = "250 taken"
        self.envelopes: list[Envelope] = []
        super().__init__(
            self,
            hostname="127.0.0.1",
            port=port or free_ports(1)[0],
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._known,
        )

    def _known(self, *given: Any) -> AuthResult:
        login = given[-1]
        assert isinstance(login, LoginPassword)
        right = (login.login, login.password) == (b"cortex", b"hunter2")
        return AuthResult(success=right, handled=False)

    async def handle_RCPT(  # the name that aiosmtpd looks for
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            self.envelopes.append(envelope)
        return self.answer

    @property
    def mails(self) -> list[Message]:
        return [message_from_bytes(each.content or b"") for each in self.envelopes]  # type: ignore[arg-type]

    def end(self) -> None:
        """Stop, unless it was stopped before."""
        if self._thread is not None:
            self.stop()

    @property
    def texts(self) -> list[str]:
        """The bodies, as they are read."""
        mails = [message_from_bytes(mail.as_bytes(), policy=default) for mail in self.mails]
        return [str(mail.get_content()) for mail in mails]
