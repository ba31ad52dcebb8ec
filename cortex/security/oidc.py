"""OpenID Connect as its relying party: discovery, the code flow with PKCE, and checked ID tokens.

Loaded with the first login by another service: Authlib and joserfc are large. Authlib asks for
`httpx2`, the continuation of httpx, and takes httpx where that is missing, as here.
"""

import asyncio
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import orjson
from authlib.deprecate import AuthlibDeprecationWarning
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cortex.domain.sso import OidcProvider, is_safe_url

warnings.filterwarnings(
    "ignore", message="The httpx module is deprecated", category=AuthlibDeprecationWarning
)
_authlib: Any = import_module("authlib.integrations.httpx_client")
_http: Any = import_module("httpx2" if find_spec("httpx2") else "httpx")

_KEPT: Final = 3600.0
_ASKS_EVERY: Final = 10.0
"""Seconds after which a key that is not known makes us ask for the keys again."""
_OLDEST: Final = 600.0
"""Seconds that a token which comes straight from the service may be old."""
_RESTS: Final = 5.0
"""Seconds that a service which did not answer is not asked again: many may be waiting for it."""
_LARGEST: Final = 2**20
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Refused(Exception):
    """The service, or what it sent, does not let somebody in; says why in plain words."""


class Away(Exception):
    """The service does not answer as one of its kind does; says what is wrong."""


@dataclass(frozen=True)
class Exchange:
    """What one login keeps between being sent away and coming back.

    Attributes:
        verifier: Of PKCE: only whoever has it can use the code.
    """

    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True)
class _Known:
    """What a service says about itself, or its keys, and until when that is taken for true."""

    until: float
    asked_at: float
    value: Any


class OidcClient:
    """One service; keeps for an hour what it says about itself, and its keys."""

    def __init__(self, provider: OidcProvider) -> None:
        self._provider = provider
        self._about: _Known | None = None
        self._keys: _Known | None = None
        self._away: tuple[float, str] = (0.0, "")
        self._asking = asyncio.Lock()

    async def login_url(self, exchange: Exchange) -> str:
        """Where to send a browser.

        Raises:
            Away: the service cannot be asked, or says what must not be.
        """
        about = await self._metadata()
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                about["authorization_endpoint"],
                state=exchange.state,
                nonce=exchange.nonce,
                code_verifier=exchange.verifier,
                redirect_uri=exchange.redirect_uri,
            )
        return str(url)

    async def claims(
        self, exchange: Exchange, *, code: str, issuer: str | None
    ) -> Mapping[str, Any]:
        """What the service says of whoever came back with a code.

        Args:
            exchange: As it was begun.
            code: What came back.
            issuer: Who says to have sent it (RFC 9207), if somebody does.

        Raises:
            Refused: the code or the token is not good; says why.
            Away: the service cannot be asked.
        """
        about = await self._metadata()
        wanted = about.get("authorization_response_iss_parameter_supported") is True
        if issuer is None and wanted:
            raise Refused("the answer does not say which service it comes from")
        if issuer is not None and issuer != self._provider.issuer:
            raise Refused("the answer comes from another service than was asked")
        token = await self._token(about, exchange, code)
        id_token = token.get("id_token")
        if not isinstance(id_token, str):
            raise Refused("the service sent no ID token")
        claims = await self.checked(id_token, nonce=exchange.nonce)
        return await self._completed(about, claims, token.get("access_token"))

    async def checked(self, id_token: str, *, nonce: str) -> dict[str, Any]:
        """The claims of an ID token, all that must be checked being so.

        Raises:
            Refused: it is not good; says why.
            Away: the keys cannot be asked for.
        """
        header = _header(id_token)
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._provider.algorithms:
            raise Refused(
                f"the ID token is signed with `{str(algorithm)[:20]}`, which is not taken"
            )
        keys = await self._fitting(algorithm, key_id)
        for key in keys:
            try:
                content = jws.deserialize_compact(
                    id_token.encode(), key, algorithms=[algorithm]
                ).payload
                break
            except (JoseError, ValueError):
                continue
        else:
            known = "its signature is wrong" if keys else "the key that signed it is not known"
            raise Refused(f"the ID token is not valid: {known}")
        return _good(content, self._provider, nonce=nonce, now=time.time())

    async def _fitting(self, algorithm: str, key_id: Any) -> list[Any]:
        """The keys that may have signed; asked for anew, once, where none does."""
        fitting = _fitting(await self._key_set(), algorithm, key_id)
        if not fitting:
            fitting = _fitting(await self._key_set(anew=True), algorithm, key_id)
        return fitting

    async def _completed(
        self, about: Mapping[str, Any], claims: dict[str, Any], access_token: Any
    ) -> dict[str, Any]:
        """With the claims that the token does not have; what it says itself stands."""
        address = about.get("userinfo_endpoint")
        if not self._provider.userinfo or not isinstance(address, str) or not access_token:
            return claims
        self._require_safe("userinfo_endpoint", address)
        more = await self._json(address, {"authorization": f"Bearer {access_token}"})
        if more.get("sub") != claims["sub"]:
            raise Refused("what the service says beside the token is about somebody else")
        return {**more, **claims}

    async def _token(
        self, about: Mapping[str, Any], exchange: Exchange, code: str
    ) -> Mapping[str, Any]:
        try:
            async with (
                asyncio.timeout(self._provider.timeout.total_seconds()),
                self._client(about) as client,
            ):
                token: Any = await client.fetch_token(
                    about["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=exchange.verifier,
                    redirect_uri=exchange.redirect_uri,
                )
        except _authlib.OAuthError as error:
            raise Refused(f"the service did not take the code: {_words(error.error)}") from None
        except (_http.HTTPError, TimeoutError, ValueError) as error:
            raise Away(
                f"its token endpoint does not answer well ({type(error).__name__})"
            ) from None
        if not isinstance(token, Mapping):
            raise Away("its token endpoint does not answer with JSON")
        return token

    async def _metadata(self) -> Mapping[str, Any]:
        async with self._asking:
            known, now = self._about, asyncio.get_running_loop().time()
            if known is None or now >= known.until:
                address = f"{self._provider.issuer.rstrip('/')}/.well-known/openid-configuration"
                about = await self._json(address)
                if about.get("issuer") != self._provider.issuer:
                    raise Away(
                        "it says that its issuer is "
                        f"`{_words(about.get('issuer'))}`, not what the settings say"
                    )
                for name in _ENDPOINTS:
                    self._require_safe(name, about.get(name))
                self._about = known = _Known(now + _KEPT, now, about)
            about = known.value
            return dict(about)

    async def _key_set(self, *, anew: bool = False) -> list[Any]:
        about = await self._metadata()
        async with self._asking:
            known, now = self._keys, asyncio.get_running_loop().time()
            stale = known is None or now >= known.until
            if known is None or stale or (anew and now - known.asked_at >= _ASKS_EVERY):
                keys = _read_keys(await self._json(about["jwks_uri"]))
                self._keys = known = _Known(now + _KEPT, now, keys)
            read: list[Any] = known.value
            return read

    def _require_safe(self, name: str, address: Any) -> None:
        if not isinstance(address, str) or not is_safe_url(address):
            raise Away(f"its `{name}` is no address with HTTPS")

    async def _json(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """An object from there, of bounded size, unless it did not answer just now."""
        loop = asyncio.get_running_loop()
        until, words = self._away
        if loop.time() < until:
            raise Away(words)
        try:
            return await self._asked(url, headers or {})
        except Away as error:
            self._away = (loop.time() + _RESTS, str(error))
            raise

    async def _asked(self, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        content, seconds = bytearray(), self._provider.timeout.total_seconds()
        try:
            async with (
                asyncio.timeout(seconds),
                _http.AsyncClient(timeout=seconds) as client,
                client.stream("GET", url, headers=dict(headers)) as answer,
            ):
                if answer.status_code != 200:
                    raise Away(f"`{url[:200]}` answers with status {answer.status_code}")
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > _LARGEST:
                        raise Away(f"`{url[:200]}` answers with more than 1 MiB")
            read = orjson.loads(bytes(content))
        except (_http.HTTPError, TimeoutError) as error:
            raise Away(f"`{url[:200]}` cannot be reached ({type(error).__name__})") from None
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise Away(f"`{url[:200]}` does not answer with JSON")
        return read

    def _client(self, about: Mapping[str, Any] | None = None) -> Any:
        secret = self._provider.client_secret
        ways = (about or {}).get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        way = "client_secret_basic" if "client_secret_basic" in ways else "client_secret_post"
        return _authlib.AsyncOAuth2Client(
            client_id=self._provider.client_id,
            client_secret=secret.get_secret_value() if secret else None,
            token_endpoint_auth_method=way if secret else "none",
            scope=" ".join(self._provider.scopes),
            code_challenge_method="S256",
            timeout=self._provider.timeout.total_seconds(),
        )


def _header(id_token: str) -> Mapping[str, Any]:
    try:
        header: Mapping[str, Any] = jws.extract_compact(id_token.encode()).headers()
    except (JoseError, ValueError):
        raise Refused("the ID token cannot be read") from None
    return header


def _read_keys(content: Mapping[str, Any]) -> list[Any]:
    """The public keys that can be read; one of a kind that is not known is left out."""
    read = []
    keys = content.get("keys")
    for parts in keys if isinstance(keys, list) else []:
        try:
            read.extend(KeySet.import_key_set({"keys": [parts]}).keys)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return read


_KINDS: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


def _fitting(keys: list[Any], algorithm: str, key_id: Any) -> list[Any]:
    """Those of the kind that the algorithm needs, with this id; without an id all of the kind."""
    return [
        key
        for key in keys
        if key.key_type == _KINDS[algorithm[:2]]
        and key.get("use") in (None, "sig")
        and key.get("alg") in (None, algorithm)
        and (key_id is None or key.get("kid") == key_id)
    ]


def _good(content: bytes, provider: OidcProvider, *, nonce: str, now: float) -> dict[str, Any]:
    """The claims, checked as OpenID Connect Core 3.1.3.7 asks."""
    try:
        claims = orjson.loads(content)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise Refused("the ID token has no claims")
    leeway = provider.leeway.total_seconds()
    wrong = _wrong_party(claims, provider) or _wrong_time(claims, now, leeway)
    if wrong is None and claims.get("nonce") != nonce:
        wrong = "it was made for another login"
    subject = claims.get("sub")
    if wrong is None and not (isinstance(subject, str) and 0 < len(subject) <= 255):
        wrong = "it does not say whom it is about"
    if wrong is None and "\0" in content.decode(errors="replace").replace("\\u0000", "\0"):
        wrong = "it has a NUL character"
    if wrong is not None:
        raise Refused(f"the ID token is not valid: {wrong}")
    return claims


def _wrong_party(claims: Mapping[str, Any], provider: OidcProvider) -> str | None:
    if claims.get("iss") != provider.issuer:
        return "it is of another issuer"
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or provider.client_id not in audiences:
        return "it is for another audience"
    party = claims.get("azp")
    if (len(audiences) > 1 or party is not None) and party != provider.client_id:
        return "it was made for another party"
    return None


def _wrong_time(claims: Mapping[str, Any], now: float, leeway: float) -> str | None:
    expires, issued = claims.get("exp"), claims.get("iat")
    numbers = [
        each
        for each in (expires, issued, claims.get("nbf", 0))
        if isinstance(each, int | float) and not isinstance(each, bool)
    ]
    if len(numbers) < 3:
        return "it does not say from when to when it is good"
    expires_at, issued_at, not_before = numbers
    if expires_at <= now - leeway:
        return "it has expired"
    if issued_at > now + leeway or not_before > now + leeway:
        return "it is of the future; the clocks of the two servers differ"
    if issued_at < now - _OLDEST - leeway:
        return "it was made too long ago"
    return None


def _words(text: Any) -> str:
    """What a stranger wrote, for a message."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:200])
