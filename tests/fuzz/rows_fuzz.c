/* Rows in which a server says what it is and how far it is.  The first byte is the query: 'f'
 * facts, 'p' probe, 'm' marker: the rest is the body of a row; 's': the rest is a snapshot; 'c':
 * the question in front of a strict statement, the rest is replies, each a type, a size in two
 * bytes, a byte that says where the reply is cut in two, and its body. */
#include "base/check.h"
#include "flight/feed_query.h"
#include "fuzz.h"
#include "relay/flight/flight_check_parts.h"
#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

/* --- rows of a feed --------------------------------------------------------------------------- */

/* Ids in use are less than so many apart. */
#define IDS (UINT64_C(1) << 31)

static void check_snapshot(const struct feed_snapshot *snapshot)
{
    invariant(snapshot->count <= FEED_RUNNING_MAX);
    for (uint32_t i = 0; i < snapshot->count; i++) {
        uint64_t running = snapshot->running[i];
        invariant(running >= snapshot->xmin && running < snapshot->xmax);
        invariant(i == 0 || running > snapshot->running[i - 1]);
        if (snapshot->xmax - running < IDS) /* else a later one has the same lower half */
            invariant(!feed_snapshot_has(snapshot, (uint32_t)running, (uint32_t)running));
    }
    if (snapshot->xmax > 0)
        invariant(!feed_snapshot_has(snapshot, (uint32_t)snapshot->xmax, (uint32_t)snapshot->xmax));
}

static void read_row(uint8_t query, struct span body)
{
    struct feed_facts facts;
    static struct feed_probe_row row;
    struct feed_snapshot snapshot;
    uint64_t xid;
    if (query == 'f' && feed_read_facts(body, &facts) == OK)
        (void)feed_facts_refusal(&facts);
    if (query == 'p' && feed_read_probe(body, &row) == OK) {
        invariant(strlen(row.digest) <= FEED_DIGEST_MAX);
        check_snapshot(&row.snapshot);
    }
    if (query == 'm')
        (void)!feed_read_marker(body, &xid);
    if (query == 's' && feed_read_snapshot(body, &snapshot) == OK)
        check_snapshot(&snapshot);
}

/* --- the question in front of a statement ----------------------------------------------------- */

static unsigned found; /* times that the question was answered */

static fault on_found(struct flight_check *check)
{
    found += 1;
    invariant(flight_check_done(check));
    return OK;
}

static fault on_part(struct flight_sink *sink UNUSED, const struct flight_part *part)
{
    invariant(part->bytes.size > 0);
    return OK;
}

static void on_drained(struct flight_sink *sink UNUSED)
{
}

/* Gives one reply, in one part or two. */
static fault give(struct flight_check *check, uint8_t type, struct span body, uint8_t cut)
{
    struct buffer message = BUFFER_INIT(70000);
    size_t start = wire_begin(&message, type);
    wire_put_bytes(&message, body);
    wire_end(&message, start);
    size_t first = MIN_OF(WIRE_HEADER + (size_t)cut, message.size);
    struct flight_part part = {type, true, first == message.size, span_of(message.at, first)};
    fault given = check->sink.part(&check->sink, &part);
    if (given == OK && !part.last) {
        part = (struct flight_part){type, false, true, span_skip(buffer_span(&message), first)};
        given = check->sink.part(&check->sink, &part);
    }
    buffer_fini(&message);
    return given;
}

static void read_replies(struct span rest)
{
    struct flight_sink inner = {on_part, on_drained};
    struct flight_check check;
    fault given = OK;
    const struct flight_name unnamed = FLIGHT_UNNAMED;
    flight_check_init(&check, &unnamed, &inner, on_found);
    found = 0;
    while (rest.size >= 4 && given == OK) {
        size_t size = MIN_OF(wire_u16(rest.at + 1), rest.size - 4);
        given = give(&check, rest.at[0], span_of(rest.at + 4, size), rest.at[3]);
        rest = span_skip(rest, 4 + size);
    }
    invariant(found == (flight_check_done(&check) ? 1u : 0u));
    flight_check_fini(&check);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *memory;
    if (size == 0)
        return 0;
    struct span input = fuzz_copy(data, size, &memory), rest = span_skip(input, 1);
    if (*input.at == 'c')
        read_replies(rest);
    else
        read_row(*input.at, rest);
    free(memory);
    return 0;
}
