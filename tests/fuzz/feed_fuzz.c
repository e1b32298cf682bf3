/* What the feed may tell.  The first byte is 't': the rest is one text of test_decoding; or 's':
 * the rest is payloads of a stream, each behind its size in two bytes. */
#include "flight/feed_stream.h"
#include "fuzz.h"
#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

static bool inside(struct span part, struct span whole)
{
    return part.size == 0 || (part.at >= whole.at && part.at + part.size <= whole.at + whole.size);
}

static void check_name(const struct feed_name *name)
{
    invariant(name->size > 0 && name->size <= FEED_NAME_MAX);
    invariant(memchr(name->at, '\0', name->size) == NULL);
}

static void check_literal(struct span literal, struct span text)
{
    struct buffer out = BUFFER_INIT(text.size + 1);
    invariant(literal.size > 0 && inside(literal, text));
    feed_put_literal(&out, literal);
    invariant(buffer_fault(&out) == OK && out.size <= literal.size);
    buffer_fini(&out);
}

static void check_row(struct feed_row row, struct span text)
{
    struct feed_column column, found;
    struct span columns = row.columns;
    invariant(inside(columns, text) && (row.told || columns.size == 0));
    while (feed_next_column(&columns, &column)) {
        check_name(&column.name);
        invariant(column.type.size > 0 && inside(column.type, text));
        if (column.value != FEED_VALUE)
            continue;
        check_literal(column.literal, text);
        struct span name = feed_name_span(&column.name);
        if (feed_find_columns(row, &name, 1, &found))
            invariant(span_equal(feed_name_span(&found.name), name));
    }
}

static void check_text(const struct feed_text *read, struct span text)
{
    struct span tables = read->tables;
    struct feed_table table;
    unsigned count = 0;
    for (; feed_next_table(&tables, &table); count++) {
        check_name(&table.schema);
        check_name(&table.name);
    }
    bool change = read->kind >= FEED_INSERT && read->kind <= FEED_TRUNCATE;
    invariant(change ? count > 0 : count == 0);
    invariant(count <= 1 || read->kind == FEED_TRUNCATE);
    invariant((read->kind < FEED_INSERT) == (read->xid != 0));
    invariant(read->kind == FEED_MESSAGE || read->prefix.size + read->content.size == 0);
    invariant(inside(read->prefix, text) && inside(read->content, text));
    check_row(read->old_row, text);
    check_row(read->new_row, text);
    if (read->gid.size > 0)
        check_literal(read->gid, text);
}

static void read_text(struct span text)
{
    struct feed_text read;
    if (feed_read_text(text, &read) == OK)
        check_text(&read, text);
}

static void read_stream(struct span rest)
{
    struct feed_reader reader = FEED_READER_INIT;
    struct feed_event event;
    while (rest.size >= 2) {
        size_t size = MIN_OF(wire_u16(rest.at), rest.size - 2);
        struct span payload = span_of(rest.at + 2, size);
        struct feed_reader before = reader;
        rest = span_skip(rest, 2 + size);
        if (feed_read(&reader, payload, &event) != OK) {
            invariant(reader.broken && reader.passed == before.passed);
            continue;
        }
        invariant(!before.broken && reader.passed >= before.passed);
        if (event.kind == FEED_EVENT_COMMIT)
            invariant(before.xid == event.text.xid && reader.xid == 0 &&
                      reader.passed >= event.position && event.unknown == before.unknown);
        else if (event.kind != FEED_EVENT_KEEPALIVE)
            invariant(reader.passed == before.passed);
        if (event.kind != FEED_EVENT_KEEPALIVE && event.kind != FEED_EVENT_UNKNOWN)
            check_text(&event.text, payload);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *memory;
    if (size == 0)
        return 0;
    struct span input = fuzz_copy(data, size, &memory), rest = span_skip(input, 1);
    if (*input.at == 's')
        read_stream(rest);
    else
        read_text(rest);
    free(memory);
    return 0;
}
