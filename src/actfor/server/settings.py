"""Every setting, where it may come from, and what we refuse to start with.

Order: command line, environment (``ACTFOR_*``), ``actfor.toml`` in the data folder,
defaults. Nothing needs to be set; there is no default secret to forget to change.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from actfor.audit.export import Destination
from actfor.errors import Kind, Refused

_ACCOUNT = re.compile(r"usr_[a-z2-7]{26}")
_PREFIX = "ACTFOR_"
_NEAR = 0.9
"""How alike two names are of which one is taken for a slip of the other: a letter or two."""
PLACEHOLDER = re.compile(
    r"change.?me|secret|password|default|example|placeholder|test|admin|todo|xxx|1234|qwerty|letmein",
    re.IGNORECASE,
)


class ExportSetting(BaseModel):
    """One ``[[export]]`` table of the configuration: see ``audit.export.Destination``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    format: str
    to: str
    token_file: Path | None = None
    private: bool = False
    from_start: bool = True

    @model_validator(mode="after")
    def _valid(self) -> Self:
        try:
            self.destination()
        except Refused as refused:
            raise ValueError(refused.detail) from None
        return self

    def destination(self) -> Destination:
        """The destination that these words mean."""
        return Destination.parse(**self.model_dump())


MIN_PAYLOAD_DAYS = 184
"""Six months, the longest."""


class Settings(BaseSettings):
    """The server's settings. Build it with ``load``; a wrong one is a ``Refused`` that names it."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True)

    mode: Literal["dev", "serve"] = "dev"
    data: Path = Field(description="folder of the database, the keys and the sockets")
    database: str = Field(
        "",
        repr=False,  # it may hold a password
        description="database URL, sqlite or postgresql; default: sqlite in the data folder",
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8700, ge=1, le=65535, description="port to listen on")
    issuer: str = Field("", description="public URL of this server, as clients see it")
    trust_domain: str = Field("", description="SPIFFE trust domain; default: the issuer's host")
    hold_seconds: float = Field(
        20, ge=0, le=45, description="how long a call may wait for a human before it is answered"
    )
    approval_seconds: int = Field(600, ge=30, le=86_400, description="life of an approval request")
    authzen_record: bool = Field(
        True, description="write answers to foreign enforcement points into the log"
    )
    policy_four_eyes: bool = Field(
        False, description="a policy change needs a second administrator's passkey"
    )
    authzen_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="what else AuthZEN answers about: `certification`, or folders of domains",
    )
    authzen_provenance: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="enforcement points (ids of their accounts) that may say whose a value is",
    )
    seal_secret: SecretStr | None = Field(
        None, description="seals MCP request states; default: a generated key file"
    )
    kek: str = Field("file", description="what wraps the keys: file[:/path], pkcs11:… or transit:…")
    kek_before: str = Field(
        "", description="what wrapped them until now, where `kek` was changed; for one start"
    )
    key_days: int = Field(30, ge=2, le=366, description="days after which a signing key rotates")
    log_retention_days: int = Field(
        183, ge=183, le=36_525, description="days for which no entry of the log may be pruned"
    )
    log_post_quantum: bool = Field(
        False, description="sign checkpoints of the log with ML-DSA-44, too"
    )
    witness_policy: Path | None = Field(
        None,
        description="file (C2SP tlog-policy) with the witnesses to ask, and the quorum of them",
    )
    witness_seconds: float = Field(
        2.0, ge=0.1, le=3600, description="how often witnesses are asked for cosignatures"
    )
    proposer_url: str = Field(
        "", description="base URL of a model that may propose mandates (OpenAI-compatible); off"
    )
    proposer_model: str = Field("", description="the proposer's model, as its interface names it")
    proposer_token_file: Path | None = Field(
        None, description="file with the proposer's bearer token"
    )
    payload_days: int = Field(
        0, ge=0, description="days after which what opens the log's commitments goes; 0: never"
    )
    short_retention: bool = Field(
        False, description="allow payload_days below six months; know the law that allows it"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    export: tuple[ExportSetting, ...] = Field(
        (), description="where the log is sent on to; only here, never by the API"
    )

    @field_validator("authzen_domains", "authzen_provenance", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """The environment has texts: names with commas between them, or a JSON list."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            try:
                return json.loads(value)
            except ValueError:
                raise ValueError("is neither names with commas between them nor JSON") from None
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @field_validator("authzen_provenance")
    @classmethod
    def _accounts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not _ACCOUNT.fullmatch(one) for one in value):
            raise ValueError("names enforcement points by the ids of their accounts, `usr_…`")
        return value

    @field_validator("seal_secret")
    @classmethod
    def _strong(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return value
        text = value.get_secret_value()
        if PLACEHOLDER.search(text):
            raise ValueError("is a placeholder; remove it to have one generated")
        if len(text) < 32 or len(set(text)) < 12:
            raise ValueError("is too weak: at least 32 characters, 12 of them different")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode == "dev" and not is_loopback(self.host):
            raise ValueError(
                f"host: `{self.host}` is not a loopback address; `dev` listens only there"
            )
        if self.mode == "serve" and not self.issuer:
            raise ValueError("issuer: `serve` needs the public URL of this server")
        if bool(self.proposer_url) != bool(self.proposer_model):
            raise ValueError("proposer_model: a proposer has a `proposer_url` and a model")
        if 0 < self.payload_days < MIN_PAYLOAD_DAYS and not self.short_retention:
            # Regulation (EU) 2024/1689 Art. 26(6): logs are kept for at least six months.
            raise ValueError(
                f"payload_days: below {MIN_PAYLOAD_DAYS} the log's details are kept for less than"
                " six months; set short_retention if you may"
            )
        parts = urlsplit(self.public_url)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or parts.path not in {"", "/"}
        ):
            raise ValueError(f"issuer: `{self.issuer}` is not an http(s) origin without a path")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError(f"issuer: `{self.issuer}` must be https, because it is not loopback")
        return self

    @property
    def public_url(self) -> str:
        """The issuer, without a trailing slash. Passkeys need a name, so ``dev`` says localhost."""
        return self.issuer.rstrip("/") or f"http://localhost:{self.port}"

    @property
    def rp_id(self) -> str:
        """WebAuthn relying party id: the issuer's host."""
        return urlsplit(self.public_url).hostname or "localhost"

    @property
    def domain(self) -> str:
        """The SPIFFE trust domain."""
        return self.trust_domain or self.rp_id

    @property
    def database_url(self) -> str:
        """The database to open."""
        return self.database or f"sqlite:///{self.data / 'actfor.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, environment, then ``actfor.toml`` of the data folder."""
        data = init_settings().get("data") or env_settings().get("data")
        toml = Path(str(data)) / "actfor.toml" if data else Path("actfor.toml")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml)


def load(**given: Any) -> Settings:
    """Settings from all sources; ``None`` values count as not given.

    Raises:
        Refused: MALFORMED, naming each wrong setting and why.
    """
    _refuse_misspelt(os.environ)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        reasons = (_reason(item) for item in error.errors(include_input=False, include_url=False))
        raise Refused(Kind.MALFORMED, "; ".join(reasons)) from None
    except SettingsError as error:  # a list of tables in the environment that is no JSON
        raise Refused(Kind.MALFORMED, f"{error} (`ACTFOR_…`)") from None
    except tomllib.TOMLDecodeError as error:
        raise Refused(Kind.MALFORMED, f"`actfor.toml` is no TOML: {error}") from None


def _refuse_misspelt(environment: Iterable[str]) -> None:
    """A variable that is nearly a setting's is one that somebody relies on, and has no effect."""
    known = {f"{_PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name.upper() in known:
            continue
        if meant := difflib.get_close_matches(name, known, n=1, cutoff=_NEAR):
            raise Refused(Kind.MALFORMED, f"`{name}` is no setting: is `{meant[0]}` meant?")


def _reason(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"setting `{where}`: {message}" if where else f"setting {message}"


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
