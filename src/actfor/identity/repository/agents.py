"""Agents in the database: registrations, the trees behind their digests, running instances."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, or_, select, update

from actfor.identity.model import (
    Agent,
    AgentState,
    Component,
    Entry,
    Instance,
    ModelRef,
    Reference,
    Tier,
    Tree,
    skeleton,
)
from actfor.identity.repository.tables import agent, agent_instance, agent_tree, insert_into
from actfor.store import Ask, Row, Scalar, Tx, insert_ignore, one_of
from actfor.wire.canonical import canonical
from actfor.wire.spiffe import SpiffeId
from actfor.wire.timestamps import from_ms, to_ms

_AGENT_INSERT = insert_ignore(agent).values(
    {column.name: bindparam(column.name) for column in agent.columns}
)
_AGENT_BY_NAME = select(agent).where(agent.c.name == bindparam("key"))
_AGENT_ALL = select(agent).order_by(agent.c.name)
_AGENT_SWAP = (
    update(agent)
    .where(
        agent.c.name == bindparam("key"),
        agent.c.epoch == bindparam("old_epoch"),
        agent.c.state == bindparam("old_state"),
    )
    .values(
        state=bindparam("state"),
        epoch=bindparam("epoch"),
        reference=bindparam("reference"),
        manifest_digest=bindparam("manifest_digest"),
        cause=bindparam("cause"),
    )
)
_TREE_INSERT = insert_into(agent_tree)
_TREE_DELETE = delete(agent_tree).where(agent_tree.c.agent == bindparam("key"))
_TREE_OF = select(agent_tree.c.listing).where(
    agent_tree.c.agent == bindparam("key"), agent_tree.c.digest == bindparam("only")
)


def add_agent(tx: Tx, new: Agent) -> bool:
    """False when the name, or one that looks like it, was ever registered."""
    values: dict[str, Scalar] = {
        "name": new.name,
        "skeleton": skeleton(new.name),
        "id": str(new.id),
        "owner": new.owner,
        "purpose": new.purpose,
        "tier": new.tier.value,
        "created_at": to_ms(new.created_at),
        **_mutable(new),
    }
    return tx.changed(_AGENT_INSERT, **values) == 1


def agent_by_name(tx: Tx, name: str) -> Agent | None:
    """The agent with this name, whatever its state."""
    row = tx.one(_AGENT_BY_NAME, key=name)
    return _agent(row) if row else None


def agents(tx: Tx) -> list[Agent]:
    """Every agent, by name."""
    return [_agent(row) for row in tx.run(_AGENT_ALL)]


def swap_agent(tx: Tx, old: Agent, new: Agent) -> bool:
    """Replace the state; False when somebody else replaced it first."""
    changed = tx.changed(
        _AGENT_SWAP, key=old.name, old_epoch=old.epoch, old_state=old.state.value, **_mutable(new)
    )
    return changed == 1


def keep_tree(tx: Tx, name: str, tree: Tree | None) -> None:
    """Keep the listing behind the reference digest, or drop it (None)."""
    tx.changed(_TREE_DELETE, key=name)
    if tree is not None:
        tx.changed(_TREE_INSERT, agent=name, digest=tree.digest, listing=tree.to_json())


def tree_of(tx: Tx, name: str, digest: str) -> Tree | None:
    """The listing with this digest, if the server measured it itself."""
    row = tx.one(_TREE_OF, key=name, only=digest)
    return Tree(tuple(Entry(*entry) for entry in json.loads(row[0]))) if row else None


def _mutable(it: Agent) -> dict[str, Scalar]:
    return {
        "state": it.state.value,
        "epoch": it.epoch,
        "reference": _dump(it.reference),
        "manifest_digest": it.manifest_digest,
        "cause": it.cause,
    }


def _agent(row: Row) -> Agent:
    name, _, id_, owner, purpose, tier, state, epoch, reference, manifest, created, cause = row
    return Agent(
        name=name,
        id=SpiffeId.parse(id_),
        owner=owner,
        purpose=purpose,
        tier=Tier(tier),
        state=AgentState(state),
        epoch=epoch,
        reference=_load(reference),
        manifest_digest=manifest,
        created_at=from_ms(created),
        cause=cause,
    )


def _dump(reference: Reference) -> str:
    def one(component: Component | None) -> list[str | None] | None:
        return [component.digest, component.path] if component else None

    return canonical(
        {
            "code": one(reference.code),
            "executable": one(reference.executable),
            "model": [reference.model.id, reference.model.version] if reference.model else None,
            "image": reference.image,
            "prompt": one(reference.prompt),
            "tools": one(reference.tools),
        }
    ).decode()


def _load(text: str) -> Reference:
    stored = json.loads(text)
    return Reference(
        code=Component(*stored["code"]),
        executable=Component(*stored["executable"]),
        model=ModelRef(*stored["model"]) if stored["model"] else None,
        image=stored["image"],
        prompt=Component(*stored["prompt"]) if stored["prompt"] else None,
        tools=Component(*stored["tools"]) if stored["tools"] else None,
    )


_INSTANCE_INSERT = insert_into(agent_instance)
_INSTANCE_SAME = select(agent_instance).where(
    and_(
        agent_instance.c.agent == bindparam("of"),
        agent_instance.c.pid == bindparam("pid"),
        agent_instance.c.started_at == bindparam("started_at"),
        agent_instance.c.jkt == bindparam("jkt"),
        agent_instance.c.manifest == bindparam("manifest"),
        agent_instance.c.ended.is_(None),
    )
)
_INSTANCES_OF_PROCESS = select(agent_instance).where(
    agent_instance.c.agent == bindparam("of"),
    agent_instance.c.pid == bindparam("pid"),
    or_(agent_instance.c.host == bindparam("here"), agent_instance.c.host.is_(None)),
    agent_instance.c.ended.is_(None),
)
_INSTANCE_RENEW = (
    update(agent_instance)
    .where(agent_instance.c.id == bindparam("key"), agent_instance.c.ended.is_(None))
    .values(svid_expires_at=bindparam("svid_expires_at"))
)
_INSTANCES_LIVE = select(agent_instance).where(
    agent_instance.c.ended.is_(None), agent_instance.c.svid_expires_at > bindparam("after")
)
_INSTANCES_HERE = _INSTANCES_LIVE.where(
    or_(agent_instance.c.host == bindparam("here"), agent_instance.c.host.is_(None))
)
_INSTANCE_END = (
    update(agent_instance)
    .where(agent_instance.c.id == bindparam("key"), agent_instance.c.ended.is_(None))
    .values(ended=bindparam("cause"))
)
_INSTANCES_END = (
    update(agent_instance)
    .where(agent_instance.c.agent == bindparam("of"), agent_instance.c.ended.is_(None))
    .values(ended=bindparam("cause"))
)
# The hot path: one row tells whether an SVID still counts.
_LIVE = (
    select(agent.c.state, agent.c.epoch, agent.c.manifest_digest, agent_instance.c.ended)
    .outerjoin(
        agent_instance,
        and_(agent_instance.c.agent == agent.c.name, agent_instance.c.id == bindparam("instance")),
    )
    .add_columns(agent_instance.c.id)
    .where(agent.c.name == bindparam("key"))
)
_STANDING = select(agent.c.state, agent.c.epoch, agent.c.cause).where(
    agent.c.name == bindparam("key")
)
_STANDINGS = select(agent.c.name, agent.c.state, agent.c.epoch, agent.c.cause).where(
    one_of(agent.c.name)
)


def add_instance(tx: Tx, new: Instance) -> None:
    """Insert a newly attested process."""
    tx.changed(
        _INSTANCE_INSERT,
        id=str(new.id),
        agent=new.agent,
        pid=new.pid,
        started_at=new.started_at,
        program=new.program,
        jkt=new.jkt,
        manifest=new.manifest,
        svid_expires_at=to_ms(new.svid_expires_at),
        ended=None,
        host=new.host,
    )


def same_instance(
    tx: Tx, agent_name: str, *, pid: int, started_at: int, jkt: str, manifest: str
) -> Instance | None:
    """The running instance of the same process with the same key, if there is one."""
    row = tx.one(
        _INSTANCE_SAME, of=agent_name, pid=pid, started_at=started_at, jkt=jkt, manifest=manifest
    )
    return _instance(row) if row else None


def instances_of_process(tx: Tx, agent_name: str, pid: int, here: str) -> list[Instance]:
    """The agent's running instances with that pid on this machine."""
    rows = tx.run(_INSTANCES_OF_PROCESS, of=agent_name, pid=pid, here=here)
    return [_instance(row) for row in rows]


def renew_instance(tx: Tx, instance: Instance) -> bool:
    """Move the expiry on; False when the instance was ended meanwhile."""
    changed = tx.changed(
        _INSTANCE_RENEW, key=str(instance.id), svid_expires_at=to_ms(instance.svid_expires_at)
    )
    return changed == 1


def live_instances(tx: Tx, after: datetime) -> list[Instance]:
    """Instances whose last SVID is still good."""
    return [_instance(row) for row in tx.run(_INSTANCES_LIVE, after=to_ms(after))]


def live_instances_here(tx: Tx, after: datetime, here: str) -> list[Instance]:
    """Those of them that run on this machine."""
    return [_instance(row) for row in tx.run(_INSTANCES_HERE, after=to_ms(after), here=here)]


def end_instance(tx: Tx, instance_id: str, cause: str) -> bool:
    """End one instance; False when it had ended before."""
    return tx.changed(_INSTANCE_END, key=instance_id, cause=cause) == 1


def end_instances_of(tx: Tx, agent_name: str, cause: str) -> None:
    """End every running instance of an agent."""
    tx.changed(_INSTANCES_END, of=agent_name, cause=cause)


def liveness(tx: Tx, agent_name: str, instance_id: str) -> Row | None:
    """State, epoch, manifest digest, why the instance ended, the instance's id (None: unknown)."""
    return tx.one(_LIVE, key=agent_name, instance=instance_id)


def standing(tx: Tx, agent_name: str) -> Row | None:
    """State, epoch and cause of an agent."""
    return tx.one(_STANDING, key=agent_name)


def standing_asked(agent_name: str) -> Ask:
    """What ``standing`` asks."""
    return Ask(_STANDING, {"key": agent_name}, _STANDINGS)


def _instance(row: Row) -> Instance:
    id_, of, pid, started, program, jkt, manifest, expires, _, host = row
    until = from_ms(expires)
    return Instance(SpiffeId.parse(id_), of, pid, started, program, jkt, manifest, until, host)
