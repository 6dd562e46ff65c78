"""Root key and data keys: what seals secrets at rest, and personal data by person.

    KEK (file, HSM, key service) ── wraps ──> root key ── wraps ──> data keys ── seal ──> rows
    a file outside (``erasable``) ── seals each person's data key before the root key does

Everything here runs in the caller's transaction. What is remembered in memory is either a pure
function of a row's bytes, or safe to be out of date: a data key that was erased elsewhere a moment
ago still seals, but what it seals can never be opened again.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final, TypeVar

from actfor.errors import Kind, Refused
from actfor.keys import repository
from actfor.keys.envelope import Cipher, Place, new_key
from actfor.keys.erasable import Erasable
from actfor.keys.kek import Kek
from actfor.keys.kek.memory import PROCESS
from actfor.keys.repository import Root, Wrapped
from actfor.keys.service.texts import DataKey, Erased, Texts
from actfor.store import Tx, new_id

INSTALLATION: Final = ""
"""The subject of what concerns no person."""

_MAX_REMEMBERED: Final = 10_000
K = TypeVar("K")
V = TypeVar("V")


class Vault:
    """Seals and opens, for one database. ``before`` is the provider that was used until now.

    Without a provider, what is sealed opens in this process only. ``outside`` seals persons' keys,
    too; without one, an erased person's key opens for whoever has an old copy and the KEK.
    """

    def __init__(
        self, kek: Kek = PROCESS, *, before: Kek | None = None, outside: Erasable | None = None
    ) -> None:
        self._kek = kek
        self._before = before
        self._outside = outside
        self._lock = threading.Lock()  # the sequencer's thread and the readers' share what follows
        # By the wrapped bytes, of which they are a pure function. Roots are few and never dropped
        # for room: unwrapping one asks the KEK, which may be far away, inside a transaction.
        self._roots: dict[bytes, Cipher] = {}
        self._unwrapped: dict[bytes, Cipher] = {}
        self._sealing: dict[str, DataKey] = {}  # by subject: committed, not known to be erased
        self.texts = Texts(self.key_of, self.find)

    @property
    def kek(self) -> Kek:
        """The provider that wraps now."""
        return self._kek

    @staticmethod
    def root_kek(tx: Tx) -> str:
        """The id of the KEK that wraps this database's root key; empty without one."""
        found = repository.root(tx)
        return "" if found is None else found.kek

    def ensure(self, tx: Tx) -> None:
        """A root key there is, this provider unwraps it, and wraps it from now on.

        Raises:
            Refused: CONFLICT if it was wrapped by a key that is not configured, or keys of persons
                need another file outside than there is.
        """
        found = repository.root(tx)
        if found is None:
            self._add_root(tx, 1, new_key())
            return
        raw = self._unwrap_root(found)
        self._require_outside(tx)
        if found.kek != self._kek.id:
            wrapped = self._kek.wrap(raw, _root_context(found.version))
            repository.rewrap_root(tx, found.version, self._kek.id, wrapped)
        self._take_outside(tx)

    def seal(self, tx: Tx, data: bytes, place: Place) -> bytes:
        """Seal a secret of the installation."""
        key = self.key_of(tx, INSTALLATION)
        if isinstance(key, Erased):
            raise Refused(Kind.CONFLICT, "the installation's data key is gone")
        return key.cipher.seal(data, place)

    def open(self, tx: Tx, sealed: bytes, place: Place) -> bytes:
        """Open a secret of the installation.

        Raises:
            Refused: CONFLICT if it was changed, moved or sealed elsewhere.
        """
        found = repository.data_key_of(tx, INSTALLATION)
        if found is None or found.wrapped is None:
            raise Refused(Kind.CONFLICT, "the installation's data key is gone")
        return self._cipher(tx, found).open(sealed, place)

    def key_of(self, tx: Tx, subject: str) -> DataKey | Erased:
        """A subject's data key, made at first use; `Erased` for ever after. Needs a writing tx."""
        known = self._sealing.get(subject)
        if known is not None:
            return known
        found = repository.data_key_of(tx, subject)
        if found is None:
            found = self._add_data_key(tx, subject)
        if found.wrapped is None or self._is_cut(found):
            return Erased(found.id, found.erased_by or 0)
        key = DataKey(found.id, self._cipher(tx, found))
        tx.on_commit(lambda: self._remember(self._sealing, subject, key))
        return key

    def find(self, tx: Tx, key_id: str) -> Cipher | Erased | None:
        """A data key by its id; None if there never was one."""
        found = repository.data_key_by_id(tx, key_id)
        if found is None:
            return None
        if found.wrapped is None or self._is_cut(found):
            return Erased(found.id, found.erased_by or 0)
        return self._cipher(tx, found)

    def erase(self, tx: Tx, subject: str, leaf: int) -> bool:
        """Forget a person's data key, for ever; False if that was done before."""
        if subject == INSTALLATION:
            raise ValueError("the installation is not a person")
        found = repository.data_key_of(tx, subject) or self._add_data_key(tx, subject)
        if not repository.erase_data_key(tx, found.id, leaf):
            return False
        tx.on_commit(lambda: self.forget(subject, found.wrapped))
        return True

    def erased(self, tx: Tx) -> list[tuple[str, int]]:
        """Who was erased, and by which leaf."""
        return repository.erased(tx)

    def destroy(self, tx: Tx) -> int:
        """Cut the keys of all who were erased out of the file outside; how many it still had.

        After the erasure's own transaction, and at each start: a crash may have come between. On
        each node, where each has a copy of the file.
        """
        self.texts.forget()
        return 0 if self._outside is None else self._outside.cut(repository.gone_data_keys(tx))

    def cut_out(self, tx: Tx) -> list[str]:
        """Who was erased after this copy of the database was made, by the file outside."""
        live = repository.outside_data_keys(tx)
        return [who for who, key_id, of in live if not self._file_outside(of).holds(key_id)]

    def forget(self, subject: str, wrapped: bytes | None = None) -> None:
        """Drop what is remembered of a subject's key, so that it is looked up again."""
        self.texts.forget()
        with self._lock:
            self._sealing.pop(subject, None)
            if wrapped is not None:
                self._unwrapped.pop(wrapped, None)

    def rewrap(self, tx: Tx, kek: Kek) -> int:
        """A new root key under ``kek``, all data keys wrapped by it; how many there were.

        Data stays as it is. Nothing that the old root key or the old KEK wrapped is left.
        """
        old = repository.root(tx)
        if old is None:
            raise Refused(Kind.CONFLICT, "there is no root key to rewrap")
        raw, version = new_key(), old.version + 1
        self._add_root(tx, version, raw, kek)
        live = repository.live_data_keys(tx)
        for key in live:
            data = self._unwrap_inner(tx, key)
            wrapped = Cipher(raw).seal(data, _place(key.id, version))
            repository.rewrap_data_key(tx, replace(key, root=version, wrapped=wrapped))
        repository.drop_roots(tx, version)
        tx.on_commit(lambda: self.use(kek))
        return len(live)

    def use(self, kek: Kek) -> None:
        """Wrap with this provider from now on."""
        with self._lock:
            self._kek, self._before = kek, None
            self._unwrapped.clear()

    # -- inside ---------------------------------------------------------------------------------

    def _add_root(self, tx: Tx, version: int, raw: bytes, kek: Kek | None = None) -> None:
        by = kek or self._kek
        new = Root(version, by.id, by.wrap(raw, _root_context(version)))
        self._roots[new.wrapped] = Cipher(raw)
        if not repository.add_root(tx, new):
            raise Refused(Kind.CONFLICT, "another node changed the root key at the same time")

    def _add_data_key(self, tx: Tx, subject: str) -> Wrapped:
        current = repository.root(tx)
        if current is None:
            self.ensure(tx)
            current = repository.root(tx)
            assert current is not None  # noqa: S101 - just made
        new = Wrapped(new_id("dk"), current.version, None, None)
        outside = None if subject == INSTALLATION else self._outside
        new = self._wrapped(new, current, new_key(), outside)
        if not repository.add_data_key(tx, new, subject):
            raise Refused(Kind.CONFLICT, "another node made the data key at the same time")
        return new

    def _cipher(self, tx: Tx, found: Wrapped) -> Cipher:
        assert found.wrapped is not None  # noqa: S101 - callers have looked
        known = self._unwrapped.get(found.wrapped)
        if known is None:
            known = Cipher(self._unwrap_data(tx, found))
            self._remember(self._unwrapped, found.wrapped, known)
        return known

    def _wrapped(self, key: Wrapped, root: Root, data: bytes, outside: Erasable | None) -> Wrapped:
        if outside is not None:
            data = self._cipher_outside(outside.id, key.id).seal(data, _place_outside(key.id))
        sealed = self._root(root).seal(data, _place(key.id, root.version))
        id_ = None if outside is None else outside.id
        return replace(key, root=root.version, wrapped=sealed, outside=id_)

    def _cipher_outside(self, of: str, key_id: str) -> Cipher:
        cipher = self._sealing_outside(of, key_id)
        if cipher is None:
            raise Refused(Kind.CONFLICT, f"the data key `{key_id}` was destroyed")
        return cipher

    def _unwrap_data(self, tx: Tx, found: Wrapped) -> bytes:
        data = self._unwrap_inner(tx, found)
        if found.outside is None:
            return data
        return self._cipher_outside(found.outside, found.id).open(data, _place_outside(found.id))

    def _unwrap_inner(self, tx: Tx, found: Wrapped) -> bytes:
        """What the root key wrapped: the data key, or what the file outside made of it."""
        root = repository.root(tx, found.root)
        if root is None or found.wrapped is None:
            raise Refused(Kind.CONFLICT, f"the root key {found.root} is gone")
        return self._root(root).open(found.wrapped, _place(found.id, found.root))

    def _is_cut(self, found: Wrapped) -> bool:
        of = found.outside
        return of is not None and self._sealing_outside(of, found.id) is None

    def _sealing_outside(self, of: str, key_id: str) -> Cipher | None:
        return self._file_outside(of).cipher(key_id)

    def _file_outside(self, of: str) -> Erasable:
        if self._outside is None or self._outside.id != of:
            raise Refused(
                Kind.CONFLICT,
                f"the keys of persons need the file `erasure.key` with the id `{of}`: copy it"
                " beside the key file of the KEK",
            )
        return self._outside

    def _require_outside(self, tx: Tx) -> None:
        for _, key_id, of in repository.outside_data_keys(tx):
            self._sealing_outside(of, key_id)
            return

    def _take_outside(self, tx: Tx) -> None:
        """Keys of persons that an older release made are sealed by the file outside from now on."""
        root = repository.root(tx)
        if self._outside is None or root is None:
            return
        for key in repository.inside_data_keys(tx):
            data = self._unwrap_data(tx, key)
            repository.rewrap_data_key(tx, self._wrapped(key, root, data, self._outside))

    def _root(self, found: Root) -> Cipher:
        known = self._roots.get(found.wrapped)
        if known is None:
            known = self._roots[found.wrapped] = Cipher(self._unwrap_root(found))
        return known

    def _unwrap_root(self, found: Root) -> bytes:
        context = _root_context(found.version)
        if self._before is not None and found.kek != self._kek.id:
            return self._before.unwrap(found.wrapped, context, found.kek)
        return self._kek.unwrap(found.wrapped, context, found.kek)

    def _remember(self, where: dict[K, V], key: K, value: V) -> None:
        with self._lock:
            if len(where) >= _MAX_REMEMBERED:
                where.clear()
            where[key] = value


def _root_context(version: int) -> bytes:
    return Place("root_key", str(version), "wrapped", version).encode()


def _place(key_id: str, root: int) -> Place:
    return Place("data_key", key_id, "wrapped", root)


def _place_outside(key_id: str) -> Place:
    return Place("data_key", key_id, "outside")
