import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** The JDBC driver: statements are prepared at the server from their fifth use on. */
public class Main {
    static void say(Object... words) {
        StringJoiner line = new StringJoiner(" ");
        for (Object word : words)
            line.add(String.valueOf(word));
        System.out.println(line);
    }

    static Connection connect() throws SQLException {
        Map<String, String> env = System.getenv();
        Properties p = new Properties();
        p.setProperty("user", env.get("PGUSER"));
        p.setProperty("password", env.get("PGPASSWORD"));
        if (env.containsKey("DRIVER_CA")) {
            p.setProperty("ssl", "true");
            p.setProperty("sslmode", "verify-full");
            p.setProperty("sslrootcert", env.get("DRIVER_CA"));
        }
        return DriverManager.getConnection("jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT")
                                           + "/" + env.get("PGDATABASE") + env.getOrDefault("DRIVER_URL", ""), p);
    }

    static void run(Connection db, String sql) throws SQLException {
        try (Statement s = db.createStatement()) {
            s.execute(sql);
        }
    }

    static Object one(Connection db, String sql, Object... values) throws SQLException {
        try (PreparedStatement s = db.prepareStatement(sql)) {
            for (int n = 0; n < values.length; n++)
                s.setObject(n + 1, values[n]);
            try (ResultSet rows = s.executeQuery()) {
                rows.next();
                return rows.getObject(1);
            }
        }
    }

    static String state(Connection db, String sql) {
        try {
            run(db, sql);
            return "none";
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }

    static Object count(Connection db) throws SQLException {
        return one(db, "select count(*) from driver_rows");
    }

    static void types(Connection db) throws SQLException {
        try (PreparedStatement s = db.prepareStatement(
                "select ?::int, ?::int8, ?::text, ?::bytea, ?::numeric, 1.5::float4, 0.1::float8,"
                + " timestamp '2024-02-29 12:34:56.789', timestamptz '2024-02-29 12:34:56+00',"
                + " '{\"a\": [1, 2]}'::jsonb, ?::int[], null::int, true,"
                + " '00000000-0000-0000-0000-00000000002a'::uuid")) {
            for (int turn = 0; turn < 8; turn++) { // text at first, binary when prepared
                s.setInt(1, 42);
                s.setLong(2, 9007199254740993L);
                s.setString(3, "grüße 'n \\");
                s.setBytes(4, new byte[] {(byte) 0xde, (byte) 0xad, 0, (byte) 0xef});
                s.setBigDecimal(5, new BigDecimal("12345.6789"));
                s.setArray(6, db.createArrayOf("int4", new Integer[] {1, null, 3}));
                try (ResultSet rows = s.executeQuery()) {
                    rows.next();
                    for (int n = 1; n <= rows.getMetaData().getColumnCount(); n++) {
                        Object value = rows.getObject(n);
                        if (value instanceof byte[])
                            value = Arrays.toString((byte[]) value);
                        if (turn % 7 == 0)
                            say("types", rows.getMetaData().getColumnTypeName(n), value);
                    }
                }
            }
        }
    }

    static void prepared(Connection db) throws SQLException {
        int sum = 0;
        try (PreparedStatement s = db.prepareStatement("select ?::int")) {
            for (int n = 1; n <= 20; n++) {
                s.setInt(1, n);
                try (ResultSet rows = s.executeQuery()) {
                    rows.next();
                    sum += rows.getInt(1);
                }
            }
        }
        say("prepared.repeated", sum);
        sum = 0;
        for (int turn = 0; turn < 6; turn++)
            for (int n = 1; n <= 200; n++)
                sum += (Integer) one(db, "select ?::int * " + n, 1);
        say("prepared.many", sum / 6);
        try (PreparedStatement s = db.prepareStatement("insert into driver_rows values (?)")) {
            for (int n = 0; n < 500; n++) {
                s.setInt(1, n);
                s.addBatch();
            }
            say("prepared.batch", s.executeBatch().length, count(db));
        }
        run(db, "truncate driver_rows");
    }

    static void transactions(Connection db) throws SQLException {
        db.setAutoCommit(false);
        run(db, "insert into driver_rows values (1)");
        db.commit();
        say("transactions.commit", count(db));
        run(db, "insert into driver_rows values (2)");
        db.rollback();
        say("transactions.rollback", count(db));
        say("transactions.error", state(db, "select 1/0"), state(db, "select 1"));
        db.rollback();
        Savepoint point = db.setSavepoint("point");
        state(db, "select 1/0");
        db.rollback(point);
        say("transactions.after", count(db));
        try (Statement s = db.createStatement()) {
            s.setFetchSize(50); // a portal that is read in pieces
            long sum = 0;
            try (ResultSet rows = s.executeQuery("select n from generate_series(1, 1000) n")) {
                while (rows.next())
                    sum += rows.getInt(1);
            }
            say("transactions.pieces", sum);
        }
        db.commit();
        db.setAutoCommit(true);
    }

    static void copy(Connection db) throws Exception {
        run(db, "truncate driver_rows");
        CopyManager copy = db.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder lines = new StringBuilder();
        for (int n = 1; n <= 10000; n++)
            lines.append(n).append('\n');
        copy.copyIn("copy driver_rows from stdin", new StringReader(lines.toString()));
        say("copy.in", one(db, "select sum(n) from driver_rows"));
        StringWriter out = new StringWriter();
        copy.copyOut("copy driver_rows to stdout", out);
        say("copy.out", out.toString().length());
        try {
            copy.copyIn("copy driver_rows from stdin", new StringReader("x\n"));
        } catch (SQLException error) {
            say("copy.refused", error.getSQLState());
        }
    }

    static void cancelAsleep(Statement s) {
        String asleep = "select count(*) from pg_stat_activity"
            + " where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'";
        try (Connection other = connect()) {
            while (one(other, asleep).equals(0L))
                continue;
            s.cancel();
        } catch (SQLException error) {
            say("FAILED", error);
        }
    }

    static void cancel(Connection db) throws Exception {
        try (Statement s = db.createStatement()) {
            Thread canceller = new Thread(() -> cancelAsleep(s));
            canceller.start();
            try {
                s.execute("select pg_sleep(20)");
            } catch (SQLException error) {
                say("cancel", error.getSQLState());
            }
            canceller.join();
        }
        say("cancel.after", one(db, "select 1"));
    }

    static void large(Connection db) throws SQLException {
        byte[] bytes = new byte[Integer.parseInt(System.getenv("DRIVER_LARGE"))];
        Arrays.fill(bytes, (byte) 'x');
        String text = new String(bytes, StandardCharsets.UTF_8);
        try (PreparedStatement s = db.prepareStatement("select t, length(t) from (select ?::text t) x")) {
            s.setString(1, text);
            try (ResultSet rows = s.executeQuery()) {
                rows.next();
                say("large", rows.getInt(2), rows.getString(1).equals(text) ? "same" : "different");
            }
        }
    }

    static void terminated(Connection db) throws SQLException {
        say("terminated", state(db, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)"));
        db.close();
        try (Connection next = connect()) {
            say("terminated.after", one(next, "select 1"));
        }
    }

    static void work() {
        try (Connection db = connect()) {
            db.setAutoCommit(false);
            try (PreparedStatement s = db.prepareStatement("insert into driver_rows values (?)")) {
                for (int n = 0; n < 20; n++) {
                    s.setInt(1, 0);
                    s.executeUpdate();
                    db.commit();
                }
            }
        } catch (SQLException error) {
            say("FAILED", error);
        }
    }

    static void crowd() throws Exception {
        List<Thread> workers = new ArrayList<>();
        for (int n = 0; n < 8; n++) {
            workers.add(new Thread(Main::work));
            workers.get(n).start();
        }
        for (Thread worker : workers)
            worker.join();
        try (Connection db = connect()) {
            say("crowd", one(db, "select count(*) from driver_rows where n = 0"));
            run(db, "drop table driver_rows");
        }
    }

    static void restart() throws Exception {
        Connection db = connect();
        for (int n = 0; n < 10; n++)
            one(db, "select ?::int", n);
        say("ready");
        System.in.read();
        for (int tries = 0; tries < 600; tries++) {
            try {
                if (db.isClosed())
                    db = connect();
                one(db, "select ?::int", 1);
                say("restart works");
                return;
            } catch (SQLException error) {
                Thread.sleep(50);
            }
        }
    }

    public static void main(String[] words) throws Exception {
        if (words.length > 0) {
            restart();
            return;
        }
        Connection db = connect();
        run(db, "drop table if exists driver_rows; create table driver_rows (n int)");
        types(db);
        prepared(db);
        transactions(db);
        copy(db);
        cancel(db);
        large(db);
        run(db, "truncate driver_rows");
        terminated(db);
        crowd();
    }
}
