"""SQL of device logins: approved by one conditional write, redeemed by another."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, insert, select, update

from actfor.delegation.model import DeviceLogin, DeviceState
from actfor.delegation.repository.tables import device as _table
from actfor.store import Row, Tx
from actfor.wire.timestamps import from_ms, to_ms

_t = _table.c
_COLUMNS = (
    _t.code_hash, _t.user_code, _t.state, _t.expires_at, _t.polled_at, _t.person_id,
    _t.person_epoch, _t.jkt,
)  # fmt: skip
_ADD = insert(_table).values({column.name: bindparam(column.name) for column in _table.columns})
_BY_CODE = select(*_COLUMNS).where(_t.code_hash == bindparam("code"))
_BY_USER_CODE = select(*_COLUMNS).where(_t.user_code == bindparam("code"))
_ANSWER = (
    update(_table)
    .where(
        _t.user_code == bindparam("of"),
        _t.state == DeviceState.PENDING.value,
        _t.expires_at > bindparam("now"),
    )
    .values(state=bindparam("to"), person_id=bindparam("person"), person_epoch=bindparam("epoch"))
)
_POLLED = update(_table).where(_t.code_hash == bindparam("of")).values(polled_at=bindparam("now"))
_REDEEM = (
    update(_table)
    .where(_t.code_hash == bindparam("of"), _t.state == DeviceState.APPROVED.value)
    .values(state=DeviceState.REDEEMED.value)
)


def add(tx: Tx, login: DeviceLogin) -> None:
    """Record a login that waits."""
    tx.changed(
        _ADD,
        code_hash=login.code_hash,
        user_code=login.user_code,
        state=login.state.value,
        jkt=login.jkt,
        person_id=None,
        person_epoch=None,
        polled_at=None,
        expires_at=to_ms(login.expires_at),
    )


def by_code_hash(tx: Tx, code_hash: str) -> DeviceLogin | None:
    """The login whose device code has this hash."""
    row = tx.one(_BY_CODE, code=code_hash)
    return None if row is None else _login(row)


def by_user_code(tx: Tx, user_code: str) -> DeviceLogin | None:
    """The login a person sees."""
    row = tx.one(_BY_USER_CODE, code=user_code)
    return None if row is None else _login(row)


def answer(
    tx: Tx, user_code: str, to: DeviceState, *, person_id: str, epoch: int, now: datetime
) -> bool:
    """A person's answer to a pending login. False if it was not pending any more."""
    changed = tx.changed(
        _ANSWER, of=user_code, to=to.value, person=person_id, epoch=epoch, now=to_ms(now)
    )
    return changed == 1


def polled(tx: Tx, code_hash: str, now: datetime) -> None:
    """Remember when the command line last asked."""
    tx.changed(_POLLED, of=code_hash, now=to_ms(now))


def redeem(tx: Tx, code_hash: str) -> bool:
    """Spend an approved login. False if somebody else did."""
    return tx.changed(_REDEEM, of=code_hash) == 1


def _login(row: Row) -> DeviceLogin:
    code_hash, user_code, state, expires_at, polled_at, person_id, person_epoch, jkt = row
    return DeviceLogin(
        code_hash=code_hash,
        user_code=user_code,
        state=DeviceState(state),
        expires_at=from_ms(expires_at),
        polled_at=None if polled_at is None else from_ms(polled_at),
        person_id=person_id,
        person_epoch=person_epoch,
        jkt=jkt,
    )
