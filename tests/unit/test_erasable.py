"""The file of persons' keys: what is cut out is gone, and everybody else's key is as it was."""

import hmac
import os
import stat
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actfor.errors import Kind, Refused
from actfor.keys import Place
from actfor.keys.envelope import Cipher
from actfor.keys.erasable import Erasable

PLACE = Place("data_key", "dk", "outside")
ids = st.lists(st.text("abcdef", min_size=1, max_size=5), min_size=1, max_size=8, unique=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "erasure.key"


def opens(cipher: Cipher | None, sealed: bytes) -> bool:
    if cipher is None:
        return False
    try:
        return cipher.open(sealed, PLACE) == b"data key"
    except Refused:
        return False


def everything_in(file: Path) -> list[bytes]:
    """Each seed that stands in the file, and what follows from it one and two steps on."""
    seeds = [bytes.fromhex(line.split()[2]) for line in file.read_text().splitlines()[1:]]
    steps = [hmac.digest(seed, step, "sha256") for seed in seeds for step in (b"\0", b"\1", b"key")]
    return seeds + steps + [hmac.digest(one, b"key", "sha256") for one in steps]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(ids, st.data())
def test_who_is_cut_out_is_gone_and_all_others_are_as_before(
    tmp_path: Path, everyone: list[str], data: st.DataObject
) -> None:
    file = tmp_path / os.urandom(8).hex() / "erasure.key"
    keys = Erasable(file)
    sealed = {who: made.seal(b"data key", PLACE) for who in everyone if (made := keys.cipher(who))}
    assert sealed.keys() == set(everyone)
    gone = data.draw(st.sets(st.sampled_from(everyone)))
    assert keys.cut(gone) == len(gone)
    for known in (keys, Erasable(file)):
        assert known.id == keys.id
        for who in everyone:
            assert opens(known.cipher(who), sealed[who]) == (who not in gone) == known.holds(who)
    for who in gone:
        assert not any(opens(Cipher(key), sealed[who]) for key in everything_in(file))
    assert keys.cut(gone) == 0


def test_the_order_of_cuts_does_not_matter(file: Path) -> None:
    """Nodes that have a copy of the file each cut for themselves."""
    Erasable(file)
    fresh = file.read_bytes()
    ends = set()
    for order in permutations(["dk_a", "dk_b", "dk_c"]):
        file.write_bytes(fresh)
        keys = Erasable(file)
        for who in order:
            assert keys.cut([who]) == 1
        ends.add("\n".join(sorted(file.read_text().splitlines())))
    assert len(ends) == 1


def test_two_processes_that_share_the_file_do_not_undo_each_other(file: Path) -> None:
    first, second = Erasable(file), Erasable(file)
    first.cut(["dk_a"])
    second.cut(["dk_b"])
    assert second.cipher("dk_a") is None
    assert Erasable(file).cipher("dk_a") is Erasable(file).cipher("dk_b") is None


def test_what_the_file_held_before_is_overwritten(file: Path) -> None:
    keys = Erasable(file)
    other = file.with_name("hard-link")  # the old file's bytes, kept in view
    os.link(file, other)
    assert keys.cut(["dk_a"]) == 1
    assert set(other.read_bytes()) == {0}
    assert not file.with_name("erasure.key.new").exists()


def test_a_crash_before_the_new_file_is_in_place_changes_nothing(file: Path) -> None:
    keys = Erasable(file)
    file.with_name("erasure.key.new").write_text("half")
    assert keys.cut(["dk_a"]) == 1
    assert Erasable(file).cipher("dk_a") is None


@pytest.mark.parametrize("content", ["", "nonsense\n", "actfor-erasable/v1 er-1\n0 0 0\n"])
def test_another_file_is_refused(file: Path, content: str) -> None:
    Erasable(file)
    file.write_text(content)
    with pytest.raises(Refused) as refused:
        Erasable(file)
    assert refused.value.kind is Kind.MALFORMED


def test_it_is_for_the_server_alone(file: Path) -> None:
    Erasable(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    with pytest.raises(Refused, match="readable by others"):
        Erasable(file)
