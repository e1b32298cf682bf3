"""The protocol's FunctionCall, which libpq still offers (and large objects still use)."""
from support import wire as w


def oid_of(wire, name):
    return int(w.rows(wire.ask(w.query(f"select '{name}'::regprocedure::oid")))[0][0])


def test_a_function_call_is_answered(endpoint):
    with endpoint.wire() as wire:
        oid = oid_of(wire, "int4pl(int,int)")
        answers = wire.ask(w.function_call(oid, b"40", b"2"))
        assert w.kinds(answers) == "V Z"
        assert answers[0].body[4:] == b"42"


def test_a_function_call_that_fails_is_answered(endpoint):
    with endpoint.wire() as wire:
        answers = wire.ask(w.function_call(1, b"x"))
        assert w.kinds(answers) == "E Z"
        assert w.rows(wire.ask(w.query("select 1"))) == [["1"]]


def test_large_objects_work_in_a_transaction(endpoint):
    with endpoint.connect2() as connection:
        connection.autocommit = False
        thing = connection.lobject(0, "wb")
        thing.write(b"a large object")
        thing.close()
        assert connection.lobject(thing.oid, "rb").read() == b"a large object"
        connection.rollback()
    connection.close()
