"""An AES key inside an HSM (PKCS#11 v2.40), by its RFC 7512 URI. Needs ``actfor[pkcs11]``.

    pkcs11:token=actfor;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/pin

The key is made there and never leaves it: ``CKA_SENSITIVE``, not ``CKA_EXTRACTABLE``. Where no
key of that name exists one is made.
"""

from __future__ import annotations

import os
import threading
from types import ModuleType
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote

from actfor.errors import Kind, Refused
from actfor.keys.kek import secret_from

_NONCE_BYTES: Final = 12


class Pkcs11Kek:
    """One AES-256 key of one token. Calls are serialised: a session is not for two threads."""

    def __init__(self, library: ModuleType, session: Any, key: Any, name: str) -> None:
        self._library, self._session, self._key = library, session, key
        self._id = name
        self._lock = threading.Lock()

    @classmethod
    def open(cls, uri: str) -> Self:
        """Log in to the token and find, or make, the key.

        Raises:
            Refused: MALFORMED, naming the part of the URI; NOT_FOUND without the library.
        """
        path, _, query = uri.partition("?")
        parts = {n: unquote(v) for n, _, v in (p.partition("=") for p in path.split(";"))}
        module = parse_qs(query).get("module-path", [""])[0]
        for name, value in (("token", parts.get("token")), ("object", parts.get("object"))):
            if not value:
                raise Refused(Kind.MALFORMED, f"setting `kek`: the pkcs11 URI names no `{name}`")
        if not module:
            raise Refused(Kind.MALFORMED, "setting `kek`: the pkcs11 URI has no `module-path`")
        library = _library()
        try:
            token = library.lib(module).get_token(token_label=parts["token"])
            session = _session(library, token, secret_from(query, "pin-source"))
            key = _find(library, session, parts["object"])
        except library.PKCS11Error as error:
            raise _failed(error) from error
        return cls(library, session, key, f"pkcs11-{parts['token']}-{parts['object']}")

    @property
    def id(self) -> str:
        """Token and object."""
        return self._id

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See ``Kek``."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._run("encrypt", key, nonce, context)

    def unwrap(self, wrapped: bytes, context: bytes, kek_id: str) -> bytes:
        """See ``Kek``."""
        if kek_id != self._id:
            raise Refused(Kind.CONFLICT, f"the keys were wrapped by `{kek_id}`, not `{self._id}`")
        nonce, body = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        return self._run("decrypt", body, nonce, context)

    def close(self) -> None:
        """Log out."""
        with self._lock:
            self._session.close()

    def _run(self, method: str, data: bytes, nonce: bytes, context: bytes) -> bytes:
        with self._lock:
            try:
                done: bytes = getattr(self._key, method)(
                    data,
                    mechanism=self._library.Mechanism.AES_GCM,
                    mechanism_param=self._library.GCMParams(nonce, context, 128),
                )
            except (self._library.EncryptedDataInvalid, self._library.GeneralError) as error:
                if method == "encrypt":
                    raise _failed(error) from error
                detail = "the root key does not unwrap: it was changed, or wrapped elsewhere"
                raise Refused(Kind.CONFLICT, detail) from error
            except self._library.PKCS11Error as error:
                raise _failed(error) from error
        return done


def _session(library: ModuleType, token: Any, pin: str) -> Any:
    try:
        return token.open(user_pin=pin, rw=True)
    except library.UserAlreadyLoggedIn:
        # PKCS#11 §5.6.8: a process is logged in to a token, not a session.
        return token.open(rw=True)


def _find(library: ModuleType, session: Any, label: str) -> Any:
    wanted = {
        library.Attribute.CLASS: library.ObjectClass.SECRET_KEY,
        library.Attribute.LABEL: label,
    }
    for key in session.get_objects(wanted):
        return key
    return session.generate_key(
        library.KeyType.AES,
        256,
        label=label,
        store=True,
        template={
            library.Attribute.SENSITIVE: True,
            library.Attribute.EXTRACTABLE: False,
        },
    )


def _library() -> ModuleType:
    try:
        import pkcs11
    except ImportError as cause:
        raise Refused(
            Kind.NOT_FOUND, "setting `kek`: pkcs11 needs: pip install 'actfor[pkcs11]'"
        ) from cause
    found: ModuleType = pkcs11
    return found


def _failed(error: Exception) -> Refused:
    # The library's errors name themselves only by their class, which says nothing secret.
    return Refused(Kind.BUSY, f"the PKCS#11 token refused: {type(error).__name__}")
