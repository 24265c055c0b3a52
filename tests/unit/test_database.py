"""Does every process and thread see a commit at once, and is the state's file for its owner alone?"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from server.state import State, StateError
from tests.needs import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "st ate#?" / "state.sqlite"


@pytest.fixture
def state(path: Path) -> Iterator[State]:
    with closing(State(path)) as opened:
        yield opened


def elsewhere(path: Path, code: str) -> str:
    """What another process prints that runs `code` with `state`."""
    opening = "import sys; from pathlib import Path; from server.state import State; state = State(Path(sys.argv[1]))"
    command = [sys.executable, "-c", f"{opening}; {code}", str(path)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def test_files_are_for_the_owner_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        with closing(State(path)) as state:
            state.keys()
            state.add_key(tier="shared", name="Reader", agency="Water")
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(umask)
    assert modes == {"state.sqlite": 0o600, "state.sqlite-wal": 0o600, "state.sqlite-shm": 0o600}
    path.chmod(0o644)
    with closing(State(path)) as state:
        assert len(state.keys()) == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_revision_tells_of_every_commit_and_of_nothing_else(state: State, path: Path) -> None:
    key_id, _ = state.add_key(tier="shared", name="Reader", agency="Water")
    seen = state.revision()
    assert state.keys() and state.approvals() == [] and state.revision() == seen
    with pytest.raises(StateError):
        state.revoke("kaaaaaaaaaa")
    elsewhere(path, "state.keys()")
    assert state.revision() == seen
    state.revoke(key_id)
    own = state.revision()
    elsewhere(path, "state.add_key(tier='shared', name='Other', agency='Water')")
    other = state.revision()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE keys SET revoked = NULL")
    by_hand = state.revision()
    assert len({seen, own, other, by_hand}) == 4


def test_a_revocation_by_another_process_holds_at_the_next_call(state: State, path: Path) -> None:
    key_id, key = state.add_key(tier="shared", name="Reader", agency="Water")
    secret = key.partition(".")[2]
    before = state.authenticate(key_id, secret)
    assert before is not None and before.revoked is None
    elsewhere(path, f"state.revoke({key_id!r})")
    after = state.authenticate(key_id, secret)
    assert after is not None and after.revoked is not None


def test_what_one_process_stores_another_reads(state: State, path: Path) -> None:
    by, _ = state.add_key(tier="internal", name="王芳", level="nation", roles=["approver"])
    approval = state.approve("parcels", "a" * 64, by=by, because="公开清单 2026")
    code = "import json; from dataclasses import asdict; print(json.dumps(asdict(state.approvals()[0])))"
    assert json.loads(elsewhere(path, code)) == asdict(approval)


def test_processes_that_open_and_write_together_lose_nothing(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from server.state import State\n"
        "state = State(Path(sys.argv[1])); print(flush=True); sys.stdin.readline()\n"
        "for _ in range(20): state.revoke(state.add_key(tier='shared', name=sys.argv[2], agency='Water')[0])"
    )
    command, pipe = [sys.executable, "-c", script, str(path)], subprocess.PIPE
    running = [subprocess.Popen([*command, name], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for name in "ABC"]
    # begun together, so that they make the file and its tables at the same time
    for process in running:
        assert process.stdout and process.stdout.readline() == "\n"
    for process in running:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in running] == [("", 0)] * 3
    with closing(State(path)) as state:
        keys = state.keys()
    assert all(key.revoked for key in keys)
    assert sorted(key.name for key in keys) == [name for name in "ABC" for _ in range(20)]


def test_opening_waits_for_a_process_that_is_making_the_file(state: State, path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.rollback)
        release.start()
        assert state.keys() == []
        release.join()


def test_threads_never_see_a_key_that_was_revoked_before(state: State) -> None:
    """Each round one thread revokes a key and says so; the others, who read all the while, must see it from then on."""
    rounds = [state.add_key(tier="shared", name=str(n), agency="Water") for n in range(25)]
    revoked: set[str] = set()
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            known = set(revoked)
            for key_id, key in rounds:
                found = state.authenticate(key_id, key.partition(".")[2])
                if found is None or (key_id in known and found.revoked is None):
                    wrong.append(key_id)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for key_id, _ in rounds:
            state.revoke(key_id)
            revoked.add(key_id)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    keys = state.keys()
    assert wrong == [] and all(key.revoked for key in keys)


def test_a_forked_child_must_not_use_what_its_parent_opened(path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from server.state import State, StateError\n"
        "state = State(Path(sys.argv[1])); state.keys()\n"
        "if child := os.fork(): os.waitpid(child, 0)\n"
        "try: print(len(state.keys()), flush=True)\n"
        "except StateError as err: print(err, flush=True)"
    )
    command = [sys.executable, "-c", script, str(path)]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    # the child ends before its parent goes on
    assert told.splitlines() == ["the process forked after it opened the state", "0"]


def test_nothing_is_opened_before_the_first_use_and_nothing_after_the_last(path: Path) -> None:
    state = State(path)
    assert not path.exists()
    state.keys()
    state.close()
    state.close()
    with pytest.raises(StateError, match="closed"):
        state.keys()


def test_a_file_of_another_kind_or_version_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version = 99")
    with pytest.raises(StateError, match="another version"):
        State(path).keys()
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(StateError, match="not a database"):
        State(path).keys()
