/*
 * feed_print.c - reads a stream as the feed does and prints what it says, for comparisons with a
 * real server.
 *
 *     feed_print <PAYLOADS
 *
 * Each payload is behind its size in four bytes.  Prints a line per event, names and values as
 * hexadecimal digits.  Exits with 1 if the stream can't be understood.
 */
#include "flight/feed_stream.h"
#include "wire/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STREAM_MAX ((size_t)64 << 20)

static void print_hex(struct span text)
{
    putchar(' ');
    putchar('x');
    for (size_t i = 0; i < text.size; i++)
        printf("%02x", text.at[i]);
}

static void print_literal(struct span literal)
{
    struct buffer out = BUFFER_INIT(STREAM_MAX);
    feed_put_literal(&out, literal);
    print_hex(buffer_span(&out));
    buffer_fini(&out);
}

static void print_row(const char *which, struct feed_row row)
{
    struct feed_column column;
    if (!row.told)
        return;
    printf(" %s", which);
    while (feed_next_column(&row.columns, &column)) {
        print_hex(feed_name_span(&column.name));
        print_hex(column.type);
        if (column.value == FEED_VALUE)
            print_literal(column.literal);
        else
            printf(column.value == FEED_NULL ? " null" : " unchanged");
    }
}

static void print_text(const struct feed_text *text)
{
    static const char *const kinds[] = {
        [FEED_BEGIN] = "begin",
        [FEED_COMMIT] = "commit",
        [FEED_PREPARE] = "prepare",
        [FEED_COMMIT_PREPARED] = "commit_prepared",
        [FEED_ROLLBACK_PREPARED] = "rollback_prepared",
        [FEED_INSERT] = "insert",
        [FEED_UPDATE] = "update",
        [FEED_DELETE] = "delete",
        [FEED_TRUNCATE] = "truncate",
        [FEED_MESSAGE] = "message",
    };
    printf("%s", kinds[text->kind]);
    if (text->xid != 0)
        printf(" %" PRIu32, text->xid);
    if (text->gid.size > 0)
        print_literal(text->gid);
    struct span tables = text->tables;
    struct feed_table table;
    while (feed_next_table(&tables, &table)) {
        print_hex(feed_name_span(&table.schema));
        print_hex(feed_name_span(&table.name));
    }
    print_row("old", text->old_row);
    print_row("new", text->new_row);
    if (text->kind == FEED_MESSAGE) {
        printf(" %d", text->transactional);
        print_hex(text->prefix);
        print_hex(text->content);
    }
}

static void print_event(const struct feed_event *event)
{
    if (event->kind == FEED_EVENT_KEEPALIVE)
        return;
    if (event->kind == FEED_EVENT_UNKNOWN)
        printf("unknown");
    else
        print_text(&event->text);
    if (event->kind == FEED_EVENT_COMMIT)
        printf(" %" PRIu32 " %" PRIu32 " %d", event->changes, event->messages, event->unknown);
    putchar('\n');
}

int main(void)
{
    struct buffer in = BUFFER_INIT(STREAM_MAX);
    struct feed_reader reader = FEED_READER_INIT;
    struct feed_event event;
    for (int byte; (byte = getchar()) != EOF;)
        buffer_append_byte(&in, (uint8_t)byte);
    struct wire_reader payloads = wire_reader_over(buffer_span(&in));
    while (payloads.at < payloads.end) {
        struct span payload = wire_get_bytes(&payloads, wire_get_u32(&payloads));
        if (payloads.failed || feed_read(&reader, payload, &event) != OK) {
            printf("broken at %zu\n", (size_t)(payloads.at - in.at));
            return EXIT_FAILURE;
        }
        print_event(&event);
    }
    printf("passed %" PRIu64 "\n", reader.passed);
    buffer_fini(&in);
    return EXIT_SUCCESS;
}
