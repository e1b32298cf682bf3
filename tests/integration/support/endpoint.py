"""Where a client knocks: a database behind an address.  Poolers and servers both have endpoints."""
import psycopg
import psycopg2

from .wire import Wire


class Endpoint:
    def __init__(self, host, port, database="app", user="app", password="app", **options):
        self.host, self.port = host, port
        self.database, self.user, self.password = database, user, password
        self.options = options

    def at(self, **changes):
        """The same endpoint with another database, user, password or libpq option."""
        known = dict(database=self.database, user=self.user, password=self.password,
                     host=self.host, port=self.port, **self.options)
        known.update(changes)
        return Endpoint(**known)

    def words(self, **changes):
        """libpq's connection keywords."""
        endpoint = self.at(**changes)
        words = dict(host=endpoint.host, port=endpoint.port, dbname=endpoint.database, user=endpoint.user,
                     connect_timeout=30, **endpoint.options)
        if endpoint.password is not None:
            words["password"] = endpoint.password
        return words

    def conninfo(self, **changes):
        return psycopg.conninfo.make_conninfo(**self.words(**changes))

    def connect(self, autocommit=True, **changes):
        """A psycopg 3 connection; its context ends it."""
        return psycopg.connect(self.conninfo(**changes), autocommit=autocommit)

    def connect2(self, **changes):
        """A psycopg2 connection in autocommit mode."""
        connection = psycopg2.connect(**self.words(**changes))
        connection.autocommit = True
        return connection

    def wire(self, login=True, **parameters):
        """A raw protocol client, logged in unless told otherwise."""
        wire = Wire(self.host, self.port)
        if login:
            wire.startup(self.user, self.database, self.password, **parameters)
        return wire

    def one(self, sql, *values, **changes):
        """The only value of the only row, on a connection of its own."""
        with self.connect(**changes) as connection:
            return connection.execute(sql, values or None).fetchone()[0]

    def rows(self, sql, *values, **changes):
        with self.connect(**changes) as connection:
            return connection.execute(sql, values or None).fetchall()
