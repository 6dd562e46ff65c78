from pathlib import Path

import pytest

from actfor.errors import Kind, Refused
from actfor.server.settings import Settings, is_loopback, load

STRONG = "kP3v9Qe7Lw2Rz8Xt6Yb1Nc4Md5Fg0Hj-"


def refused(**given: object) -> str:
    with pytest.raises(Refused) as caught:
        load(**given)
    assert caught.value.kind is Kind.MALFORMED
    return caught.value.detail


def test_dev_needs_nothing_but_a_folder(tmp_path: Path) -> None:
    settings = load(data=tmp_path)
    assert (settings.host, settings.public_url) == ("127.0.0.1", "http://localhost:8700")
    assert settings.database_url == f"sqlite:///{tmp_path}/actfor.db"
    assert settings.rp_id == settings.domain == "localhost"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "iam.example.com", ""])  # noqa: S104
def test_dev_listens_on_loopback_only(tmp_path: Path, host: str) -> None:
    assert "`dev` listens only there" in refused(data=tmp_path, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_addresses_are_loopback(tmp_path: Path, host: str) -> None:
    assert is_loopback(host)
    assert load(data=tmp_path, host=host).host == host


def test_serve_needs_an_issuer(tmp_path: Path) -> None:
    assert "issuer" in refused(data=tmp_path, mode="serve")


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        ("http://iam.example.com", "must be https"),
        ("ftp://iam.example.com", "not an http(s) origin"),
        ("https://iam.example.com/path", "without a path"),
        ("iam.example.com", "not an http(s) origin"),
    ],
)
def test_a_public_issuer_is_an_https_origin(tmp_path: Path, issuer: str, why: str) -> None:
    detail = refused(data=tmp_path, mode="serve", issuer=issuer)
    assert "issuer" in detail
    assert why in detail


@pytest.mark.parametrize(
    "secret",
    [
        "changeme",
        "change-me-change-me-change-me-change-me",
        "a" * 64,
        "short-kP3v9Qe7L",
        "my-secret-0123456789-abcdefghijkl",
        "",
    ],
)
def test_a_weak_or_placeholder_secret_is_named(tmp_path: Path, secret: str) -> None:
    detail = refused(data=tmp_path, seal_secret=secret)
    assert "seal_secret" in detail
    assert secret not in detail or not secret


def test_a_strong_secret_is_taken_and_never_shown(tmp_path: Path) -> None:
    settings = load(data=tmp_path, seal_secret=STRONG)
    assert STRONG not in repr(settings)


def test_unknown_settings_are_refused(tmp_path: Path) -> None:
    assert "allow_everything" in refused(data=tmp_path, allow_everything=True)


def test_the_file_in_the_data_folder_counts_less_than_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "actfor.toml").write_text('port = 9001\nlog_level = "debug"\nhold_seconds = 5\n')
    monkeypatch.setenv("ACTFOR_HOLD_SECONDS", "7")
    settings = load(data=tmp_path, port=9002)
    assert (settings.port, settings.log_level, settings.hold_seconds) == (9002, "debug", 7)


@pytest.mark.parametrize("hold", [-1, 46])
def test_a_call_is_never_held_longer_than_45_seconds(tmp_path: Path, hold: int) -> None:
    assert "hold_seconds" in refused(data=tmp_path, hold_seconds=hold)


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings: Settings = load(data=tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.mode = "serve"


def test_details_of_the_log_are_kept_for_six_months_unless_somebody_says_otherwise(
    tmp_path: Path,
) -> None:
    assert load(mode="dev", data=tmp_path).payload_days == 0
    for days in (1, 30, 183):
        with pytest.raises(Refused, match="payload_days"):
            load(mode="dev", data=tmp_path, payload_days=days)
        assert load(mode="dev", data=tmp_path, payload_days=days, short_retention=True)
    assert load(mode="dev", data=tmp_path, payload_days=184).payload_days == 184


def test_who_may_say_whose_data_it_is_is_named_by_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(data=tmp_path).authzen_provenance == ()
    account = "usr_" + "a2" * 13
    monkeypatch.setenv("ACTFOR_AUTHZEN_PROVENANCE", f'["{account}"]')
    assert load(data=tmp_path).authzen_provenance == (account,)
    monkeypatch.setenv("ACTFOR_AUTHZEN_PROVENANCE", '["crm-backend"]')
    assert "`usr_…`" in refused(data=tmp_path)


@pytest.mark.parametrize(
    ("text", "domains"),
    [
        ("certification", ("certification",)),
        ("certification, /srv/my domain", ("certification", "/srv/my domain")),
        ('["certification"]', ("certification",)),
        ("", ()),
    ],
)
def test_a_list_in_the_environment_is_names_with_commas_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, domains: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ACTFOR_AUTHZEN_DOMAINS", text)
    assert load(data=tmp_path).authzen_domains == domains


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ACTFOR_AUTHZEN_DOMAINS", '["certif', "neither names with commas"),
        ("ACTFOR_EXPORT", "x", "export"),
        ("ACTFOR_POLICY_FOUR_EYE", "true", "is `ACTFOR_POLICY_FOUR_EYES` meant?"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    assert says in refused(data=tmp_path)


def test_a_variable_of_somebody_elses_is_let_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTFOR_SOCKET", "/run/agent.sock")  # the SDK's
    assert load(data=tmp_path)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "actfor.toml").write_text("port = [")
    assert "`actfor.toml` is no TOML" in refused(data=tmp_path)
