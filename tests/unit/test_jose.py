"""Signed JWTs, from the side of who forges them."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from actfor.errors import Kind, Refused
from actfor.wire import jose
from actfor.wire.base64_text import base64url, unbase64url
from actfor.wire.jose import SigningKey, VerifyKey

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ISSUER, AUDIENCE = "https://iam.example.com", "https://gw.example.com/mcp/crm"
KEY = SigningKey.generate()
KEYS = jose.key_map([KEY.public])
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "usr_1",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 300,
}


def verify(token: str, **changes: Any) -> Any:
    asked = {"typ": "at+jwt", "keys": KEYS, "issuer": ISSUER, "audience": AUDIENCE, "now": NOW}
    return jose.verify(token, **{**asked, **changes})


def signed(typ: str = "at+jwt", key: SigningKey = KEY, **changes: Any) -> str:
    return jose.sign({**CLAIMS, **changes}, typ=typ, key=key)


def b64(data: bytes | str) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_token(header: str, payload: str, key: SigningKey = KEY) -> str:
    """A token with exactly these JSON texts, truly signed with ES256."""
    from joserfc import jws

    algorithm = jws.JWSRegistry.algorithms["ES256"]
    body = f"{b64(header)}.{b64(payload)}"
    return f"{body}.{b64(algorithm.sign(body.encode(), ECKey.import_key(key.to_pem())))}"


def header(**changes: Any) -> str:
    whole = {"typ": "at+jwt", "alg": "ES256", "kid": KEY.kid, **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not ...})


def test_what_was_signed_is_what_is_read() -> None:
    assert verify(signed()) == CLAIMS
    assert verify(raw_token(header(), json.dumps(CLAIMS))) == CLAIMS


def test_a_key_survives_its_pem_and_names_itself_by_its_thumbprint() -> None:
    again = SigningKey.from_pem(KEY.to_pem())
    assert again.kid == KEY.kid
    assert verify(signed(key=again)) == CLAIMS
    required = json.dumps(KEY.public.jwk, sort_keys=True, separators=(",", ":"))
    assert KEY.kid == b64(hashlib.sha256(required.encode()).digest())
    assert "PRIVATE" not in repr(KEY)
    assert "d" not in KEY.public.published


def test_rfc_7638_thumbprint_of_a_known_key() -> None:
    # The P-256 key of RFC 7517 appendix A.1.
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    }
    assert VerifyKey.from_jwk(jwk).kid == "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"


# -- algorithm, key and header games (RFC 8725) ------------------------------------------------


def _hs256(secret: bytes, kid: str | None = None) -> str:
    body = f"{b64(header(alg='HS256', kid=kid or KEY.kid))}.{b64(json.dumps(CLAIMS))}"
    return f"{body}.{b64(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"


def _public(encoding: Encoding) -> bytes:
    public = ECKey.import_key(KEY.to_pem()).public_key
    return public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def forgeries() -> dict[str, str]:
    mallory = SigningKey.generate()
    body = json.dumps(CLAIMS)
    attacks: dict[str, str] = {
        f"alg {alg!r}": f"{b64(header(alg=alg))}.{b64(body)}."
        for alg in ("none", "None", "nOnE", "NONE", "", "ES256 ", "es256")
    }
    attacks |= {
        f"signed but alg {alg!r}": raw_token(header(alg=alg), body)
        for alg in ("none", "ES384", "HS256", "RS256", "EdDSA", "ES256K", None, ["ES256"], 7)
    }
    attacks |= {
        "hmac with the public PEM": _hs256(_public(Encoding.PEM)),
        "hmac with the public DER": _hs256(_public(Encoding.DER)),
        "hmac with the public JWK": _hs256(json.dumps(KEY.public.jwk).encode()),
        "hmac with nothing": _hs256(b""),
    }
    brought = {
        "jwk": mallory.public.jwk,
        "jku": "http://127.0.0.1:9/jwks.json",
        "x5u": "http://127.0.0.1:9/cert.pem",
        "x5c": ["MIIB"],
        "crit": ["exp"],
        "b64": False,
        "zip": "DEF",
        "cty": "JWT",
        "url": "x",
    }
    for name, value in brought.items():
        attacks[f"header {name}"] = raw_token(header(**{name: value}), body)
        attacks[f"own key, header {name}"] = raw_token(header(**{name: value}), body, mallory)
    for kid in ("../../x", "' OR 1=1 --", "", None, ..., 7, ["a"], "x" * 900):
        attacks[f"kid {str(kid)[:12]!r}"] = raw_token(header(kid=kid), body, mallory)
    attacks["its own key's kid"] = raw_token(header(kid=mallory.kid), body, mallory)
    attacks["another key under our kid"] = raw_token(header(), body, mallory)
    for typ in ("JWT", "dpop+jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "", None, ...):
        attacks[f"typ {typ!r}"] = raw_token(header(typ=typ), body)
    return attacks


FORGED = forgeries()


@pytest.mark.parametrize("name", FORGED)
def test_a_forgery_is_refused(name: str) -> None:
    with pytest.raises(Refused) as caught:
        verify(FORGED[name])
    assert caught.value.kind in {Kind.UNAUTHENTICATED, Kind.MALFORMED}


def test_a_megabyte_of_token_is_refused_at_once() -> None:
    huge = raw_token(header(kid="x" * 1_000_000), json.dumps(CLAIMS))
    deep = b64('{"act":' * 10_000 + "1" + "}" * 10_000)
    began = time.perf_counter()
    for token in (huge, f"{b64(header())}.{deep}.{'A' * 86}", "." * 1_000_000):
        with pytest.raises(Refused) as caught:
            verify(token)
        assert caught.value.kind is Kind.MALFORMED
    assert time.perf_counter() - began < 0.05


@pytest.mark.parametrize(
    "payload",
    [
        '{"sub":"a","sub":"admin"}',
        '{"exp":1e400}',
        '{"exp":NaN}',
        '{"exp":9007199254740993}',
        '{"sub":"\\ud800"}',
        '["a"]',
        '"text"',
        "null",
        "",
        '{"act":' * 40 + "1" + "}" * 40,
    ],
)
def test_an_ambiguous_payload_is_refused_though_it_is_signed(payload: str) -> None:
    with pytest.raises(Refused) as caught:
        verify(raw_token(header(), payload))
    assert caught.value.kind is Kind.MALFORMED


def test_an_ambiguous_header_is_refused_though_it_is_signed() -> None:
    twice = '{"typ":"at+jwt","alg":"none","alg":"ES256","kid":"%s"}' % KEY.kid
    with pytest.raises(Refused, match="duplicate member"):
        verify(raw_token(twice, json.dumps(CLAIMS)))


# -- shape -------------------------------------------------------------------------------------


@given(at=st.integers(0, 2000), bit=st.integers(0, 6))
def test_any_flipped_bit_is_refused(at: int, bit: int) -> None:
    token = TOKEN
    at %= len(token)
    changed = chr(ord(token[at]) ^ (1 << bit))
    with pytest.raises(Refused):
        verify(token[:at] + changed + token[at + 1 :])


TOKEN = signed()


def test_no_prefix_and_no_suffix_of_a_token_is_one() -> None:
    for end in range(len(TOKEN)):
        with pytest.raises(Refused):
            verify(TOKEN[:end])
    for tail in ("=", ".", " ", "\n", "A", ".A"):
        with pytest.raises(Refused):
            verify(TOKEN + tail)


def test_other_spellings_of_the_same_bytes_are_refused() -> None:
    # 64 bytes leave four unused bits in the last character of their base64url.
    last = TOKEN[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    sibling = alphabet[alphabet.index(last) ^ 1]
    for other in (TOKEN[:-1] + sibling, TOKEN + "==", TOKEN.replace(".", "=.", 1)):
        with pytest.raises(Refused):
            verify(other)


# -- claims ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"iss": "https://other"}, Kind.UNAUTHENTICATED),
        ({"iss": ISSUER + "/"}, Kind.UNAUTHENTICATED),
        ({"iss": None}, Kind.UNAUTHENTICATED),
        ({"aud": "https://gw.example.com/mcp/bank"}, Kind.UNAUTHENTICATED),
        ({"aud": [AUDIENCE, "https://other"]}, Kind.UNAUTHENTICATED),
        ({"aud": []}, Kind.UNAUTHENTICATED),
        ({"aud": AUDIENCE + "/"}, Kind.UNAUTHENTICATED),
        ({"aud": AUDIENCE.upper()}, Kind.UNAUTHENTICATED),
        ({"aud": None}, Kind.UNAUTHENTICATED),
        ({"exp": int(NOW.timestamp())}, Kind.EXPIRED),
        ({"exp": None}, Kind.UNAUTHENTICATED),
        ({"exp": True}, Kind.UNAUTHENTICATED),
        ({"exp": "9999999999"}, Kind.UNAUTHENTICATED),
        ({"exp": CLAIMS["exp"] + 0.5}, Kind.UNAUTHENTICATED),
        ({"exp": 2**52}, Kind.UNAUTHENTICATED),
        ({"nbf": int(NOW.timestamp()) + 1}, Kind.UNAUTHENTICATED),
        ({"iat": int(NOW.timestamp()) + 1}, Kind.UNAUTHENTICATED),
    ],
)
def test_wrong_claims_are_refused(change: dict[str, Any], kind: Kind) -> None:
    with pytest.raises(Refused) as caught:
        verify(signed(**change))
    assert caught.value.kind is kind


def test_one_audience_in_a_list_is_that_audience() -> None:
    assert verify(signed(aud=[AUDIENCE]))["sub"] == "usr_1"


def test_leeway_is_only_what_was_asked_for() -> None:
    token = signed(exp=int(NOW.timestamp()) - 4)
    assert verify(token, leeway=timedelta(seconds=5))
    with pytest.raises(Refused):
        verify(token, leeway=timedelta(seconds=4))


# -- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "RSA"},
        {"crv": "P-384"},
        {"crv": None},
        {"x": ""},
        {"x": "AA"},
        {"x": b64(b"\x01" * 32)},
        {"y": None},
        {"x": KEY.public.x + "="},
        {"d": "AAAA"},
        {"y": b64(b"\x00" * 31 + b"\x01") + "A"},
    ],
)
def test_a_key_that_is_not_a_plain_public_p256_key_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        VerifyKey.from_jwk({**KEY.public.jwk, **change})
    assert caught.value.kind is Kind.MALFORMED


@pytest.mark.parametrize("value", [None, [], "key", 7])
def test_what_is_no_jwk_is_refused(value: object) -> None:
    with pytest.raises(Refused):
        VerifyKey.from_jwk(value)


def test_only_p256_private_keys_sign() -> None:
    for key in (ECKey.generate_key("P-384"), ECKey.import_key(KEY.public.jwk)):
        with pytest.raises(Refused):
            SigningKey(key)
    for pem in (b"", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(Refused):
            SigningKey.from_pem(pem)


@given(st.binary(max_size=80))
def test_base64url_has_one_spelling(data: bytes) -> None:
    assert base64url(data) == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert unbase64url(base64url(data)) == data


@pytest.mark.parametrize("text", ["A", "AB==", "A+==", "A/", "AB", "ÄÖ", " ", "AAA A"])
def test_other_spellings_of_base64url_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        unbase64url(text)
