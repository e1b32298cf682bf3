// pgx (its own interface, and database/sql) and lib/pq: the first word says which.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
	_ "github.com/jackc/pgx/v4/stdlib"
	"github.com/lib/pq"
)

var background = context.Background()

func say(words ...any) { fmt.Println(words...) }

func must(err error) {
	if err != nil {
		say("FAILED", err)
		panic(err)
	}
}

// What a program sees of an error, whichever driver made it.
func state(err error) string {
	var ofPgx *pgconn.PgError
	var ofPq *pq.Error
	switch {
	case err == nil:
		return "none"
	case errors.As(err, &ofPgx):
		return ofPgx.Code
	case errors.As(err, &ofPq):
		return string(ofPq.Code)
	}
	return "lost"
}

type session struct {
	driver string
	db     *sql.DB
	conn   *sql.Conn
}

func open(driver string) session {
	db, err := sql.Open(driver, "")
	must(err)
	conn, err := db.Conn(background)
	must(err)
	return session{driver, db, conn}
}

func (s session) close() {
	s.conn.Close()
	s.db.Close()
}

func (s session) run(text string, values ...any) error {
	_, err := s.conn.ExecContext(background, text, values...)
	return err
}

func (s session) one(text string, values ...any) int {
	var number int
	must(s.conn.QueryRowContext(background, text, values...).Scan(&number))
	return number
}

func (s session) count() int { return s.one("select count(*) from driver_rows") }

func types(s session) {
	rows, err := s.conn.QueryContext(background, `select $1::int4, $2::int8, $3::text, $4::bytea,
		12345.6789::numeric, 1.5::float4, 0.1::float8, timestamp '2024-02-29 12:34:56.789',
		timestamptz '2024-02-29 12:34:56+00', '{"a": [1, 2]}'::jsonb, '{1,NULL,3}'::int[],
		null::int, true, '00000000-0000-0000-0000-00000000002a'::uuid`,
		42, int64(9007199254740993), "grüße 'n \\", []byte("\xde\xad\x00\xef"))
	must(err)
	columns, err := rows.ColumnTypes()
	must(err)
	for rows.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for n := range values {
			into[n] = &values[n]
		}
		must(rows.Scan(into...))
		for n, value := range values {
			if at, is := value.(time.Time); is {
				value = at.UTC()
			}
			say("types", columns[n].DatabaseTypeName(), fmt.Sprintf("%T %v", value, value))
		}
	}
	must(rows.Err())
}

func prepared(s session) {
	statement, err := s.conn.PrepareContext(background, "select $1::int")
	must(err)
	sum, number := 0, 0
	for n := 1; n <= 20; n++ {
		must(statement.QueryRow(n).Scan(&number))
		sum += number
	}
	must(statement.Close())
	say("prepared.repeated", sum)
	sum = 0
	for n := 1; n <= 200; n++ {
		sum += s.one(fmt.Sprintf("select $1::int * %d", n), 1)
	}
	say("prepared.many", sum)
}

func transactions(s session) {
	tx, err := s.conn.BeginTx(background, nil)
	must(err)
	_, err = tx.Exec("insert into driver_rows values ($1)", 1)
	must(err)
	must(tx.Commit())
	say("transactions.commit", s.count())
	tx, err = s.conn.BeginTx(background, &sql.TxOptions{Isolation: sql.LevelSerializable})
	must(err)
	_, err = tx.Exec("insert into driver_rows values ($1)", 2)
	must(err)
	must(tx.Rollback())
	say("transactions.rollback", s.count())
	tx, err = s.conn.BeginTx(background, nil)
	must(err)
	_, err = tx.Exec("select 1/0")
	_, again := tx.Exec("select 1")
	say("transactions.error", state(err), state(again))
	must(tx.Rollback())
	say("transactions.after", s.count())
}

func copyByPgx() {
	conn, err := pgx.Connect(background, "")
	must(err)
	defer conn.Close(background)
	rows := make([][]any, 10000)
	for n := range rows {
		rows[n] = []any{int32(n + 1)}
	}
	_, err = conn.CopyFrom(background, pgx.Identifier{"driver_rows"}, []string{"n"},
		pgx.CopyFromRows(rows))
	must(err)
	var out strings.Builder
	_, err = conn.PgConn().CopyTo(background, &out, "copy driver_rows to stdout")
	must(err)
	say("copy.out", out.Len())
	_, err = conn.PgConn().CopyFrom(background, strings.NewReader("x\n"),
		"copy driver_rows from stdin")
	say("copy.refused", state(err))
}

func copyByPq(s session) {
	tx, err := s.conn.BeginTx(background, nil)
	must(err)
	statement, err := tx.Prepare(pq.CopyIn("driver_rows", "n"))
	must(err)
	for n := 1; n <= 10000; n++ {
		_, err = statement.Exec(n)
		must(err)
	}
	_, err = statement.Exec()
	must(err)
	must(statement.Close())
	must(tx.Commit())
}

// A batch of pgx: many statements, one flight.
func batch() {
	conn, err := pgx.Connect(background, "")
	must(err)
	defer conn.Close(background)
	batch := &pgx.Batch{}
	for n := 1; n <= 100; n++ {
		batch.Queue("select $1::int", n)
	}
	results := conn.SendBatch(background, batch)
	sum, number := 0, 0
	for n := 1; n <= 100; n++ {
		must(results.QueryRow().Scan(&number))
		sum += number
	}
	must(results.Close())
	say("batch", sum)
}

func cancel(s session) {
	asleep, wake := context.WithCancel(background)
	go func() {
		other := open(s.driver)
		defer other.close()
		for other.one("select count(*) from pg_stat_activity"+
			" where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'") == 0 {
		}
		wake()
	}()
	_, err := s.conn.ExecContext(asleep, "select pg_sleep(20)")
	say("cancel", err != nil)
}

func large(s session) {
	size, err := strconv.Atoi(os.Getenv("DRIVER_LARGE"))
	must(err)
	text := strings.Repeat("x", size)
	var back string
	var length int
	must(s.conn.QueryRowContext(background, "select t, length(t) from (select $1::text t) x", text).
		Scan(&back, &length))
	same := "different"
	if back == text {
		same = "same"
	}
	say("large", length, same)
}

func terminated(s session) {
	err := s.run("select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)")
	say("terminated", state(err))
	s.close()
	next := open(s.driver)
	say("terminated.after", next.one("select 1"))
	next.close()
}

func crowd(driver string) {
	db, err := sql.Open(driver, "")
	must(err)
	db.SetMaxOpenConns(8)
	var workers sync.WaitGroup
	for n := 0; n < 8; n++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			conn, err := db.Conn(background)
			must(err)
			defer conn.Close()
			for n := 0; n < 20; n++ {
				tx, err := conn.BeginTx(background, nil)
				must(err)
				_, err = tx.Exec("insert into driver_rows values ($1)", 0)
				must(err)
				must(tx.Commit())
			}
		}()
	}
	workers.Wait()
	db.SetMaxIdleConns(0) // a pool gives way to the next
	s := open(driver)
	say("crowd", s.one("select count(*) from driver_rows where n = 0"))
	s.close()
	must(db.Close())
}

// The pool of pgx itself.
func pool() {
	pool, err := pgxpool.Connect(background, "pool_max_conns=4")
	must(err)
	defer pool.Close()
	var workers sync.WaitGroup
	for n := 0; n < 8; n++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for n := 0; n < 20; n++ {
				_, err := pool.Exec(background, "insert into driver_rows values ($1)", 7)
				must(err)
			}
		}()
	}
	workers.Wait()
	var count int
	must(pool.QueryRow(background, "select count(*) from driver_rows where n = 7").Scan(&count))
	say("pool", count)
}

func restart(driver string) {
	db, err := sql.Open(driver, "")
	must(err)
	db.SetMaxOpenConns(1)
	var number int
	must(db.QueryRow("select $1::int", 1).Scan(&number))
	say("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	for tries := 0; tries < 600; tries++ {
		if db.QueryRow("select $1::int", 1).Scan(&number) == nil {
			say("restart works")
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func main() {
	driver := os.Args[1]
	if driver == "postgres" && os.Getenv("PGSSLMODE") == "" {
		os.Setenv("PGSSLMODE", "disable") // lib/pq insists on TLS unless told otherwise
	}
	if len(os.Args) > 2 {
		restart(driver)
		return
	}
	s := open(driver)
	must(s.run("drop table if exists driver_rows; create table driver_rows (n int)"))
	types(s)
	prepared(s)
	transactions(s)
	must(s.run("truncate driver_rows"))
	if driver == "pgx" {
		copyByPgx()
		batch()
	} else {
		copyByPq(s)
	}
	say("copy.in", s.one("select sum(n) from driver_rows"))
	cancel(s)
	s.close()
	s = open(driver)
	say("cancel.after", s.one("select 1"))
	large(s)
	must(s.run("truncate driver_rows"))
	terminated(s)
	crowd(driver)
	if driver == "pgx" {
		pool()
	}
	s = open(driver)
	must(s.run("drop table driver_rows"))
	s.close()
}
