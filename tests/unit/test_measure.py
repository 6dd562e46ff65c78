"""Measuring code: what changes the digest, what must not, and what is refused."""

import os
import socket
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actfor.errors import Kind, Refused
from actfor.identity.measure import Measurer, resolve
from actfor.identity.model import Tree, difference
from actfor.wire.canonical import digest, digest_bytes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    code = tmp_path / "code"
    (code / "lib").mkdir(parents=True)
    (code / "agent.py").write_text("print('hello')\n")
    (code / "lib" / "tool.py").write_text("x = 1\n")
    return code


def age(root: Path) -> None:
    """Make every file older than the moment in which a change could hide."""
    for path in root.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)


def measured(root: Path) -> Tree:
    return Measurer().tree(str(root))


def test_a_tree_is_names_modes_and_bytes(root: Path) -> None:
    (root / "agent.py").chmod(0o755)
    expected = [
        ["agent.py", "x", digest_bytes(b"print('hello')\n")],
        ["lib/tool.py", "-", digest_bytes(b"x = 1\n")],
    ]
    assert [[e.path, e.mode, e.digest] for e in measured(root).entries] == expected
    assert measured(root).digest == digest(expected)


def test_copies_at_other_places_and_times_measure_the_same(root: Path, tmp_path: Path) -> None:
    before = measured(root).digest
    moved = root.rename(tmp_path / "elsewhere")
    age(moved)
    assert measured(moved).digest == before


def test_git_and_bytecode_are_left_out_but_only_as_folders(root: Path) -> None:
    before = measured(root).digest
    for name in (".git", "__pycache__", "lib/__pycache__"):
        (root / name).mkdir()
        (root / name / "x").write_text("y")
    assert measured(root).digest == before
    (root / "lib" / ".git").write_text("gitdir: /elsewhere")
    assert measured(root).digest != before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: (r / "agent.py").write_text("print('hellO')\n"), "`agent.py` was changed"),
        (lambda r: (r / "agent.py").chmod(0o755), "`agent.py` changed its mode from `-` to `x`"),
        (lambda r: (r / "a.py").write_text(""), "`a.py` was added"),
        (lambda r: (r / "lib" / "tool.py").unlink(), "`lib/tool.py` was removed"),
        (lambda r: (r / "agent.py").rename(r / "b.py"), "`agent.py` was removed and 1 more"),
        (lambda r: (r / "ln.py").symlink_to("agent.py"), "`ln.py` was added"),
    ],
)
def test_a_change_is_seen_and_named(root: Path, change, said: str) -> None:
    before = measured(root)
    change(root)
    assert measured(root).digest != before.digest
    assert difference(before, measured(root)) == said


def test_nothing_changed_is_no_difference(root: Path) -> None:
    assert difference(measured(root), measured(root)) is None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda r: (r / "out").symlink_to("/etc/passwd"), "links out of the code tree"),
        (lambda r: (r / "out").symlink_to("../other"), "links out of the code tree"),
        (lambda r: (r / "out").symlink_to(r.parent), "links out of the code tree"),
        (lambda r: (r / "c").symlink_to("lib/__pycache__"), "links to what is not measured"),
        (lambda r: os.mkfifo(r / "pipe"), "is not a regular file"),
        (lambda r: (r / os.fsdecode(b"\xff.py")).write_text(""), "is not utf-8"),
    ],
)
def test_what_cannot_be_measured_honestly_is_refused(root: Path, spoil, said: str) -> None:
    spoil(root)
    with pytest.raises(Refused, match=said) as refused:
        measured(root)
    assert refused.value.kind is Kind.MALFORMED


def test_a_socket_in_the_tree_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        with pytest.raises(Refused, match="is not a regular file"):
            measured(root)


@pytest.mark.parametrize("name", ["missing", "empty", "agent.py", "link"])
def test_a_root_that_is_no_folder_with_files_is_refused(root: Path, name: str) -> None:
    (root / "empty").mkdir()
    (root / "link").symlink_to("lib")
    with pytest.raises(Refused):
        Measurer().tree(str(root / name))


def test_a_link_that_stays_inside_is_part_of_the_tree(root: Path) -> None:
    (root / "a").symlink_to("agent.py")
    before = measured(root).digest
    (root / "a").unlink()
    (root / "a").symlink_to("lib/tool.py")
    assert measured(root).digest != before


def test_a_second_look_does_not_read_what_was_not_touched(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    measurer = Measurer()
    monkeypatch.setattr(time, "time_ns", lambda: 2**62)  # long after the files were made
    before = measurer.tree(str(root))
    opened: list[str] = []
    real = os.open

    def noting(path: str, flags: int) -> int:
        opened.append(path)
        return real(path, flags)

    monkeypatch.setattr(os, "open", noting)
    assert measurer.tree(str(root)) == before
    assert opened == []
    (root / "agent.py").write_text("print('HELLO')\n")
    assert measurer.tree(str(root)).digest != before.digest
    assert opened == [str(root / "agent.py")]
    opened.clear()
    measurer.tree(str(root), fresh=True)
    assert len(opened) == 2


def test_a_forged_modification_time_hides_nothing(root: Path) -> None:
    path = root / "agent.py"
    age(root)
    measurer = Measurer()
    before = measurer.tree(str(root)).digest
    path.write_text("print('jello')\n")  # the same length
    os.utime(path, (1, 1))
    assert measurer.tree(str(root)).digest != before


def test_two_changes_in_one_tick_are_both_seen(root: Path) -> None:
    measurer = Measurer()
    seen = set()
    for number in range(50):
        (root / "agent.py").write_text(f"{number:04}")
        seen.add(measurer.tree(str(root)).digest)
    assert len(seen) == 50


def test_a_file_is_measured_whole(tmp_path: Path) -> None:
    path = tmp_path / "prompt.md"
    path.write_bytes(b"be kind")
    assert Measurer().file(str(path)) == digest_bytes(b"be kind")
    (tmp_path / "link").symlink_to(path)
    for wrong in ("link", "missing", "."):
        with pytest.raises(Refused):
            Measurer().file(str(tmp_path / wrong))


def test_links_are_followed_once_at_registration(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert resolve(str(tmp_path / "link")) == str(tmp_path / "real")
    for wrong in (str(tmp_path / "none"), "\0"):
        with pytest.raises(Refused):
            resolve(wrong)


NAMES = st.text(string.ascii_letters + "é-._ ", min_size=1, max_size=8).filter(
    lambda name: name not in {".", ".."}
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=40), min_size=1, max_size=5),
    data=st.data(),
)
def test_any_flipped_byte_changes_the_digest(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name, content in files.items():
        (root / name).write_bytes(content)
    measurer = Measurer()
    before = measurer.tree(str(root)).digest
    path = root / data.draw(st.sampled_from(sorted(files)))
    flipped = bytearray(path.read_bytes() + b"!")
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if bytes(flipped) == path.read_bytes():
        return
    path.write_bytes(bytes(flipped))
    assert measurer.tree(str(root)).digest != before
    assert Measurer().tree(str(root)).digest == measurer.tree(str(root)).digest
