/* feed_link.c - one connection of a feed: its login, and queries over it. */
#include "flight/feed_parts.h"

#include "machine/clock.h"

#include <inttypes.h>

/* Of any message but those of the log, which are cut (feed_reader.c). */
#define LINK_MESSAGE_MAX 65536u
#define LINK_READ        4096u
#define LINK_LOGIN_MAX   sec(10)

fault feed_link_send(struct feed_link *link, struct span text, deadline by)
{
    wire_put_query(&link->out, text);
    return link_send(&link->stream, &link->out, by);
}

static fault link_fill(struct feed_link *link, deadline by)
{
    buffer_consume(&link->in, link->taken);
    link->taken = 0;
    uint8_t *room = buffer_room(&link->in, LINK_READ);
    if (room == NULL)
        return buffer_fault(&link->in);
    size_t got = 0;
    TRY(stream_read(&link->stream, room, LINK_READ, &got, by));
    link->in.size += got;
    return OK;
}

static fault link_error(struct span body)
{
    struct wire_error error;
    if (wire_read_error(body, &error) != OK)
        return fault_raise(FAULT_PROTOCOL, "an error that can't be read");
    return fault_raise(FAULT_UPSTREAM, "%.*s (%.*s)", SPAN_ARG(error.message),
                       SPAN_ARG(error.sqlstate));
}

fault feed_link_next(struct feed_link *link, struct wire_frame *ret, deadline by)
{
    for (;;) {
        struct span rest = span_skip(buffer_span(&link->in), link->taken);
        fault what = wire_next_frame(&rest, LINK_MESSAGE_MAX, ret);
        if (what == FAULT_AGAIN) {
            TRY(link_fill(link, by));
            continue;
        }
        if (what != OK)
            return fault_raise(what, "malformed message, or one of more than %u bytes",
                               LINK_MESSAGE_MAX);
        link->taken = link->in.size - rest.size;
        if (ret->type == WIRE_ERROR)
            return link_error(ret->body);
        if (ret->type != WIRE_NOTICE && ret->type != WIRE_PARAMETER_STATUS)
            return OK;
    }
}

fault feed_link_rows(struct feed_link *link, fault (*row)(struct span body, void *to), void *to,
                     deadline by)
{
    uint32_t rows = 0;
    for (;;) {
        struct wire_frame frame;
        TRY(feed_link_next(link, &frame, by));
        if (frame.type == WIRE_READY)
            break;
        if (frame.type != WIRE_DATA_ROW)
            continue;
        if (row(frame.body, to) != OK)
            return fault_raise(FAULT_PROTOCOL, "a row that can't be read");
        rows += 1;
    }
    return rows == 1 ? OK : fault_raise(FAULT_PROTOCOL, "%u rows, not one", rows);
}

/* --- logging in ------------------------------------------------------------------------------- */

static fault facts_row(struct span body, void *to)
{
    return feed_read_facts(body, to);
}

/* Whether both connections reached the server that was meant. */
static fault facts_check(const struct feed *feed, const struct feed_facts *facts)
{
    const struct feed_source *source = feed->source;
    const char *refusal = feed_facts_refusal(facts);
    if (refusal != NULL)
        return fault_raise(FAULT_UNSUPPORTED, "%s", refusal);
    bool same = (source->system == 0 || source->system == facts->system) &&
                (source->timeline == 0 || source->timeline == facts->timeline) &&
                (source->instance == 0 || source->instance == facts->instance);
    const struct feed_link *links[] = {&feed->log, &feed->probe};
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        if (links[i]->known)
            same = same && links[i]->facts.system == facts->system &&
                   links[i]->facts.timeline == facts->timeline &&
                   links[i]->facts.instance == facts->instance;
    if (same)
        return OK;
    return fault_raise(FAULT_UNSUPPORTED,
                       "another server than the primary answers: system %" PRIu64
                       ", timeline %u, started at %" PRIu64,
                       facts->system, facts->timeline, facts->instance);
}

fault feed_link_open(struct feed *feed, struct feed_link *link, struct span parameters)
{
    deadline by = after(LINK_LOGIN_MAX);
    struct link_reported said;
    struct link_login login = {
        .target = &feed->source->target,
        .user = feed->source->user,
        .database = feed->source->database,
        .parameters = parameters,
        .secret = &feed->source->secret,
    };
    TRY(link_login(&link->stream, &login, &said, by));
    buffer_fini(&said.parameters);
    link->pid = said.pid;
    link->cancel = said.secret;
    TRY(feed_link_send(link, span_text(feed_facts_query()), by));
    struct feed_facts facts = {0};
    TRY(feed_link_rows(link, facts_row, &facts, by));
    TRY(facts_check(feed, &facts));
    link->facts = facts;
    link->known = true;
    return OK;
}

void feed_link_close(struct feed_link *link)
{
    stream_close(&link->stream);
    buffer_fini(&link->in);
    buffer_fini(&link->out);
    link->taken = link->skip = 0;
    link->known = false;
}
