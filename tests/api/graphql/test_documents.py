"""Operations by their hash, as Apollo's clients send them; and how many are kept."""

import hashlib

import httpx
import pytest

from api.graphql import documents
from api.graphql.documents import Documents, PersistedQueryNotFound
from api.graphql.schema import CORE
from cortex.domain.errors import InvalidRequest
from tests.api.graphql.support import GRAPHQL

QUERY = "{ me { user } }"


def persisted(text: str, **other: object) -> dict[str, object]:
    mark = hashlib.sha256(text.encode()).hexdigest()
    return {"persistedQuery": {"version": 1, "sha256Hash": mark, **other}}


class TestFind:
    def test_by_its_hash_once_it_was_sent(self) -> None:
        store = Documents(CORE)
        with pytest.raises(PersistedQueryNotFound):
            store.find(None, persisted(QUERY))
        text, document = store.find(QUERY, persisted(QUERY))
        assert store.find(None, persisted(QUERY)) == (text, document)
        assert store.find(QUERY, {})[1] is document

    def test_what_was_sent_without_a_hash_is_not_kept(self) -> None:
        store = Documents(CORE)
        store.find(QUERY, {})
        with pytest.raises(PersistedQueryNotFound):
            store.find(None, persisted(QUERY))

    @pytest.mark.parametrize(
        ("text", "extensions"),
        [
            (None, {}),
            (QUERY, persisted("{ me { role } }")),
            (None, {"persistedQuery": 7}),
            (None, {"persistedQuery": {"version": 1}}),
            (None, persisted(QUERY, version=2)),
        ],
    )
    def test_what_is_not_taken(self, text: str | None, extensions: dict[str, object]) -> None:
        with pytest.raises(InvalidRequest):
            Documents(CORE).find(text, extensions)

    def test_what_is_not_valid_is_not_kept(self) -> None:
        store = Documents(CORE)
        wrong = "{ nothing }"
        with pytest.raises(InvalidRequest):
            store.find(wrong, persisted(wrong))
        with pytest.raises(PersistedQueryNotFound):
            store.find(None, persisted(wrong))

    def test_the_store_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(documents, "MOST_TEXTS", 3)
        monkeypatch.setattr(documents, "MOST_PARSED", 2)
        store = Documents(CORE)
        texts = [f"{{ me {{ a{number}: user }} }}" for number in range(4)]
        for text in texts:
            store.find(text, persisted(text))
        with pytest.raises(PersistedQueryNotFound):
            store.find(None, persisted(texts[0]))
        assert store.find(None, persisted(texts[1]))[0] == texts[1]
        assert (len(store._texts), len(store._parsed)) == (3, 2)
        long = f"{{ me {{ user }} }} #{'x' * documents.MOST_BYTES}"
        store.find(long, persisted(long))
        with pytest.raises(PersistedQueryNotFound):
            store.find(None, persisted(long))


async def test_over_http(client: httpx.AsyncClient) -> None:
    unknown = "{ me { user role } }"
    body = {"extensions": persisted(unknown)}
    answer = await client.post(GRAPHQL, json=body)
    assert answer.status_code == 200
    (error,) = answer.json()["errors"]
    assert error["message"] == "PersistedQueryNotFound"
    assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    await client.post(GRAPHQL, json={"query": unknown, **body})
    answer = await client.post(GRAPHQL, json=body)
    assert answer.json() == {"data": {"me": {"user": "local", "role": "ADMIN"}}}
