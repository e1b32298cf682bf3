/* console_reads.c - SHOW READS: where the reads of pools went whose route splits them. */
#include "admin/console_parts.h"
#include "relay/relay.h"

#include <stdio.h>

/* Records that are written before other coroutines of this relay run. */
#define RECORDS_AT_A_TIME 64
/* PostgreSQL truncates longer names. */
#define NAME_SIZE 64

static const struct console_column reads_columns[] = {
    {"relay", COLUMN_INT4, "number of the relay"},
    {"database", COLUMN_TEXT, "database that the clients requested"},
    {"user", COLUMN_TEXT, "user name that the clients logged in as"},
    {"route", COLUMN_INT4, "line of the clients' route in the configuration file"},
    {"replica", COLUMN_INT8, "reads, and transactions that read, sent to a server of `reads`"},
    {"behind", COLUMN_INT8,
     "reads sent to the primary, because no replica was known to have what the client has seen"},
    {"again", COLUMN_INT8, "reads sent to the primary after a replica had failed to run them"},
    {"refused", COLUMN_INT8,
     "reads sent to the primary because their like has failed on a replica"},
};
const struct console_view console_view_reads = CONSOLE_VIEW(reads_columns);

struct record {
    uint32_t relay;
    uint32_t line;
    char database[NAME_SIZE];
    char user[NAME_SIZE];
    uint64_t sent, behind, again, refused;
};

static void gather_pool(struct buffer *records, const struct relay *relay,
                        const struct local_pool *pool)
{
    struct record record = {
        .relay = relay->index,
        .line = pool->route->line,
        .sent = pool->reads.sent,
        .behind = pool->reads.behind,
        .again = pool->reads.again,
        .refused = pool->reads.refused,
    };
    snprintf(record.database, sizeof(record.database), "%s", pool->database);
    snprintf(record.user, sizeof(record.user), "%s", pool->user);
    /* Copies the whole record or nothing, so that records can be read back. */
    uint8_t *at = buffer_room(records, sizeof(record));
    if (at == NULL)
        return;
    memcpy(at, &record, sizeof(record));
    records->size += sizeof(record);
}

static void look_at_reads(struct relay *relay, void *argument)
{
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        if (pool->route->aside != NULL)
            gather_pool(argument, relay, pool);
    }
}

fault console_show_reads(struct console *console, struct console_result *result)
{
    struct buffer records = BUFFER_INIT(CONSOLE_RECORDS_MAX);
    pooler_look(console->pooler, look_at_reads, &records);
    fault gathered = buffer_fault(&records);
    for (size_t at = 0; gathered == OK && at < records.size; at += sizeof(struct record)) {
        struct record record;
        memcpy(&record, records.at + at, sizeof(record));
        table_int(&result->sink, record.relay);
        table_text(&result->sink, record.database);
        table_text(&result->sink, record.user);
        table_int(&result->sink, record.line);
        table_int(&result->sink, (int64_t)record.sent);
        table_int(&result->sink, (int64_t)record.behind);
        table_int(&result->sink, (int64_t)record.again);
        table_int(&result->sink, (int64_t)record.refused);
        table_end_row(&result->sink);
        if (at / sizeof(record) % RECORDS_AT_A_TIME == RECORDS_AT_A_TIME - 1)
            co_yield ();
    }
    buffer_fini(&records);
    if (gathered == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "the rows of reads exceed %zu MiB",
                           CONSOLE_RECORDS_MAX >> 20);
    return gathered;
}
