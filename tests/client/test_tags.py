"""Changes of what nobody else has changed since, over real sockets."""

import json

import pytest

from cortex.client import LAST_SEEN, ConnectionFailed, Cortex, InvalidValue, PreconditionFailed
from cortex.client import tags as module
from cortex.domain.rights import Role
from tests.client.conftest import QUICK, Stub, reply

USER = {
    "id": "usr_1",
    "name": "ann",
    "kind": "person",
    "role": "viewer",
    "active": True,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}
SECRET = {
    "name": "token",
    "project": "p",
    "owner": "ann",
    "version": 1,
    "set_by": "ann",
    "set_at": "2026-01-01T00:00:00Z",
    "created_at": "2026-01-01T00:00:00Z",
}
CHANGED = {"title": "No", "status": 412, "code": "precondition_failed", "detail": "it was changed"}


def tagged(tag: str) -> bytes:
    return reply(200, json.dumps(USER), headers=f"etag: {tag}\r\n")


@pytest.fixture
def cortex(stub: Stub) -> Cortex:
    return Cortex(stub.url, "key", retry=QUICK, stream_retry=QUICK)


def test_what_was_read_last_is_what_may_be_changed(stub: Stub, cortex: Cortex) -> None:
    stub.replies = [tagged('"a.1"'), tagged('"b.2"'), tagged('"c.3"')]
    with cortex:
        cortex.user("ann")
        cortex.update_user("ann", role=Role.VIEWER, if_match=LAST_SEEN)
        # The answer to the change is the newest that was seen.
        cortex.update_user("ann", role=Role.ADMIN, if_match=LAST_SEEN)
    assert [seen.headers.get("if-match") for seen in stub.seen] == [None, '"a.1"', '"b.2"']


def test_others_were_faster(stub: Stub, cortex: Cortex) -> None:
    refused = reply(412, json.dumps(CHANGED), kind="application/problem+json")
    stub.replies = [refused]
    with cortex, pytest.raises(PreconditionFailed, match="it was changed") as caught:
        cortex.update_user("ann", role=Role.ADMIN, if_match='"a.1"')
    assert (caught.value.status, caught.value.code) == (412, "precondition_failed")
    assert stub.seen[0].headers["if-match"] == '"a.1"'


def test_without_a_condition_nothing_is_sent_of_one(stub: Stub, cortex: Cortex) -> None:
    stub.replies = [tagged('"a.1"')]
    with cortex:
        cortex.user("ann")
        cortex.update_user("ann", role=Role.ADMIN)
    assert "if-match" not in stub.seen[1].headers


def test_what_was_never_read(stub: Stub, cortex: Cortex) -> None:
    with cortex, pytest.raises(InvalidValue, match="read it first"):
        cortex.update_user("ann", role=Role.ADMIN, if_match=LAST_SEEN)
    assert not stub.seen


def test_a_weak_tag_is_good_for_no_change(stub: Stub, cortex: Cortex) -> None:
    stub.replies = [tagged('W/"a.1"')]
    cortex.user("ann")
    with cortex, pytest.raises(InvalidValue):
        cortex.update_user("ann", role=Role.ADMIN, if_match=LAST_SEEN)


def test_a_change_whose_answer_got_lost_is_not_repeated(stub: Stub, cortex: Cortex) -> None:
    """It may have been made: then the second try would be refused as if others had been faster."""
    stub.replies = [None, tagged('"a.1"')]
    with cortex, pytest.raises(ConnectionFailed, match="may have been carried out"):
        cortex.update_user("ann", role=Role.ADMIN, if_match='"a.1"')
    assert len(stub.seen) == 1


def test_what_was_removed_is_forgotten(stub: Stub, cortex: Cortex) -> None:
    stub.replies = [
        reply(200, json.dumps(SECRET), headers='etag: "a.1"\r\n'),
        reply(204, ""),
    ]
    with cortex:
        cortex.secret("token", "p")
        cortex.delete_secret("token", "p", if_match=LAST_SEEN)
        with pytest.raises(InvalidValue):
            cortex.set_secret("token", "x", "p", if_match=LAST_SEEN)
    assert stub.seen[1].headers["if-match"] == '"a.1"'


def test_as_many_are_kept_as_have_room(
    stub: Stub, cortex: Cortex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 1)
    stub.replies = [tagged('"a.1"')]
    with cortex:
        cortex.user("ann")
        cortex.user("bob")
        cortex.update_user("bob", active=False, if_match=LAST_SEEN)
        with pytest.raises(InvalidValue):
            cortex.update_user("ann", active=False, if_match=LAST_SEEN)
