/* console_feed.c - SHOW FEED: the feeds of the databases with strict rules. */
#include "admin/console_parts.h"
#include "flight/flight_env.h"

static const struct console_column feed_columns[] = {
    {"service", COLUMN_TEXT, "name of the service"},
    {"database", COLUMN_TEXT,
     "name of the database at the servers; null: all, of a service whose writers are all inside"},
    {"state", COLUMN_TEXT,
     "`streaming`: strict answers can be given. Else each statement is executed: `off` (no strict "
     "one was yet), `connecting`, `creating` (the server waits for transactions that write), "
     "`proving` (the feed does), `failed`, `paused` (the service has no `feed_user` any more); "
     "`outdated`: the primary has changed, and no strict statement was executed since. Without a "
     "feed, of a service with `writers: inside`: `inside`, or `restart` (a reload has declared it "
     "or changed its servers, so it counts from the next start on)"},
    {"reason", COLUMN_TEXT, "the latest failure; null: none with this primary"},
    {"epoch", COLUMN_INT8, "number of the primary, from the start; grows by each change"},
    {"sessions", COLUMN_INT8, "times that it began to stream"},
    {"failures", COLUMN_INT8, "since it was streaming last"},
    {"transactions", COLUMN_INT8,
     "transactions that the log has told of; inside: those of clients that may have written"},
    {"changes", COLUMN_INT8,
     "changes of tables in them; inside: commits of which any table may be changed"},
    {"bytes", COLUMN_INT8, "of the log that were received"},
    {"probes", COLUMN_INT8, "questions how far the log is"},
    {"markers", COLUMN_INT8, "messages that were written into the log, to flush it"},
    {"keepalives", COLUMN_INT8, "answers that were requested from the sender of the log"},
    {"tickets", COLUMN_INT8, "questions of statements whether all that was committed is known"},
    {"ready", COLUMN_INT8, "of these: it was, in time"},
    {"bypasses", COLUMN_INT8, "of these: it was not, so the statement was executed"},
    {"digests", COLUMN_INT8, "changes of roles, defaults or the configuration that were noticed"},
    {"unsettled", COLUMN_INT4,
     "transactions that the log has told of, and that other sessions may not see yet; inside: "
     "those "
     "of lost connections that may not have ended"},
    {"unsettled_max", COLUMN_INT4, "most of them at a time"},
    {"lag", COLUMN_INT8, "bytes by which the log was behind at the latest probe"},
};
const struct console_view console_view_feed = CONSOLE_VIEW(feed_columns);

/* A feed follows another primary only when an execution has found it. */
static const char *state_of(const struct origin_view *view)
{
    enum feed_state state = view->feed.state;
    bool follows = state != FEED_OFF && state != FEED_PAUSED;
    return follows && view->feed.epoch != view->epoch ? "outdated" : feed_state_name(state);
}

static void write_row(struct table_sink *sink, const struct origin_view *view, const char *state)
{
    const struct feed_view *feed = &view->feed;
    table_span(sink, view->service);
    if (view->database.at == NULL)
        table_text(sink, NULL);
    else
        table_span(sink, view->database);
    table_text(sink, state);
    table_text(sink, feed->reason[0] == '\0' ? NULL : feed->reason);
    const uint64_t numbers[] = {
        view->epoch,      feed->sessions,  feed->failures,      feed->transactions,
        feed->changes,    feed->bytes,     feed->probes,        feed->markers,
        feed->keepalives, feed->tickets,   feed->ready,         feed->bypasses,
        feed->digests,    feed->unsettled, feed->unsettled_max, feed->lag,
    };
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        table_int(sink, (int64_t)numbers[i]);
    table_end_row(sink);
}

static void write_feed(void *argument, const struct origin_view *view)
{
    write_row(argument, view, state_of(view));
}

/* A service without feeds: its counts stand where those of a feed would. */
static void write_inside(void *argument, const struct inside_view *view)
{
    struct table_sink *sink = argument;
    struct origin_view origin = {.service = view->service};
    origin.feed.transactions = view->writes;
    origin.feed.changes = view->unlisted;
    origin.feed.unsettled = view->lost;
    write_row(sink, &origin, view->counts ? "inside" : "restart");
}

fault console_show_feed(struct console *console, struct console_result *result)
{
    struct flight_env *env = console_flights(console);
    if (env != NULL)
        origins_each(env->origins, write_feed, &result->sink);
    if (env != NULL)
        insides_each(env->insides, write_inside, &result->sink);
    return OK;
}
