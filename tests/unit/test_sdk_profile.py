"""The command line's login: a file for one pair of eyes."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from actfor.cli.profile import Profile, forget_profile, load_profile, profile_path, save_profile
from actfor.errors import Kind, Refused
from actfor.wire.jose import SigningKey


def profile(**more: object) -> Profile:
    given = {
        "server": "http://localhost:8700",
        "issuer": "http://localhost:8700",
        "access_token": "secret-token",
        "key": SigningKey.generate(),
        "expires_at": datetime.now(UTC).replace(microsecond=0) + timedelta(hours=8),
        "attest_socket": "/data/attest.sock",
        **more,
    }
    return Profile(**given)  # type: ignore[arg-type] # a test's shorthand


def test_a_profile_is_saved_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "config" / "actfor" / "profile.json"
    saved = profile()
    save_profile(saved, path)
    save_profile(saved, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["profile.json"]
    loaded = load_profile(path)
    assert loaded.key.kid == saved.key.kid
    assert (loaded.access_token, loaded.expires_at) == (saved.access_token, saved.expires_at)
    assert "secret-token" not in repr(loaded)
    forget_profile(path)
    forget_profile(path)
    with pytest.raises(Refused) as refused:
        load_profile(path)
    assert refused.value.kind is Kind.UNAUTHENTICATED


def test_a_profile_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    save_profile(profile(), path)
    path.chmod(0o640)
    with pytest.raises(Refused, match="chmod 600"):
        load_profile(path)


@pytest.mark.parametrize(
    "change",
    [{"server": 7}, {"key": None}, {"key": {}}, {"expires_at": "soon"}, {"attest_socket": 1}],
)
def test_a_damaged_profile_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "profile.json"
    save_profile(profile(), path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(Refused) as refused:
        load_profile(path)
    assert refused.value.kind is Kind.MALFORMED
    path.write_text("{")
    with pytest.raises(Refused):
        load_profile(path)


def test_an_expired_login_says_what_to_do() -> None:
    profile().require_live()
    with pytest.raises(Refused, match="actfor login"):
        profile(expires_at=datetime.now(UTC)).require_live()


def test_the_path_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert profile_path() == Path("/somewhere/actfor/profile.json")
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", "/home/ada")
    assert profile_path() == Path("/home/ada/.config/actfor/profile.json")
