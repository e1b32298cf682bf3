"""The threads of a running daemon have the names of the picture in docs/architecture.md."""
import re
import sys
from pathlib import Path

from support.patience import eventually
from support.trunkline import TOP

sys.path.insert(0, str(TOP / "tools"))
import picture  # noqa: E402


def names_of_threads(pid):
    """A thread may end between the listing and the reading."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            yield (task / "comm").read_text().rstrip("\n")
        except (FileNotFoundError, ProcessLookupError):
            pass


def test_the_threads_of_a_daemon_are_those_of_the_picture(trunkline):
    patterns = picture.names_of_threads((TOP / "docs" / "threads.picture").read_text())
    assert len(patterns) == 4
    daemon = trunkline(relays=2)
    daemon.reload()  # reads the configuration on an offload thread
    with daemon.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    seen = set()

    def all_seen():
        seen.update(names_of_threads(daemon.program.pid))
        return all(any(re.fullmatch(pattern, name) for name in seen) for pattern in patterns)
    eventually(all_seen)
    unknown = {name for name in seen if not any(re.fullmatch(one, name) for one in patterns)}
    assert unknown == set()
    assert {"trunkline", "relay0", "relay1"} <= seen
