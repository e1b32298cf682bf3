import threading, time
from support.trunkline import route
from support.patience import eventually
from support import wire as w

def test_ttl(trunkline):
    daemon = trunkline(routes=[route(cache=[{"mode": "ttl", "ttl": "60s"}])])
    with daemon.connect() as one, daemon.connect() as two:
        one.execute("create table if not exists smoke (a int, b text)")
        one.execute("truncate smoke")
        one.execute("insert into smoke values (1, 'x')")
        for sql in ("select b from smoke where a = 1",):
            assert one.execute(sql).fetchall() == [("x",)]
            one.execute("update smoke set b = 'y'")
            assert two.execute(sql).fetchall() == [("x",)]
            one.execute("update smoke set b = 'x'")
            sql2 = "select b from smoke where a = %s"
            assert one.execute(sql2, [1]).fetchall() == [("x",)]
            one.execute("update smoke set b = 'z'")
            assert two.execute(sql2, [1]).fetchall() == [("x",)]
            assert two.execute(sql2, [2]).fetchall() == []

def test_dedupe(trunkline, postgres):
    daemon = trunkline(cache_functions=["pg_catalog.pg_sleep"], routes=[route(cache=[{"mode": "dedupe"}])])
    clients = [daemon.connect() for _ in range(100)]
    begin = time.time()
    def run(c):
        assert c.execute("select 5, pg_sleep(1.0)").fetchall()[0][0] == 5
    threads = [threading.Thread(target=run, args=(c,)) for c in clients]
    for t in threads: t.start()
    for t in threads: t.join()
    assert time.time() - begin < 3, time.time() - begin
    for c in clients: c.close()

def test_write_seals(trunkline, postgres):
    daemon = trunkline(cache_functions=["pg_catalog.pg_sleep"], routes=[route(cache=[{"mode": "dedupe"}])])
    with daemon.connect() as a, daemon.connect() as b, daemon.connect() as wr:
        wr.execute("create table if not exists smoke2 (a int)")
        wr.execute("truncate smoke2")
        wr.execute("insert into smoke2 values (1)")
        sql = "select a, pg_sleep(1)::text from smoke2"
        out = []
        t = threading.Thread(target=lambda: out.append(a.execute(sql).fetchall()[0][0]))
        t.start()
        time.sleep(0.5)
        wr.execute("update smoke2 set a = 2")
        begin = time.time()
        assert b.execute(sql).fetchall()[0][0] == 2
        assert time.time() - begin > 0.9
        t.join()
        assert out == [1]
