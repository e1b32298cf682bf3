/* feed_probe.c - the connection of a feed that asks for the end of the log, the snapshot and the
 * digests. */
#include "flight/feed_parts.h"

#include "machine/clock.h"

#include <string.h>

#define PROBE_BUFFER_MAX 262144u
#define PROBE_TEXT_MAX   1024u
/* A connection is given up whose server takes longer for one query. */
#define PROBE_ANSWER_MAX sec(5)
/* Between two probes that no ticket waits for. */
#define PROBE_IDLE sec(5)
/* Before a marker: a commit of a session that waits for its flush makes one needless.  While such
 * commits are told, the longer time. */
#define FLUSH_PAUSE ms(1)
#define FLUSH_MAX   ms(3)
/* After this time it is tried again whether sessions flush by themselves. */
#define LAZY_PAUSE ms(100)
/* Before a probe that only settles, or proves a new session; doubled while none helps. */
#define SETTLE_MIN ms(20)
#define SETTLE_MAX ms(200)

static const char probe_parameters[] =
    "application_name\0trunkline probe\0search_path\0pg_catalog\0synchronous_commit\0local\0"
    "default_transaction_read_only\0off\0default_transaction_isolation\0read committed\0"
    "plan_cache_mode\0force_generic_plan\0statement_timeout\0"
    "0\0lock_timeout\0"
    "0";

/* --- one probe -------------------------------------------------------------------------------- */

static fault probe_row(struct span body, void *to)
{
    return feed_read_probe(body, to);
}

static fault setup_row(struct span body, void *to)
{
    return feed_read_setup(body, to);
}

static fault marker_row(struct span body, void *to)
{
    return feed_read_marker(body, to);
}

static fault probe_prepare(struct feed_link *link, deadline by)
{
    struct wire_frame frame;
    TRY(feed_link_send(link, span_text(feed_probe_prepare()), by));
    do {
        TRY(feed_link_next(link, &frame, by));
    } while (frame.type != WIRE_READY);
    return OK;
}

/* Commits a marker.  Returns the id of its transaction. */
static fault probe_mark(struct feed *feed, uint64_t *ret)
{
    deadline by = after(PROBE_ANSWER_MAX);
    hint_add(&feed->shared.view.markers, 1);
    TRY(feed_link_send(&feed->probe, SPAN(FEED_MARKER_QUERY), by));
    return feed_link_rows(&feed->probe, marker_row, ret, by);
}

static fault probe_check_setup(struct feed *feed)
{
    bool there = false;
    TRY(feed_link_send(&feed->probe, span_text(feed_setup_query()), after(PROBE_ANSWER_MAX)));
    TRY(feed_link_rows(&feed->probe, setup_row, &there, after(PROBE_ANSWER_MAX)));
    if (!there)
        return fault_raise(FAULT_UNSUPPORTED, "the event triggers of the feed have been dropped, "
                                              "disabled or changed: run the setup again");
    return OK;
}

/* A change that no log tells: everything is raised, as if it had been told.  The first probe of a
 * session has nothing to compare.  The digest covers the event triggers too. */
static fault probe_compare(struct feed *feed)
{
    const struct feed_probe_row *row = &feed->row;
    bool fresh = row->digest[0] != '\0', first = feed->digest[0] == '\0';
    if (!fresh && (first || strcmp(feed->seen, row->seen) != 0))
        return fault_raise(FAULT_PROTOCOL, "a probe without a digest");
    bool roles = fresh && strcmp(feed->digest, row->digest) != 0;
    bool configured = strcmp(feed->configured, row->configured) != 0;
    memcpy(feed->seen, row->seen, sizeof(feed->seen));
    memcpy(feed->configured, row->configured, sizeof(feed->configured));
    if (roles)
        memcpy(feed->digest, row->digest, sizeof(feed->digest));
    if (roles)
        TRY(probe_check_setup(feed));
    if (first || !(roles || configured) || feed->doubt.hold != GENERATIONS_FREE)
        return OK;
    hint_add(&feed->shared.view.digests, 1);
    generations_raise(feed->generations, &feed->doubt);
    return OK;
}

/* Notes which position proves the session: all that began before its barrier has ended, so nothing
 * is left that was committed before the slot began and is not visible. */
static void probe_prove(struct feed *feed)
{
    if (feed->proven == 0 && feed->barrier != 0 && feed->row.snapshot.xmin > feed->barrier)
        feed->proven = feed_probe_position(feed);
}

static fault probe_understand(struct feed *feed)
{
    uint32_t before = feed_sets_unsettled(&feed->sets);
    TRY(probe_compare(feed));
    feed_sets_settle(&feed->sets, &feed->row.snapshot);
    uint32_t rest = feed_sets_unsettled(&feed->sets);
    hint_write(&feed->shared.view.unsettled, rest);
    bool helped = rest < before || rest == 0;
    feed->settle = helped ? SETTLE_MIN : (duration){MIN_OF(feed->settle.us * 2, SETTLE_MAX.us)};
    probe_prove(feed);
    uint64_t position = feed_probe_position(feed);
    feed_tickets_place(&feed->tickets, position);
    if (feed->untold.waits)
        feed_untold_probe(&feed->untold, &feed->row.snapshot, position);
    return OK;
}

/* (The time of an earlier one is over only if nothing was wanted meanwhile.) */
static void probe_note_unflushed(struct feed *feed, uint64_t position)
{
    if (feed->unflushed == 0 || now().us > feed->flush_by.us) {
        feed->unflushed = position;
        feed->unflushed_since = now();
        feed->flush_by = later(feed->unflushed_since, FLUSH_MAX);
    }
    feed->unflushed_last = position;
}

static fault probe_once(struct feed *feed)
{
    deadline by = after(PROBE_ANSWER_MAX);
    hint_add(&feed->shared.view.probes, 1);
    feed->probed = now();
    feed->probing = true;
    feed_tickets_send(&feed->tickets);
    struct buffer text = BUFFER_INIT(PROBE_TEXT_MAX);
    feed_put_probe(&text, feed->seen);
    fault sent = buffer_fault(&text);
    if (sent == OK)
        sent = feed_link_send(&feed->probe, buffer_span(&text), by);
    buffer_fini(&text);
    TRY(sent);
    TRY(feed_link_rows(&feed->probe, probe_row, &feed->row, by));
    feed->probing = false;
    TRY(probe_understand(feed));

    uint64_t position = feed_probe_position(feed), passed = feed->stream.passed;
    hint_write(&feed->shared.view.lag, position > passed ? position - passed : 0);
    feed->placed = now();
    feed_passed(feed);
    if (position > feed->row.flushed)
        probe_note_unflushed(feed, position);
    if (feed->wanted && feed->reader != NULL)
        co_wake(feed->reader);
    return OK;
}

/* --- what is not flushed ---------------------------------------------------------------------- */

/* What is not flushed isn't decoded, and may stay so for long.  Returns when a marker is due. */
static deadline probe_flush_due(struct feed *feed)
{
    uint64_t passed = feed->stream.passed;
    if (feed->unflushed != 0 && passed >= feed->unflushed) {
        feed->unflushed = 0;
        if (passed < feed->unflushed_last)
            probe_note_unflushed(feed, feed->unflushed_last);
    }
    if (feed->unflushed == 0 || !feed->wanted)
        return NEVER;
    if (now().us < feed->lazy_until.us)
        return now();
    deadline idle = later(feed->unflushed_since, FLUSH_PAUSE);
    deadline quiet = later(feed->committed, FLUSH_PAUSE);
    return earlier_of(feed->flush_by, quiet.us > idle.us ? quiet : idle);
}

static fault probe_flush(struct feed *feed)
{
    uint64_t id;
    if (now().us < probe_flush_due(feed).us)
        return OK;
    if (now().us >= feed->lazy_until.us)
        feed->lazy_until = after(LAZY_PAUSE);
    feed->unflushed = 0;
    return probe_mark(feed, &id);
}

/* --- when ------------------------------------------------------------------------------------- */

/* When the next probe is due if no ticket comes. */
static deadline probe_due(const struct feed *feed)
{
    bool waits = feed_sets_unsettled(&feed->sets) > 0 || feed->proven == 0;
    return later(feed->probed, waits ? feed->settle : PROBE_IDLE);
}

/* Suspends until a probe is to be sent. */
static fault probe_await(struct feed *feed)
{
    struct stream *stream = &feed->probe.stream;
    TRY(probe_flush(feed));
    while (list_empty(&feed->tickets.arrived) && now().us < probe_due(feed).us) {
        if (stream_hung_up(stream))
            return FAULT_CLOSED;
        stream->waker = co_waker(co_self());
        fault what = co_wait(earlier_of(probe_due(feed), probe_flush_due(feed)));
        stream->waker = NULL;
        if (what != OK && what != FAULT_TIMEOUT)
            return what;
        TRY(probe_flush(feed));
    }
    return OK;
}

/* Waits until the log is read.  What has been committed before that, and is not visible yet, was
 * begun before the barrier. */
static fault probe_begin(struct feed *feed)
{
    while (!feed->streams)
        TRY(co_wait(NEVER));
    feed->settle = SETTLE_MIN;
    return probe_mark(feed, &feed->barrier);
}

static fault probe_session(struct feed *feed)
{
    struct feed_link *link = &feed->probe;
    link->in = BUFFER_INIT(PROBE_BUFFER_MAX);
    link->out = BUFFER_INIT(4096);
    TRY(feed_link_open(feed, link, span_of(probe_parameters, sizeof(probe_parameters))));
    TRY(probe_prepare(link, after(PROBE_ANSWER_MAX)));
    TRY(probe_begin(feed));
    for (;;) {
        TRY(probe_once(feed));
        TRY(probe_await(feed));
    }
}

void feed_prober_run(void *argument)
{
    struct feed *feed = argument;
    feed->prober = co_self();
    fault what = probe_session(feed);
    feed->probing = false;
    feed->prober = NULL;
    feed_member_over(feed, "probe", what);
}
