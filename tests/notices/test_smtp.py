"""What a mail is made of: nothing that comes from outside begins a header."""

from datetime import UTC, datetime

import pytest

from cortex.notices.smtp import new_mail


@pytest.mark.parametrize(
    "subject",
    [
        "x\r\nBcc: eve@example.com",
        "x\nBcc: eve@example.com",
        "x\u2028Bcc: eve@example.com",
        "x\x0bBcc: eve@example.com\x00",
        "x\x85Bcc: eve@example.com",
        "y" * 5000,
    ],
)
def test_a_subject_is_one_line(subject: str) -> None:
    mail = new_mail(
        subject=subject,
        sender="cortex@example.com",
        to=("ann@example.com",),
        text="hello\r\n.\r\nBcc: eve@example.com",
        mail_id="msg_1",
        time=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert mail["Bcc"] is None
    assert mail["Message-ID"] == "<msg_1@example.com>"
    head = mail.as_bytes().partition(b"\r\n\r\n")[0]
    assert not any(line.lower().startswith(b"bcc") for line in head.splitlines())
    assert len(mail["Subject"]) <= 200
