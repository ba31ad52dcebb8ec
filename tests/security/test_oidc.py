"""ID tokens: what is good of them, and all that is not."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import OctKey

from cortex.domain.sso import OidcProvider
from cortex.security.oidc import Away, Exchange, OidcClient, Refused
from tests.support.issuer import CLIENT, Issuer, issuing, new_key

NONCE = "n"
Make = Callable[[Issuer], str]


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
def issuer(running: Issuer) -> Issuer:
    running.reset()
    return running


def client_of(issuer: Issuer, **values: Any) -> OidcClient:
    return OidcClient(OidcProvider(issuer=issuer.url, client_id=CLIENT, **values))


def saying(**claims: Any) -> Make:
    """Claims over the good ones; a time as how long it is from now."""

    def make(issuer: Issuer) -> str:
        now = datetime.now(UTC)
        issuer.claims = {
            name: int((now + value).timestamp()) if isinstance(value, timedelta) else value
            for name, value in claims.items()
        }
        return issuer.sign(issuer.usual())

    return make


def unsigned(issuer: Issuer) -> str:
    header, content = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none"}, issuer.usual())
    )
    return f"{header}.{content}."


def by_public_key(issuer: Issuer) -> str:
    """HMAC with what everybody knows, for whoever takes the key for a secret."""
    public = OctKey.import_key(json.dumps(issuer.key.as_dict(private=False)))
    return issuer.sign(issuer.usual(), key=public, algorithm="HS256", kid="one")


def by_another_key(issuer: Issuer) -> str:
    return issuer.sign(issuer.usual(), key=new_key())


def by_an_unknown_key(issuer: Issuer) -> str:
    return issuer.sign(issuer.usual(), key=new_key("two"))


def changed_after(issuer: Issuer) -> str:
    header, _, signature = issuer.sign(issuer.usual()).split(".")
    content = json.dumps({**issuer.usual(), "sub": "eve"}).encode()
    return f"{header}.{base64.urlsafe_b64encode(content).decode().rstrip('=')}.{signature}"


class TestChecked:
    async def test_a_good_one(self, issuer: Issuer) -> None:
        token = issuer.sign(issuer.usual())
        claims = await client_of(issuer).checked(token, nonce=NONCE)
        assert claims["sub"] == "248289761001"

    @pytest.mark.parametrize(
        ("make", "why"),
        [
            pytest.param(unsigned, "signed with `none`", id="none"),
            pytest.param(by_public_key, "signed with `HS256`", id="public key as secret"),
            pytest.param(by_another_key, "its signature is wrong", id="wrong key"),
            pytest.param(by_an_unknown_key, "the key that signed it is not known", id="unknown"),
            pytest.param(changed_after, "its signature is wrong", id="changed"),
            pytest.param(lambda _: "a.b", "cannot be read", id="no token"),
            pytest.param(saying(iss="https://other.test"), "of another issuer", id="iss"),
            pytest.param(saying(iss=None), "of another issuer", id="no iss"),
            pytest.param(saying(aud="other"), "for another audience", id="aud"),
            pytest.param(saying(aud=None), "for another audience", id="no aud"),
            pytest.param(saying(aud=[CLIENT, "b"]), "for another party", id="aud without azp"),
            pytest.param(saying(azp="other"), "for another party", id="azp"),
            pytest.param(saying(exp=timedelta(seconds=-90)), "it has expired", id="exp"),
            pytest.param(saying(exp=None), "from when to when", id="no exp"),
            pytest.param(saying(exp="soon"), "from when to when", id="exp of words"),
            pytest.param(
                saying(iat=timedelta(seconds=90)), "of the future", id="iat of the future"
            ),
            pytest.param(saying(nbf=timedelta(seconds=90)), "of the future", id="nbf"),
            pytest.param(saying(iat=timedelta(seconds=-900)), "too long ago", id="old iat"),
            pytest.param(saying(iat=None), "from when to when", id="no iat"),
            pytest.param(saying(nonce="m"), "for another login", id="nonce"),
            pytest.param(saying(nonce=None), "for another login", id="no nonce"),
            pytest.param(saying(sub=""), "whom it is about", id="sub"),
            pytest.param(saying(sub=None), "whom it is about", id="no sub"),
            pytest.param(saying(name="a\0b"), "a NUL character", id="NUL"),
        ],
    )
    async def test_a_bad_one(self, issuer: Issuer, make: Make, why: str) -> None:
        with pytest.raises(Refused, match=why):
            await client_of(issuer).checked(make(issuer), nonce=NONCE)

    @pytest.mark.parametrize(
        "claims",
        [
            {"aud": [CLIENT, "b"], "azp": CLIENT},
            {"exp": timedelta(seconds=-30)},
            {"iat": timedelta(seconds=30), "nbf": timedelta(seconds=30)},
        ],
        ids=["several audiences", "a clock before ours", "a clock behind ours"],
    )
    async def test_what_is_still_good(self, issuer: Issuer, claims: dict[str, Any]) -> None:
        await client_of(issuer).checked(saying(**claims)(issuer), nonce=NONCE)

    async def test_only_the_algorithms_of_the_settings(self, issuer: Issuer) -> None:
        client = client_of(issuer, algorithms=("RS256",), leeway=timedelta(0))
        with pytest.raises(Refused, match="signed with `ES256`"):
            await client.checked(issuer.sign(issuer.usual()), nonce=NONCE)


class TestKeys:
    async def test_a_new_key_is_asked_for(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = client_of(issuer)
        await client.checked(issuer.sign(issuer.usual()), nonce=NONCE)
        new = new_key("two")
        issuer.published.append(new)
        token = issuer.sign(issuer.usual(), key=new)
        with pytest.raises(Refused):  # they were asked for just now
            await client.checked(token, nonce=NONCE)
        assert issuer.asked == 1
        monkeypatch.setattr("cortex.security.oidc._ASKS_EVERY", 0.0)
        await client.checked(token, nonce=NONCE)
        await client.checked(token, nonce=NONCE)
        assert issuer.asked == 2

    async def test_an_unknown_one_is_asked_for_once(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cortex.security.oidc._ASKS_EVERY", 0.0)
        client = client_of(issuer)
        with pytest.raises(Refused, match="not known"):
            await client.checked(by_an_unknown_key(issuer), nonce=NONCE)
        assert issuer.asked == 2

    async def test_a_token_without_key_id(self, issuer: Issuer) -> None:
        issuer.published = [new_key("other"), issuer.key]
        token = issuer.sign(issuer.usual(), kid=None)
        await client_of(issuer).checked(token, nonce=NONCE)


class TestService:
    @pytest.mark.parametrize(
        ("about", "why"),
        [
            ({"issuer": "https://other.test"}, "its issuer is `https://other.test`"),
            ({"token_endpoint": "http://inside.test/token"}, "`token_endpoint` is no address"),
            ({"jwks_uri": None}, "`jwks_uri` is no address"),
        ],
        ids=["issuer", "plain HTTP", "no keys"],
    )
    async def test_what_it_must_not_say(
        self, issuer: Issuer, about: dict[str, Any], why: str
    ) -> None:
        issuer.about = about
        exchange = Exchange("state", NONCE, "v" * 43, "http://127.0.0.1/callback")
        with pytest.raises(Away, match=why):
            await client_of(issuer).login_url(exchange)

    async def test_it_is_away(self) -> None:
        provider = OidcProvider(issuer="http://127.0.0.1:1", client_id=CLIENT)
        exchange = Exchange("state", NONCE, "v" * 43, "http://127.0.0.1/callback")
        with pytest.raises(Away, match="cannot be reached"):
            await OidcClient(provider).login_url(exchange)

    async def test_it_rests_when_it_did_not_answer(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else all who want to log in wait for it, one after another."""
        exchange = Exchange("state", NONCE, "v" * 43, "http://127.0.0.1/callback")
        client = client_of(issuer)
        issuer.status = 500
        with pytest.raises(Away, match="status 500"):
            await client.login_url(exchange)
        issuer.status = 200
        with pytest.raises(Away, match="status 500"):
            await client.login_url(exchange)
        monkeypatch.setattr(client, "_away", (0.0, ""))
        assert (await client.login_url(exchange)).startswith(issuer.url)

    async def test_one_that_hangs(self, issuer: Issuer) -> None:
        issuer.hangs = True
        exchange = Exchange("state", NONCE, "v" * 43, "http://127.0.0.1/callback")
        client = client_of(issuer, timeout=timedelta(milliseconds=100))
        with pytest.raises(Away, match="cannot be reached"):
            await client.login_url(exchange)
        issuer.released.set()
