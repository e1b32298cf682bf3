"""Fixtures of the integration tests: clusters, daemons, certificates.

A test asks for `postgres` (a cluster that tests share and leave as it was), `cluster` (makes one of
its own), `trunkline` (starts a daemon as the test wants it), `pooler` (a daemon that the tests of a
file share), or `endpoint` (runs the test three times: against PostgreSQL itself, a session pool and a
transaction pool; what holds without the pooler must hold with it).
"""
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from support.certificate import Certificate  # noqa: E402
from support.flights import OBJECTS, Gate  # noqa: E402
from support.parade import Ground, make_parade_template  # noqa: E402
from support.postgres import Postgres, make_template, place  # noqa: E402
from support.proxy import Proxy  # noqa: E402
from support.replication import Replication  # noqa: E402
from support.sample import take_sample  # noqa: E402
from support.trunkline import Trunkline, configuration  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes half a minute, so that of a file some run in CI")


def pytest_collection_modifyitems(config, items):
    take_sample(config, items)


@pytest.fixture(scope="session")
def template():
    folder = place("template")
    yield make_template(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="session")
def certificate(authority, tmp_path_factory):
    """For localhost and 127.0.0.1, signed by the authority."""
    return Certificate(tmp_path_factory.mktemp("tls"), "server", authority)


@pytest.fixture(scope="session")
def postgres(template, certificate):
    """The shared cluster.  Databases app, session and transaction belong to the user app."""
    cluster = Postgres(template, certificate)
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session")
def flights_objects(postgres):
    """The shared cluster, with the objects of support.flights."""
    postgres.sql(OBJECTS)
    return postgres


@pytest.fixture
def gate(flights_objects):
    """Holds the executions of flights_held(), and counts them."""
    gate = Gate(flights_objects)
    yield gate
    gate.open()
    gate.connection.close()


@pytest.fixture
def cluster(template):
    """cluster(hba=..., max_connections=...): a cluster of the test's own."""
    made = []

    def make(**options):
        made.append(Postgres(template, **options))
        return made[-1]

    yield make
    for item in made:
        item.remove()


@pytest.fixture(scope="module")
def logical(template):
    """A cluster for the tests of a file that decodes its log and acknowledges what it has flushed."""
    cluster = Postgres(template, wal_level="logical", max_wal_senders=5, max_replication_slots=5,
                       synchronous_commit="on", max_prepared_transactions=10)
    yield cluster
    cluster.remove()


@pytest.fixture
def replication(template):
    """replication(replicas=2): a primary and streaming replicas of the test's own."""
    made = []

    def make(**options):
        made.append(Replication(template, **options))
        return made[-1]

    yield make
    for item in made:
        item.remove()


@pytest.fixture(scope="session")
def parade_template(template):
    made = make_parade_template(template)
    yield made.data
    made.remove()


@pytest.fixture(scope="module")
def ground(parade_template):
    """Three clusters for the parades of a file's tests."""
    made = Ground(parade_template)
    yield made
    made.remove()


@pytest.fixture
def parade(ground):
    """parade(3): the shard instances of one shard, members of each other, on as many clusters."""
    yield ground.parade
    ground.clear()


def farewell(daemon):
    """A daemon that a test leaves running must end well; one that died must not have."""
    if daemon.program is None:
        return
    if daemon.program.running():
        daemon.stop()
    else:
        assert daemon.program.process.returncode == 0, f"it died:\n{daemon.log()[-6000:]}"
        daemon.check()


@pytest.fixture
def trunkline(postgres, tmp_path):
    """trunkline(routes=[...], relays=1, ...): a daemon of the test's own in front of `postgres`.

    server= names another cluster, users= another auth file, config= a whole configuration.
    """
    made = []

    def make(server=None, users=None, config=None, start=True, **changes):
        folder = tmp_path / f"daemon{len(made)}"
        folder.mkdir()
        config = config or configuration(server or postgres, **changes)
        made.append(Trunkline(folder, config, users))
        return made[-1].start() if start else made[-1]

    yield make
    for daemon in made:
        farewell(daemon)


@pytest.fixture(scope="module")
def pooler(postgres, tmp_path_factory):
    """A daemon as support.trunkline.configuration() describes it, for all tests of a file."""
    daemon = Trunkline(tmp_path_factory.mktemp("pooler"), configuration(postgres)).start()
    yield daemon
    farewell(daemon)


@pytest.fixture(params=["direct", "session", "transaction"])
def endpoint(request, postgres):
    """The same database server by three ways; the test must not see a difference."""
    if request.param == "direct":
        return postgres.endpoint()
    return request.getfixturevalue("pooler").endpoint(database=request.param)


@pytest.fixture(params=["session", "transaction"])
def pooled(request, pooler):
    """An endpoint through a pool of either mode, for what PostgreSQL alone does not have."""
    return pooler.endpoint(database=request.param)


@pytest.fixture
def proxy():
    """proxy(host, port, piece=...): a network that can be made bad."""
    made = []

    def make(*address, **options):
        made.append(Proxy(*address, **options))
        return made[-1]

    yield make
    for item in made:
        item.__exit__()
