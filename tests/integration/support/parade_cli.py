"""The commands of `trunkline parade`, called as an administrator calls them."""
import os
import subprocess

from .parade import OWNER
from .patience import PATIENCE
from .trunkline import binary


def run(*words, stdin=None, **environment):
    """The finished call; nothing of the tester's own PG* variables or ~/.pgpass reaches it."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return subprocess.run([str(word) for word in (binary(), "parade", *words)],
                          env={**env, "HOME": "/nonexistent", **environment}, input=stdin,
                          stdin=None if stdin else subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=2 * PATIENCE)


def call(*words, **options):
    """What a call prints, which must succeed."""
    done = run(*words, **options)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def refused(*words, code=1, **options):
    """What a call that must fail says."""
    done = run(*words, **options)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stderr


def connection(instance, database, user=OWNER):
    return f"postgresql://{user}@127.0.0.1:{instance.port}/{database}"
