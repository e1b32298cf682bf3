#include "flight/feed_stream.h"

#include "wire/message.h"

/* Pages of the log, and their headers: a segment begins with the longer one. */
#define PAGE_SIZE        8192u
#define PAGE_HEADER      24u
#define SEGMENT_HEADER   40u
#define SEGMENT_SIZE_MIN (1u << 20)

static uint64_t get_u64(struct wire_reader *in)
{
    uint64_t high = wire_get_u32(in);
    return high << 32 | wire_get_u32(in);
}

static void put_u64(struct buffer *out, uint64_t value)
{
    wire_put_u32(out, (uint32_t)(value >> 32));
    wire_put_u32(out, (uint32_t)value);
}

/* --- transactions ----------------------------------------------------------------------------- */

static bool begin(struct feed_reader *reader, struct feed_event *event)
{
    if (reader->xid != 0)
        return false;
    reader->xid = event->text.xid;
    reader->changes = reader->messages = 0;
    reader->unknown = false;
    event->kind = FEED_EVENT_BEGIN;
    return true;
}

static bool commit(struct feed_reader *reader, struct feed_event *event)
{
    if (reader->xid == 0 || reader->xid != event->text.xid || event->position <= reader->committed)
        return false;
    reader->xid = 0;
    reader->committed = event->position;
    reader->passed = MAX_OF(reader->passed, event->position);
    event->kind = FEED_EVENT_COMMIT;
    event->changes = reader->changes;
    event->messages = reader->messages;
    event->unknown = reader->unknown;
    return true;
}

/* A text that belongs to no transaction, or ends one without its commit. */
static bool prepared(struct feed_reader *reader, const struct feed_event *event)
{
    if (event->text.kind != FEED_PREPARE)
        return reader->xid == 0;
    bool ended = reader->xid != 0 && reader->xid == event->text.xid;
    reader->xid = 0;
    return ended;
}

static bool counted(uint32_t *count)
{
    *count += *count < UINT32_MAX;
    return true;
}

static bool follow(struct feed_reader *reader, struct feed_event *event)
{
    event->kind = FEED_EVENT_TEXT;
    switch (event->text.kind) {
    case FEED_BEGIN:
        return begin(reader, event);
    case FEED_COMMIT:
        return commit(reader, event);
    case FEED_PREPARE:
    case FEED_COMMIT_PREPARED:
    case FEED_ROLLBACK_PREPARED:
        return prepared(reader, event);
    case FEED_MESSAGE:
        if (!event->text.transactional)
            return reader->xid == 0;
        return reader->xid != 0 && counted(&reader->messages);
    case FEED_INSERT:
    case FEED_UPDATE:
    case FEED_DELETE:
    case FEED_TRUNCATE:
        return reader->xid != 0 && counted(&reader->changes);
    }
    return false;
}

/* A text that isn't understood is a change, of anything, while a transaction is open; unless it
 * may be the end of it. */
static bool unknown(struct feed_reader *reader, struct span text, struct feed_event *event)
{
    static const char *const heads[] = {"table ", "message: "};
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        if (reader->xid != 0 && span_starts(text, span_text(heads[i]))) {
            reader->unknown = true;
            event->kind = FEED_EVENT_UNKNOWN;
            return true;
        }
    }
    return false;
}

/* --- the stream ------------------------------------------------------------------------------- */

static bool read_data(struct feed_reader *reader, struct wire_reader *in, struct feed_event *event)
{
    uint64_t start = get_u64(in);
    event->position = get_u64(in);
    event->sent = (int64_t)get_u64(in);
    struct span text = wire_get_rest(in);
    if (in->failed || start != event->position || start == 0)
        return false;
    if (feed_read_text(text, &event->text) != OK)
        return unknown(reader, text, event);
    return follow(reader, event);
}

/* One that is sent within a transaction's texts may tell of what was read before; it can't tell of
 * the open one, whose commit moves the position. */
static bool read_keepalive(struct feed_reader *reader, struct wire_reader *in,
                           struct feed_event *event)
{
    event->kind = FEED_EVENT_KEEPALIVE;
    event->position = get_u64(in);
    event->sent = (int64_t)get_u64(in);
    uint8_t reply = wire_get_u8(in);
    if (wire_done(in) != OK || reply > 1)
        return false;
    event->reply = reply == 1;
    if (reader->xid == 0)
        reader->passed = MAX_OF(reader->passed, event->position);
    return true;
}

fault feed_read(struct feed_reader *reader, struct span payload, struct feed_event *ret)
{
    struct wire_reader in = wire_reader_over(payload);
    struct feed_event event = {0};
    uint64_t passed = reader->passed;
    uint8_t type = wire_get_u8(&in);
    bool understood = !reader->broken;
    if (type == 'w')
        understood = understood && read_data(reader, &in, &event);
    else
        understood = understood && type == 'k' && read_keepalive(reader, &in, &event);
    invariant(reader->passed >= passed);
    if (!understood) {
        reader->broken = true;
        return FAULT_PROTOCOL;
    }
    *ret = event;
    return OK;
}

void feed_put_status(struct buffer *out, uint64_t position, int64_t now, enum feed_answer wanted)
{
    size_t start = wire_begin(out, WIRE_COPY_DATA);
    wire_put_u8(out, 'r');
    put_u64(out, position); /* written */
    put_u64(out, position); /* flushed */
    put_u64(out, position); /* applied */
    put_u64(out, (uint64_t)now);
    wire_put_u8(out, wanted == FEED_ANSWER);
    wire_end(out, start);
}

uint64_t feed_position_normalised(uint64_t position, uint64_t segment_size)
{
    invariant(segment_size >= SEGMENT_SIZE_MIN && IS_POWER_OF_TWO(segment_size));
    if (position % segment_size == SEGMENT_HEADER)
        return position - SEGMENT_HEADER;
    if (position % PAGE_SIZE == PAGE_HEADER && position % segment_size > PAGE_SIZE)
        return position - PAGE_HEADER;
    return position;
}
