"""API keys as texts, names of users, scopes."""

import pytest

from cortex.domain.accounts import NewKey, check_user_name, is_key, key_hash, scopes_of
from cortex.domain.rights import Action


class TestKeys:
    def test_each_is_another_and_shows_its_prefix_only(self) -> None:
        keys = [NewKey.make() for _ in range(100)]
        assert len({key.text for key in keys}) == len({key.prefix for key in keys}) == 100
        assert all(is_key(key.text) and len(key_hash(key.text)) == 64 for key in keys)
        assert keys[0].prefix in repr(keys[0])
        assert keys[0].text[13:] not in repr(keys[0])

    def test_what_was_mistyped_is_none(self) -> None:
        text = NewKey.make().text
        for place in (4, 20, 40, 60):
            other = "x" if text[place] != "x" else "y"
            assert not is_key(text[:place] + other + text[place + 1 :])
        for wrong in ("", "ctx_", text[:-1], f"{text}0", f"{text}\n", text.upper()):
            assert not is_key(wrong)


class TestScopes:
    def test_what_they_allow(self) -> None:
        assert scopes_of(()) is None
        assert scopes_of(("jobs:read",)) == frozenset({Action.JOBS_READ})
        of_jobs = frozenset(action for action in Action if action.startswith("jobs."))
        assert scopes_of(("jobs:*",)) == of_jobs
        reads = frozenset(action for action in Action if action.endswith(".read"))
        assert scopes_of(("read",)) == reads
        assert scopes_of(("read", "jobs:submit")) == reads | {Action.JOBS_SUBMIT}

    @pytest.mark.parametrize("word", ["", "jobs", "jobs:fly", "*", "*:*", "jobs.read", "Read"])
    def test_what_is_none_is_told_with_those_there_are(self, word: str) -> None:
        with pytest.raises(ValueError, match=r"is no scope; there are `read`, .*`jobs:submit`"):
            scopes_of((word,))


@pytest.mark.parametrize("name", ["", "Ann", "1st", "ann@home", "a b", "a" * 64, "-a", "ann\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="must be 1 to 63 lower-case"):
        check_user_name(name)
