/*
 * main.c - libpq as programs in C use it: blocking, async (polled), or in pipeline mode.
 *
 * usage: libpq blocking|async|pipeline [restart]; the environment names the database (PGHOST ...).
 * Prints lines of "case value"; see docs/drivers.md.
 */
#include <libpq-fe.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKING, ASYNC, PIPELINE };
static int way;

static void die(const char *what, const char *why)
{
    printf("FAILED %s: %s\n", what, why);
    exit(1);
}

/* Waits until the socket has something to read (or, with output pending, can take it). */
static void wait_for(PGconn *c)
{
    int pending = PQflush(c);
    struct pollfd p = {PQsocket(c), POLLIN | (pending > 0 ? POLLOUT : 0), 0};
    if (poll(&p, 1, 30000) <= 0)
        die("poll", "nothing came in 30 s");
    if ((p.revents & POLLIN) != 0 && !PQconsumeInput(c))
        return;
}

static PGconn *connect_async(void)
{
    const char *none[] = {NULL};
    PGconn *c = PQconnectStartParams(none, none, 0);
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
        struct pollfd p = {PQsocket(c), state == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};
        poll(&p, 1, 30000);
        state = PQconnectPoll(c);
    }
    PQsetnonblocking(c, 1);
    return c;
}

static PGconn *try_connect(void)
{
    const char *none[] = {NULL};
    PGconn *c = way == ASYNC ? connect_async() : PQconnectdbParams(none, none, 0);
    if (PQstatus(c) == CONNECTION_OK && way == PIPELINE && !PQenterPipelineMode(c))
        die("pipeline", PQerrorMessage(c));
    return c;
}

static PGconn *connect_now(void)
{
    PGconn *c = try_connect();
    if (PQstatus(c) != CONNECTION_OK)
        die("connect", PQerrorMessage(c));
    return c;
}

/* The last result of what is under way; a pipeline is read to its sync. */
static PGresult *finish(PGconn *c)
{
    PGresult *kept = NULL, *r;
    for (;;) {
        if (way == ASYNC)
            while (PQisBusy(c) && PQstatus(c) == CONNECTION_OK)
                wait_for(c);
        r = PQgetResult(c);
        if (r == NULL) {
            if (way != PIPELINE || PQstatus(c) != CONNECTION_OK)
                return kept;
            continue;
        }
        ExecStatusType status = PQresultStatus(r);
        if (status == PGRES_PIPELINE_SYNC) {
            PQclear(r);
            return kept;
        }
        PQclear(kept);
        kept = r;
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT)
            return kept;
    }
}

static PGresult *exec_params(PGconn *c, const char *sql, int n, const char *const *values,
                             const int *lengths, const int *formats)
{
    if (way == BLOCKING)
        return PQexecParams(c, sql, n, NULL, values, lengths, formats, 0);
    if (!PQsendQueryParams(c, sql, n, NULL, values, lengths, formats, 0))
        return NULL;
    if (way == PIPELINE)
        PQpipelineSync(c);
    return finish(c);
}

static PGresult *query(PGconn *c, const char *sql)
{
    if (way == ASYNC)
        return PQsendQuery(c, sql) ? finish(c) : NULL;
    if (way == BLOCKING)
        return PQexec(c, sql);
    return exec_params(c, sql, 0, NULL, NULL, NULL);
}

static void must(PGconn *c, const char *sql)
{
    PGresult *r = query(c, sql);
    ExecStatusType status = PQresultStatus(r);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        die(sql, PQerrorMessage(c));
    PQclear(r);
}

static const char *state_of(PGconn *c, const char *sql, char text[6])
{
    PGresult *r = query(c, sql);
    const char *state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    snprintf(text, 6, "%s", state != NULL ? state : "none");
    PQclear(r);
    return text;
}

static long number(PGconn *c, const char *sql)
{
    PGresult *r = query(c, sql);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        die(sql, PQerrorMessage(c));
    long value = strtol(PQgetvalue(r, 0, 0), NULL, 10);
    PQclear(r);
    return value;
}

static void types(PGconn *c)
{
    const char *values[] = {"42", "grüße", "\xde\xad\0\xef", "12345.6789", NULL, "{1,NULL,3}"};
    const int lengths[] = {2, 0, 4, 0, 0, 0}, formats[] = {0, 0, 1, 0, 0, 0};
    PGresult *r = exec_params(
        c,
        "select $1::int8, $2::text, $3::bytea, $4::numeric, $5::int, $6::int[], 1.5::float4,"
        " 0.1::float8, timestamptz '2024-02-29 12:34:56.789+00' at time zone 'UTC',"
        " '{\"a\": [1, 2]}'::jsonb, true, '-infinity'::float8",
        6, values, lengths, formats);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        die("types", PQerrorMessage(c));
    for (int i = 0; i < PQnfields(r); i++)
        printf("types.%d %u %s\n", i, PQftype(r, i),
               PQgetisnull(r, 0, i) ? "null" : PQgetvalue(r, 0, i));
    PQclear(r);
}

static long run_prepared(PGconn *c, const char *name, const char *value)
{
    PGresult *r;
    if (way == BLOCKING) {
        r = PQexecPrepared(c, name, 1, &value, NULL, NULL, 0);
    } else {
        PQsendQueryPrepared(c, name, 1, &value, NULL, NULL, 0);
        if (way == PIPELINE)
            PQpipelineSync(c);
        r = finish(c);
    }
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        die(name, PQerrorMessage(c));
    long sum = strtol(PQgetvalue(r, 0, 0), NULL, 10);
    PQclear(r);
    return sum;
}

static void prepare(PGconn *c, const char *name, const char *sql)
{
    PGresult *r;
    if (way == BLOCKING) {
        r = PQprepare(c, name, sql, 0, NULL);
    } else {
        PQsendPrepare(c, name, sql, 0, NULL);
        if (way == PIPELINE)
            PQpipelineSync(c);
        r = finish(c);
    }
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        die(name, PQerrorMessage(c));
    PQclear(r);
}

static void prepared(PGconn *c)
{
    long sum = 0;
    char name[40], sql[80], value[20];
    prepare(c, "repeated", "select $1::int");
    for (int i = 1; i <= 20; i++) {
        snprintf(value, sizeof value, "%d", i);
        sum += run_prepared(c, "repeated", value);
    }
    printf("prepared.repeated %ld\n", sum);
    sum = 0;
    for (int i = 1; i <= 200; i++) {
        snprintf(name, sizeof name, "many %d", i);
        snprintf(sql, sizeof sql, "select $1::int * %d", i);
        prepare(c, name, sql);
    }
    for (int i = 1; i <= 200; i++) {
        snprintf(name, sizeof name, "many %d", i);
        sum += run_prepared(c, name, "1");
    }
    printf("prepared.many %ld\n", sum);
}

static void transactions(PGconn *c)
{
    char one[6], two[6];
    must(c, "begin");
    must(c, "insert into driver_rows values (1)");
    must(c, "commit");
    printf("transactions.commit %ld\n", number(c, "select count(*) from driver_rows"));
    must(c, "begin");
    must(c, "insert into driver_rows values (2)");
    must(c, "rollback");
    printf("transactions.rollback %ld\n", number(c, "select count(*) from driver_rows"));
    must(c, "begin");
    state_of(c, "select 1/0", one);
    state_of(c, "select 1", two);
    must(c, "rollback");
    printf("transactions.error %s %s\n", one, two);
    printf("transactions.after %ld\n", number(c, "select count(*) from driver_rows"));
}

/* A burst without waiting: what stands behind the error up to the sync is not done. */
static void burst(PGconn *c)
{
    const char *texts[] = {"select 1", "select 1/0", "select 2", NULL, "select 3"};
    for (size_t i = 0; i < 5; i++) {
        if (texts[i] == NULL)
            PQpipelineSync(c);
        else
            PQsendQueryParams(c, texts[i], 0, NULL, NULL, NULL, NULL, 0);
    }
    PQpipelineSync(c);
    printf("pipeline.burst");
    for (int syncs = 0; syncs < 2;) {
        PGresult *r = PQgetResult(c);
        if (r == NULL)
            continue;
        printf(" %s", PQresStatus(PQresultStatus(r)));
        syncs += PQresultStatus(r) == PGRES_PIPELINE_SYNC;
        PQclear(r);
    }
    printf("\n");
}

static void put(PGconn *c, const char *data, int length)
{
    while (PQputCopyData(c, data, length) == 0)
        wait_for(c);
}

static void copy(PGconn *c)
{
    char line[32], *row;
    long bytes = 0;
    if (way == PIPELINE && !PQexitPipelineMode(c))
        die("exit pipeline", PQerrorMessage(c));
    int before = way;
    way = way == PIPELINE ? BLOCKING : way;
    must(c, "truncate driver_rows");
    PQclear(query(c, "copy driver_rows from stdin"));
    for (int i = 1; i <= 10000; i++)
        put(c, line, snprintf(line, sizeof line, "%d\n", i));
    while (PQputCopyEnd(c, NULL) == 0)
        wait_for(c);
    PQclear(finish(c));
    printf("copy.in %ld\n", number(c, "select sum(n) from driver_rows"));
    PQclear(query(c, "copy driver_rows to stdout"));
    for (int n; (n = PQgetCopyData(c, &row, way == ASYNC)) != -1;) {
        if (n == 0)
            wait_for(c);
        if (n <= 0)
            continue;
        bytes += n;
        PQfreemem(row);
    }
    PQclear(finish(c));
    printf("copy.out %ld\n", bytes);
    PQclear(query(c, "copy driver_rows from stdin"));
    put(c, "x\n", 2);
    PQputCopyEnd(c, "no more");
    PGresult *r = finish(c);
    printf("copy.refused %s\n", PQresultErrorField(r, PG_DIAG_SQLSTATE));
    PQclear(r);
    way = before;
    if (way == PIPELINE)
        PQenterPipelineMode(c);
}

static void *cancel_asleep(void *argument)
{
    char why[256];
    PGcancel *cancel = argument;
    PGconn *other = connect_now();
    while (number(other, "select count(*) from pg_stat_activity where "
                         "query = 'select pg_sleep(20)' and wait_event = 'PgSleep'") == 0)
        continue;
    PQfinish(other);
    if (!PQcancel(cancel, why, sizeof why))
        die("cancel", why);
    return NULL;
}

static void cancel(PGconn *c)
{
    char state[6];
    pthread_t thread;
    PGcancel *key = PQgetCancel(c);
    pthread_create(&thread, NULL, cancel_asleep, key);
    printf("cancel %s\n", state_of(c, "select pg_sleep(20)", state));
    pthread_join(thread, NULL);
    PQfreeCancel(key);
    printf("cancel.after %ld\n", number(c, "select 1"));
}

static void large(PGconn *c)
{
    size_t size = strtoul(getenv("DRIVER_LARGE"), NULL, 10);
    char *text = malloc(size + 1);
    memset(text, 'x', size);
    text[size] = 0;
    const char *values[] = {text};
    PGresult *r = exec_params(c, "select $1::text, length($1::text)", 1, values, NULL, NULL);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        die("large", PQerrorMessage(c));
    printf("large %s %s\n", PQgetvalue(r, 0, 1),
           strcmp(PQgetvalue(r, 0, 0), text) == 0 ? "same" : "different");
    PQclear(r);
    free(text);
}

static PGconn *terminated(PGconn *c)
{
    char state[6];
    printf("terminated %s\n",
           state_of(c, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)", state));
    PQfinish(c);
    c = connect_now();
    printf("terminated.after %ld\n", number(c, "select 1"));
    return c;
}

static void *work(void *argument)
{
    PGconn *c = connect_now();
    (void)argument;
    for (int i = 0; i < 20; i++) {
        must(c, "begin");
        must(c, "insert into driver_rows values (0)");
        must(c, "commit");
    }
    PQfinish(c);
    return NULL;
}

static void crowd(void)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    PGconn *c = connect_now();
    printf("crowd %ld\n", number(c, "select count(*) from driver_rows where n = 0"));
    must(c, "drop table driver_rows");
    PQfinish(c);
}

static int restart(void)
{
    PGconn *c = connect_now();
    must(c, "select 1");
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF)
        return 1;
    for (int tries = 0; tries < 600; tries++) {
        PGresult *r = PQstatus(c) == CONNECTION_OK ? query(c, "select 1") : NULL;
        int good = PQresultStatus(r) == PGRES_TUPLES_OK;
        PQclear(r);
        if (good) {
            puts("restart works");
            PQfinish(c);
            return 0;
        }
        PQfinish(c);
        poll(NULL, 0, 50);
        c = try_connect();
    }
    die("restart", PQerrorMessage(c));
    return 1;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    way = argc < 2 || strcmp(argv[1], "blocking") == 0 ? BLOCKING
          : strcmp(argv[1], "async") == 0              ? ASYNC
                                                       : PIPELINE;
    if (argc > 2)
        return restart();
    PGconn *c = connect_now();
    must(c, "drop table if exists driver_rows");
    must(c, "create table driver_rows (n int)");
    types(c);
    prepared(c);
    transactions(c);
    if (way == PIPELINE)
        burst(c);
    copy(c);
    cancel(c);
    large(c);
    c = terminated(c);
    must(c, "truncate driver_rows");
    PQfinish(c);
    crowd();
    return 0;
}
