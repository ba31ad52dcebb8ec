"""Access tokens: what is accepted, what is refused and why; how their keys are replaced."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from activities.secrets import rotate_secrets
from cortex.db.engine import Database
from cortex.domain.errors import ServiceUnavailable
from cortex.domain.ids import new_id
from cortex.domain.login_errors import NotLoggedIn
from cortex.domain.sessions import SessionRules, is_access_token
from cortex.security import tokens
from cortex.security.keyring import KeyRing
from cortex.services.accounts import signing
from cortex.services.accounts.signing import AccessTokens

RING = KeyRing({"k1": os.urandom(32)})
RULES = SessionRules()


def claims(**changed: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    given = {
        "iss": RULES.issuer,
        "aud": RULES.audience,
        "sub": "ann",
        "sid": "ses_0",
        "iat": now,
        "exp": now + 600,
        **changed,
    }
    return {name: value for name, value in given.items() if value is not None}


def part(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def parts(token: str) -> list[dict[str, Any]]:
    pieces = token.split(".")[:2]
    return [json.loads(base64.urlsafe_b64decode(piece + "==")) for piece in pieces]


async def our_key(made: AccessTokens) -> tuple[str, Any]:
    """The key that it signs with."""
    return await made._signing_key()


async def why(made: AccessTokens, token: str) -> str:
    assert is_access_token(token)
    with pytest.raises(NotLoggedIn) as caught:
        await made.read(token)
    return caught.value.detail


class TestRead:
    async def test_what_was_made(self, database: Database) -> None:
        made = AccessTokens(database, RING, RULES)
        token = await made.make("ann", "ses_1")
        read = await made.read(token)
        assert (read.user, read.session) == ("ann", "ses_1")
        assert read.expires_at - read.issued_at == RULES.access_lifetime
        header, content = parts(token)
        assert header == {"alg": "Ed25519", "kid": header["kid"], "typ": "at+jwt"}
        assert set(content) == {"iss", "aud", "sub", "sid", "iat", "exp"}

    async def test_by_another_process(self, database: Database) -> None:
        token = await AccessTokens(database, RING, RULES).make("ann", "ses_1")
        assert (await AccessTokens(database, RING, RULES).read(token)).user == "ann"

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"iss": "other"}, "it is of another issuer"),
            ({"aud": "other"}, "it is for another audience"),
            ({"aud": ["cortex-api"]}, "it is for another audience"),
            ({"iat": 2**33}, "it is of the future"),
            ({"exp": None}, "its content is not what is expected"),
            ({"exp": "soon"}, "its content is not what is expected"),
            ({"exp": 1e300}, "its content is not what is expected"),
            ({"sid": None}, "its content is not what is expected"),
            ({"exp": 1}, "the access token has expired at 1970-01-01T00:00:01"),
        ],
    )
    async def test_claims_that_are_wrong(
        self, database: Database, changed: dict[str, Any], words: str
    ) -> None:
        made = AccessTokens(database, RING, RULES)
        key_id, key = await our_key(made)
        token = tokens.sign(key, key_id, json.dumps(claims(**changed)).encode())
        assert words in await why(made, token)

    async def test_clocks_may_differ_a_little(self, database: Database) -> None:
        made = AccessTokens(database, RING, RULES)
        key_id, key = await our_key(made)
        now = int(datetime.now(UTC).timestamp())
        near = tokens.sign(key, key_id, json.dumps(claims(iat=now + 20)).encode())
        assert (await made.read(near)).user == "ann"
        far = tokens.sign(key, key_id, json.dumps(claims(iat=now + 120)).encode())
        assert "it is of the future" in await why(made, far)

    async def test_one_that_expires_is_not_remembered_as_good(self, database: Database) -> None:
        now = [datetime.now(UTC)]
        made = AccessTokens(database, RING, RULES, clock=lambda: now[0])
        token = await made.make("ann", "ses_1")
        now[0] += RULES.access_lifetime - timedelta(seconds=2)
        assert (await made.read(token)).user == "ann"
        now[0] += timedelta(seconds=2)
        assert "has expired at" in await why(made, token)


class TestForged:
    async def test_signed_with_another_key(self, database: Database) -> None:
        made = AccessTokens(database, RING, RULES)
        key_id, _ = await our_key(made)
        content = json.dumps(claims()).encode()
        token = tokens.sign(tokens.new_key(key_id), key_id, content)
        assert "its signature is wrong" in await why(made, token)
        for unknown in (new_id("sig"), "../../etc/passwd", ""):
            token = tokens.sign(tokens.new_key("x"), unknown, content)
            assert "the key that signed it is not known" in await why(made, token)

    async def test_not_signed_at_all(self, database: Database) -> None:
        made = AccessTokens(database, RING, RULES)
        key_id, _ = await our_key(made)
        for algorithm in ("none", "None", "NONE"):
            header = {"alg": algorithm, "kid": key_id, "typ": "at+jwt"}
            token = f"{part(header)}.{part(claims())}."
            assert f"it is signed with `{algorithm}`" in await why(made, token)

    async def test_signed_with_the_public_key_as_a_secret(self, database: Database) -> None:
        made = AccessTokens(database, RING, RULES)
        key_id, _ = await our_key(made)
        (public,) = await made.published()
        secrets = [json.dumps(public).encode(), base64.urlsafe_b64decode(public["x"] + "==")]
        for secret in secrets:
            signed = f"{part({'alg': 'HS256', 'kid': key_id, 'typ': 'at+jwt'})}.{part(claims())}"
            token = f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
            assert "it is signed with `HS256`" in await why(made, token)

    async def test_the_key_comes_with_the_token(self, database: Database) -> None:
        made = AccessTokens(database, RING, RULES)
        key_id, _ = await our_key(made)
        own = tokens.new_key(key_id)
        signature = tokens.sign(own, key_id, json.dumps(claims()).encode()).split(".")
        header = {"alg": "Ed25519", "kid": key_id, "typ": "at+jwt", "jwk": tokens.public_parts(own)}
        token = f"{part(header)}.{signature[1]}.{signature[2]}"
        assert "its signature is wrong" in await why(made, token)

    async def test_changed_after_it_was_signed(self, database: Database) -> None:
        made = AccessTokens(database, RING, RULES)
        header, _, signature = (await made.make("ann", "ses_1")).split(".")
        token = f"{header}.{part(claims(sub='root'))}.{signature}"
        assert "its signature is wrong" in await why(made, token)

    async def test_a_token_for_something_else(self, database: Database) -> None:
        made = AccessTokens(database, RING, RULES)
        key_id, _ = await our_key(made)
        for header in (
            {"alg": "Ed25519", "kid": key_id, "typ": "JWT"},
            {"alg": "Ed25519", "typ": "at+jwt"},
            {"alg": "Ed25519", "kid": 7, "typ": "at+jwt"},
        ):
            assert "it is a token for something else" in await why(made, f"{part(header)}.e30.x")

    @pytest.mark.parametrize("token", ["a.b.c", "e30.e30.e30", "eyJ.x.", f"{'A' * 500}.e30.x"])
    async def test_garbage(self, database: Database, token: str) -> None:
        made = AccessTokens(database, RING, RULES)
        assert "the access token is not valid" in await why(made, token)

    def test_what_has_not_even_the_form(self) -> None:
        for text_ in ("", "a", "a.b", "a.b.c.d", "a.b.c\n", "a b.c.d", f"{'A' * 3000}.b.c"):
            assert not is_access_token(text_)


class TestKeys:
    async def test_the_whole_key_is_sealed_for_its_row(self, database: Database) -> None:
        made = AccessTokens(database, RING, RULES)
        await made.make("ann", "ses_1")
        (published,) = await made.published()
        assert set(published) == {"kty", "crv", "x", "kid", "use", "alg"}
        async with database.reading() as tx:
            sealed = (await tx.connection.execute(text("SELECT sealed FROM signing_keys"))).scalar()
        assert RING.decrypt(bytes(sealed or b""), f"signing:{published['kid']}")["d"]

    async def test_several_processes_make_one(self, database: Database) -> None:
        made = [AccessTokens(database, RING, RULES) for _ in range(5)]
        given = await asyncio.gather(*(each.make("ann", "ses_1") for each in made))
        assert len({parts(token)[0]["kid"] for token in given}) == 1

    async def test_an_old_one_is_replaced_and_its_tokens_stay_good(
        self, database: Database
    ) -> None:
        before = await AccessTokens(database, RING, RULES).make("ann", "ses_1")
        await _age(database, "created_at", timedelta(days=31))
        later = AccessTokens(database, RING, RULES)
        after = await later.make("ann", "ses_1")
        assert parts(before)[0]["kid"] != parts(after)[0]["kid"]
        assert len(await later.published()) == 2
        assert (await later.read(before)).user == "ann"
        # An hour and the life of a token later it is not published, and opens nothing.
        await _age(database, "retired_at", timedelta(hours=1, minutes=11))
        newest = AccessTokens(database, RING, RULES)
        assert [key["kid"] for key in await newest.published()] == [parts(after)[0]["kid"]]
        assert "is not known" in await why(newest, before)

    async def test_a_process_follows_another_that_replaced_it(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(signing, "_SIGNS_FOR", 0.0)
        monkeypatch.setattr(signing, "_ASKS_EVERY", 0.0)
        one, other = (AccessTokens(database, RING, RULES) for _ in range(2))
        await one.make("ann", "ses_1")
        await _age(database, "created_at", timedelta(days=31))
        newer = await other.make("ann", "ses_1")
        assert (await one.read(newer)).user == "ann"
        assert parts(await one.make("ann", "ses_1"))[0]["kid"] == parts(newer)[0]["kid"]

    async def test_one_that_is_deleted_opens_nothing_any_more(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(signing, "_KNOWN_FOR", 0.0)
        made = AccessTokens(database, RING, RULES)
        token = await made.make("ann", "ses_1")
        assert (await made.read(token)).user == "ann"
        async with database.statement() as tx:
            await tx.connection.execute(text("DELETE FROM signing_keys"))
        assert "is not known" in await why(made, token)

    async def test_rotation_of_the_key_ring(self, database: Database) -> None:
        old, new = os.urandom(32), os.urandom(32)
        token = await AccessTokens(database, KeyRing({"k1": old}), RULES).make("ann", "ses_1")
        assert await rotate_secrets(database, KeyRing({"k2": new, "k1": old})) == 1
        alone = AccessTokens(database, KeyRing({"k2": new}), RULES)
        assert parts(await alone.make("ann", "ses_1"))[0]["kid"] == parts(token)[0]["kid"]

    async def test_one_that_cannot_be_opened_is_replaced(self, database: Database) -> None:
        token = await AccessTokens(database, RING, RULES).make("ann", "ses_1")
        other = AccessTokens(database, KeyRing({"k9": os.urandom(32)}), RULES)
        assert parts(await other.make("ann", "ses_1"))[0]["kid"] != parts(token)[0]["kid"]
        assert (await other.read(token)).user == "ann"

    async def test_without_a_key_ring_there_is_none(self, database: Database) -> None:
        with pytest.raises(ServiceUnavailable, match="signing keys of logins cannot be stored"):
            await AccessTokens(database, KeyRing({}), RULES).make("ann", "ses_1")


async def _age(database: Database, column: str, by: timedelta) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(
            text(f"UPDATE signing_keys SET {column} = {column} - CAST(:by AS interval)"), {"by": by}
        )
