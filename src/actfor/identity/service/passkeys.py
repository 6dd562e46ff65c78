"""WebAuthn ceremonies through the `webauthn` library, with its options set the strict way.

User verification is always required (the library's default is not to). Counter and backup flags
are compared with what was stored. Attestation is not asked for: which authenticator a person
chooses is not checked.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import webauthn
from cryptography.exceptions import UnsupportedAlgorithm
from webauthn.helpers import base64url_to_bytes, options_to_json_dict
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from actfor.errors import Kind, Refused
from actfor.identity.model import CEREMONY_LIFETIME, Assertion, Passkey, Person
from actfor.identity.model.people import require_backup_unchanged, require_counting_up
from actfor.wire.base64_text import base64url
from actfor.wire.canonical import JsonObject

# What the library's parsers raise on input that is not what it should be, beside their own type.
_BROKEN = (
    WebAuthnException,
    UnsupportedAlgorithm,
    binascii.Error,
    struct.error,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
_TIMEOUT_MS = int(CEREMONY_LIFETIME.total_seconds() * 1000)
_TRANSPORTS = {transport.value for transport in AuthenticatorTransport}


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Who we are to an authenticator: the domain, and the origins pages may come from."""

    id: str
    origins: tuple[str, ...]

    def creation_options(
        self, person_id: str, name: str, challenge: bytes, known: Sequence[Passkey]
    ) -> JsonObject:
        """``PublicKeyCredentialCreationOptionsJSON`` for a new passkey of this person."""
        options = webauthn.generate_registration_options(
            rp_id=self.id,
            rp_name="actfor",
            user_name=name,
            user_id=person_id.encode(),
            challenge=challenge,
            timeout=_TIMEOUT_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_descriptors(known),
        )
        return cast("JsonObject", options_to_json_dict(options))

    def request_options(self, challenge: bytes, known: Sequence[Passkey] = ()) -> JsonObject:
        """``PublicKeyCredentialRequestOptionsJSON``; without ``known`` any discoverable passkey."""
        options = webauthn.generate_authentication_options(
            rp_id=self.id,
            challenge=challenge,
            timeout=_TIMEOUT_MS,
            allow_credentials=_descriptors(known),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return cast("JsonObject", options_to_json_dict(options))

    def verify_creation(
        self, person_id: str, challenge: bytes, response: JsonObject, now: datetime
    ) -> Passkey:
        """The passkey that ``navigator.credentials.create()`` made for this challenge.

        Raises:
            Refused: UNAUTHENTICATED, whatever is wrong with it.
        """
        try:
            made = webauthn.verify_registration_response(
                credential=_mutable(response),
                expected_challenge=challenge,
                expected_rp_id=self.id,
                expected_origin=list(self.origins),
                require_user_verification=True,
            )
        except _BROKEN as cause:
            raise Refused(Kind.UNAUTHENTICATED, "the new passkey could not be verified") from cause
        return Passkey(
            credential_id=made.credential_id,
            person_id=person_id,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            backup_eligible=made.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
            backed_up=made.credential_backed_up,
            aaguid=made.aaguid,
            transports=_transports(response),
            created_at=now,
        )

    def verify_assertion(
        self, person: Person, passkey: Passkey, challenge: bytes, response: JsonObject
    ) -> Assertion:
        """The signature that ``navigator.credentials.get()`` made over this challenge.

        NOT checked: that the challenge is used once; whoever made it sees to that.

        Raises:
            Refused: UNAUTHENTICATED when it is not by this passkey, for this site and challenge,
                with the user verified; REPLAYED when the counter went back.
        """
        _require_same_user(person, response)
        try:
            made = webauthn.verify_authentication_response(
                credential=_mutable(response),
                expected_challenge=challenge,
                expected_rp_id=self.id,
                expected_origin=list(self.origins),
                credential_public_key=passkey.public_key,
                credential_current_sign_count=0,  # compared below, where a refusal can say why
                require_user_verification=True,
            )
        except _BROKEN as cause:
            raise Refused(Kind.UNAUTHENTICATED, "the passkey could not be verified") from cause
        if made.credential_id != passkey.credential_id:
            raise Refused(Kind.UNAUTHENTICATED, "the passkey could not be verified")
        eligible = made.credential_device_type is CredentialDeviceType.MULTI_DEVICE
        require_backup_unchanged(passkey, eligible=eligible, backed_up=made.credential_backed_up)
        require_counting_up(passkey, made.new_sign_count)
        return Assertion(
            person.id,
            passkey.credential_id,
            made.new_sign_count,
            made.credential_backed_up,
            _evidence(passkey, response),
        )


def credential_id(response: JsonObject) -> bytes:
    """Which passkey a response claims to be from; unverified.

    Raises:
        Refused: MALFORMED when it does not say.
    """
    claimed = response.get("id")
    if not isinstance(claimed, str) or not 0 < len(claimed) <= 1400:
        raise Refused(Kind.MALFORMED, "the passkey response has no `id`")
    try:
        return base64url_to_bytes(claimed)
    except (ValueError, binascii.Error) as cause:
        raise Refused(Kind.MALFORMED, "the passkey response's `id` is not base64url") from cause


def _require_same_user(person: Person, response: JsonObject) -> None:
    # WebAuthn §7.2 step 6: the user handle, where given, names the owner of the credential.
    inner = response.get("response")
    handle = inner.get("userHandle") if isinstance(inner, Mapping) else None
    if handle is not None and handle != base64url(person.id.encode()):
        raise Refused(Kind.UNAUTHENTICATED, "the passkey belongs to someone else")


def _evidence(passkey: Passkey, response: JsonObject) -> JsonObject:
    inner = cast("Mapping[str, str]", response["response"])
    return {
        "credential_id": base64url(passkey.credential_id),
        "public_key": base64url(passkey.public_key),
        "authenticator_data": inner["authenticatorData"],
        "client_data_json": inner["clientDataJSON"],
        "signature": inner["signature"],
    }


def _descriptors(known: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=key.credential_id,
            transports=[AuthenticatorTransport(name) for name in key.transports] or None,
        )
        for key in known
    ]


def _transports(response: JsonObject) -> tuple[str, ...]:
    inner = response.get("response")
    stated = inner.get("transports") if isinstance(inner, Mapping) else None
    if not isinstance(stated, Sequence):
        return ()
    return tuple(sorted({name for name in stated if isinstance(name, str)} & _TRANSPORTS))


def _mutable(response: JsonObject) -> dict[str, Any]:  # Any: the library's own parameter type
    return dict(response)
