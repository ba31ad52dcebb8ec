"""Which server, and as whom: what is given, the environment, profiles, logins."""

from pathlib import Path

import pytest

from cortex.client import Cortex, NotConfigured
from cortex.client.connection import resolve
from cortex.client.logins import LoginStore, StoredLogin
from cortex.client.profiles import Profile, ProfileStore

CORP, LAB, PLAIN = "https://corp.test", "https://lab.test", "https://plain.test"


def key(url: str, text: str, profile: str = "") -> StoredLogin:
    return StoredLogin(url=url, profile=profile, user="ann", logged_in_at=1, api_key=text)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two profiles, the second in use, each with a login; and a login of no profile."""
    folder = tmp_path / "home"
    profiles, logins = ProfileStore(folder), LoginStore(folder)
    profiles.keep(Profile(name="corp", url=CORP, project="team"))
    profiles.keep(Profile(name="lab", url=LAB))
    profiles.use("lab")
    for login in (key(CORP, "of-corp", "corp"), key(LAB, "of-lab", "lab"), key(PLAIN, "plain")):
        logins.keep(login)
    return folder


class TestPrecedence:
    @pytest.mark.parametrize(
        ("url", "profile", "env", "expected"),
        [
            (None, None, {}, (LAB, "of-lab", "profile")),
            (None, None, {"CORTEX_PROFILE": "corp"}, (CORP, "of-corp", "profile")),
            (
                None,
                None,
                {"CORTEX_PROFILE": "corp", "CORTEX_URL": PLAIN},
                (PLAIN, "plain", "environment"),
            ),
            (None, "corp", {"CORTEX_URL": PLAIN}, (CORP, "of-corp", "profile")),
            (None, "corp", {"CORTEX_PROFILE": "lab"}, (CORP, "of-corp", "profile")),
            (PLAIN, None, {"CORTEX_PROFILE": "corp"}, (PLAIN, "plain", "argument")),
            (None, None, {"CORTEX_API_KEY": "env"}, (LAB, "env", "profile")),
        ],
        ids=[
            "in use",
            "CORTEX_PROFILE",
            "CORTEX_URL before CORTEX_PROFILE",
            "given before CORTEX_URL",
            "given before CORTEX_PROFILE",
            "a URL before all",
            "a key of the environment",
        ],
    )
    def test_what_counts(
        self,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        url: str | None,
        profile: str | None,
        env: dict[str, str],
        expected: tuple[str, str, str],
    ) -> None:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        found = resolve(url, None, home, profile)
        assert (found.url, found.api_key, found.source) == expected

    def test_without_any_it_is_the_last_login(self, home: Path) -> None:
        """Of no profile: that of a profile goes with its name only."""
        ProfileStore(home).use(None)
        assert resolve(data_dir=home).url == PLAIN

    def test_a_url_and_a_profile(self, home: Path) -> None:
        with pytest.raises(NotConfigured, match="either a URL or a profile"):
            resolve(PLAIN, None, home, "corp")

    def test_one_that_is_not_there(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CORTEX_PROFILE", "none")
        with pytest.raises(NotConfigured, match="there is no profile `none`"):
            resolve(data_dir=home)


class TestLogins:
    def test_a_login_goes_to_its_own_profile_and_server(self, home: Path) -> None:
        assert resolve(CORP, data_dir=home).api_key is None
        ProfileStore(home).keep(Profile(name="other", url=CORP))
        assert resolve(data_dir=home, profile="other").api_key is None

    def test_one_of_no_profile_is_shared(self, home: Path) -> None:
        """Whoever logged in before there were profiles stays so."""
        ProfileStore(home).keep(Profile(name="old", url=PLAIN))
        assert resolve(data_dir=home, profile="old").api_key == "plain"

    def test_a_file_from_before_there_were_profiles_is_read(self, home: Path) -> None:
        path = LoginStore(home)._path(PLAIN, "")
        path.write_text(f'{{"url": "{PLAIN}", "user": "ann", "logged_in_at": 1, "api_key": "old"}}')
        assert resolve(PLAIN, data_dir=home).api_key == "old"


def test_the_project(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def project(given: str | None = None) -> str | None:
        with Cortex(data_dir=home, profile="corp", project=given) as cortex:
            return cortex._project

    assert project() == "team"
    monkeypatch.setenv("CORTEX_PROJECT", "env")
    assert project() == "env"
    assert project("given") == "given"
