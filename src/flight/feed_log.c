/* feed_log.c - the connection of a feed that reads the log: its slot, and what it tells. */
#include "flight/feed_parts.h"

#include "machine/clock.h"
#include "machine/ids.h"

#include <inttypes.h>
#include <stdio.h>

/* A message of the log that is longer is cut to its first bytes, of which the reader understands
 * that something has changed. */
#define LOG_MESSAGE_MAX (1u << 20)
#define LOG_CUT         4096u
#define LOG_READ        65536u
#define LOG_BUFFER_MAX  (LOG_MESSAGE_MAX + LOG_READ + 1)

/* Before a keepalive is requested again, if the latest one has not moved the position. */
#define ASK_PAUSE ms(1)
/* While transactions are told at intervals below this, one of them will pass a position: no
 * keepalive is requested so long. */
#define FLOW_PAUSE ((duration){.us = 500})
/* Between two status updates without a request, and between two keepalives that no ticket waits
 * for.
 */
#define STATUS_PAUSE sec(2)
/* A connection is given up on which nothing has come for so long, though a keepalive was
 * requested. */
#define SILENCE_MAX sec(10)
#define ANSWER_MAX  sec(10)

#define POSTGRES_EPOCH_US INT64_C(946684800000000) /* 2000-01-01 since 1970 */

static const char log_parameters[] =
    "application_name\0trunkline feed\0replication\0database\0search_path\0pg_catalog\0"
    "statement_timeout\0"
    "0\0lock_timeout\0"
    "0\0wal_sender_timeout\0"
    "30s\0datestyle\0ISO\0intervalstyle\0postgres\0extra_float_digits\0"
    "3\0bytea_output\0hex\0quote_all_identifiers\0off";

/* --- the slot --------------------------------------------------------------------------------- */

/* Reads until ReadyForQuery, or until the log begins. */
static fault log_answer(struct feed_link *link, uint8_t until, deadline by)
{
    struct wire_frame frame;
    do {
        TRY(feed_link_next(link, &frame, by));
    } while (frame.type != until);
    return OK;
}

/* Makes the slot, which is gone with the connection.  The server waits for all transactions that
 * write at present, for as long as they take.  (The old form of the option is known to all
 * versions.) */
static fault log_create(struct feed *feed, const char *slot)
{
    char text[128];
    snprintf(text, sizeof(text),
             "CREATE_REPLICATION_SLOT \"%s\" TEMPORARY LOGICAL test_decoding NOEXPORT_SNAPSHOT",
             slot);
    feed_become(feed, FEED_CREATING);
    TRY(feed_link_send(&feed->log, span_text(text), after(ANSWER_MAX)));
    return log_answer(&feed->log, WIRE_READY, NEVER);
}

static fault log_start(struct feed *feed, const char *slot)
{
    struct feed_link *link = &feed->log;
    char text[256];
    int size = snprintf(text, sizeof(text), "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (%s)", slot,
                        FEED_OPTIONS);
    invariant(size > 0 && (size_t)size < sizeof(text));
    TRY(feed_link_send(link, span_text(text), after(ANSWER_MAX)));
    TRY(log_answer(link, WIRE_COPY_BOTH, after(ANSWER_MAX)));
    feed->streams = true;
    feed->heard = feed->told = now();
    feed_become(feed, FEED_PROVING);
    if (feed->prober != NULL)
        co_wake(feed->prober);
    return OK;
}

/* --- what it tells ---------------------------------------------------------------------------- */

/* A keepalive may answer the request, or come without one.  If it has not moved the position, the
 * next request waits a little. */
static void log_keepalive(struct feed *feed)
{
    feed->asked = false;
    bool moved = feed->stream.passed > feed->asked_at;
    feed->ask_again = moved ? now() : after(ASK_PAUSE);
}

static void log_count(struct feed *feed, const struct feed_event *event)
{
    struct feed_view *view = &feed->shared.view;
    if (event->reply)
        feed->told = (moment){0};
    if (event->kind == FEED_EVENT_KEEPALIVE)
        log_keepalive(feed);
    if (event->kind == FEED_EVENT_COMMIT) {
        feed->committed = now();
        hint_add(&view->transactions, 1);
        hint_add(&view->changes, event->changes);
    }
}

static fault log_take(struct feed *feed, struct span payload)
{
    struct feed_event event;
    hint_add(&feed->shared.view.bytes, payload.size);
    if (feed_read(&feed->stream, payload, &event) != OK)
        return fault_raise(FAULT_PROTOCOL, "the log's stream is not as test_decoding writes it");
    if (feed_sets_take(&feed->sets, &event) != OK)
        return fault_raise(FAULT_PROTOCOL, "the slot tells the phases of prepared transactions");
    if (event.kind == FEED_EVENT_COMMIT)
        feed_untold_tell(&feed->untold, event.text.xid);
    log_count(feed, &event);
    return OK;
}

static fault log_frame(struct feed *feed, const struct wire_frame *frame)
{
    struct wire_error error;
    switch (frame->type) {
    case WIRE_COPY_DATA:
        return log_take(feed, frame->body);
    case WIRE_NOTICE:
    case WIRE_PARAMETER_STATUS:
        return OK;
    case WIRE_ERROR:
        if (wire_read_error(frame->body, &error) != OK)
            return fault_raise(FAULT_PROTOCOL, "an error that can't be read");
        return fault_raise(FAULT_UPSTREAM, "%.*s (%.*s)", SPAN_ARG(error.message),
                           SPAN_ARG(error.sqlstate));
    default:
        return fault_raise(FAULT_CLOSED, "the server has ended the log's stream");
    }
}

/* Takes a message that is too long, of which enough is there: its first bytes, with an end that no
 * text has.  `rest` begins with its header. */
static fault log_cut(struct feed *feed, struct span rest)
{
    struct feed_link *link = &feed->log;
    uint8_t payload[LOG_CUT];
    if (rest.at[0] != WIRE_COPY_DATA || wire_u32(rest.at + 1) < 4)
        return fault_raise(FAULT_PROTOCOL, "malformed message in the log's stream");
    size_t size = (size_t)wire_u32(rest.at + 1) - 4;
    if (rest.size < WIRE_HEADER + LOG_CUT)
        return FAULT_AGAIN;
    invariant(size > LOG_CUT && size > rest.size - WIRE_HEADER);
    memcpy(payload, rest.at + WIRE_HEADER, LOG_CUT);
    payload[LOG_CUT - 1] = '\0';
    link->skip = size - (rest.size - WIRE_HEADER);
    link->taken = link->in.size;
    hint_add(&feed->shared.view.bytes, size - LOG_CUT);
    return log_take(feed, span_of(payload, LOG_CUT));
}

/* Takes all messages that are there. */
static fault log_take_all(struct feed *feed)
{
    struct feed_link *link = &feed->log;
    struct span rest = span_skip(buffer_span(&link->in), link->taken);
    for (;;) {
        struct wire_frame frame;
        fault what = wire_next_frame(&rest, LOG_MESSAGE_MAX, &frame);
        if (what == FAULT_AGAIN)
            return OK;
        if (what != OK) {
            fault cut = log_cut(feed, rest);
            return cut == FAULT_AGAIN ? OK : cut;
        }
        link->taken = link->in.size - rest.size;
        TRY(log_frame(feed, &frame));
    }
}

/* --- reading and asking ----------------------------------------------------------------------- */

/* When a keepalive may be requested. */
static deadline log_ask_from(const struct feed *feed)
{
    bool flows = now().us < later(feed->committed, FLOW_PAUSE).us;
    deadline from = flows ? later(feed->placed, FLOW_PAUSE) : feed->ask_again;
    return from.us > feed->ask_again.us ? from : feed->ask_again;
}

static bool log_may_ask(const struct feed *feed)
{
    return feed->wanted && !feed->asked && now().us >= log_ask_from(feed).us;
}

static bool log_must_tell(const struct feed *feed)
{
    return between(feed->told, now()).us >= STATUS_PAUSE.us;
}

/* When there is something to do though nothing has come. */
static deadline log_due(const struct feed *feed)
{
    deadline due = later(feed->told, STATUS_PAUSE);
    if (feed->asked)
        return earlier_of(due, later(feed->heard, SILENCE_MAX));
    return feed->wanted ? earlier_of(due, log_ask_from(feed)) : due;
}

/* Sends a status update if a position is wanted, if it is due, or if the server asked.  A
 * request may be answered from before the position, and is then repeated. */
static fault log_tell(struct feed *feed)
{
    struct feed_link *link = &feed->log;
    bool ask = log_may_ask(feed), tell = log_must_tell(feed);
    if (!ask && !tell)
        return OK;
    ask = ask || (tell && !feed->asked);
    int64_t wall = wall_now().us - POSTGRES_EPOCH_US;
    feed_put_status(&link->out, feed->stream.passed, wall, ask ? FEED_ANSWER : FEED_NO_ANSWER);
    feed->told = now();
    if (ask) {
        if (!feed->asked)
            feed->heard = now();
        feed->asked = true;
        feed->asked_at = feed->stream.passed;
        hint_add(&feed->shared.view.keepalives, 1);
    }
    return link_send(&link->stream, &link->out, after(ANSWER_MAX));
}

/* Reads some more bytes, at least one; those of a message that was cut are dropped. */
static fault log_read(struct feed *feed)
{
    struct feed_link *link = &feed->log;
    buffer_consume(&link->in, link->taken);
    link->taken = 0;
    uint8_t *room = buffer_room(&link->in, LOG_READ);
    if (room == NULL)
        return buffer_fault(&link->in);
    size_t got = 0;
    TRY(stream_read_some(&link->stream, room, LOG_READ, &got));
    feed->heard = now();
    size_t drop = MIN_OF(got, link->skip);
    link->skip -= drop;
    memmove(room, room + drop, got - drop);
    link->in.size += got - drop;
    return OK;
}

/* Suspends until bytes come, a position is wanted, or something is due. */
static fault log_wait(struct feed *feed)
{
    struct stream *stream = &feed->log.stream;
    fault flushed = stream_flush_some(stream);
    if (flushed != OK && flushed != FAULT_AGAIN)
        return flushed;
    if (stream_may_read(stream) || log_may_ask(feed) || log_must_tell(feed))
        return OK;
    stream->waker = co_waker(co_self());
    fault what = co_wait(log_due(feed));
    stream->waker = NULL;
    if (what != OK && what != FAULT_TIMEOUT)
        return what;
    if (feed->asked && between(feed->heard, now()).us >= SILENCE_MAX.us)
        return fault_raise(FAULT_TIMEOUT, "the server does not answer on the log's connection");
    return OK;
}

/* The session may become void while this connection suspends, because the other one is lost or a
 * new source has come: the open transaction is forgotten then, and its rest must not be taken. */
static fault log_follow(struct feed *feed)
{
    while (!feed->over) {
        TRY(log_take_all(feed));
        feed_passed(feed);
        TRY(log_tell(feed));
        fault what = log_read(feed);
        if (what == FAULT_AGAIN)
            what = log_wait(feed);
        else
            co_yield (); /* other feeds have a turn */
        TRY(what);
        if (co_cancelled())
            break;
    }
    return FAULT_CANCELLED;
}

static fault log_session(struct feed *feed)
{
    char slot[32];
    uint64_t number;
    random_bytes(&number, sizeof(number));
    snprintf(slot, sizeof(slot), "trunkline_%016" PRIx64, number);
    feed->log.in = BUFFER_INIT(LOG_BUFFER_MAX);
    feed->log.out = BUFFER_INIT(4096);
    TRY(feed_link_open(feed, &feed->log, span_of(log_parameters, sizeof(log_parameters))));
    TRY(log_create(feed, slot));
    TRY(log_start(feed, slot));
    return log_follow(feed);
}

void feed_reader_run(void *argument)
{
    struct feed *feed = argument;
    feed->reader = co_self();
    fault what = log_session(feed);
    feed->reader = NULL;
    feed_member_over(feed, "log", what);
}
