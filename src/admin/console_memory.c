/*
 * console_memory.c - SHOW MEM, and PgBouncer's views that are always empty here.
 */
#include "admin/console_parts.h"
#include "relay/relay.h"

/* --- memory ----------------------------------------------------------------------------------- */

static const struct console_column memory_columns[] = {
    {"name", COLUMN_TEXT, "`client`, `server`, `pool` (a local pool), `chunk` (a buffer)"},
    {"size", COLUMN_INT4, "bytes per object"},
    {"used", COLUMN_INT4, "objects in use"},
    {"free", COLUMN_INT4, "free objects kept for reuse"},
    {"memtotal", COLUMN_INT4, "bytes of used and free objects; at most 2147483647"},
};
const struct console_view console_view_memory = CONSOLE_VIEW(memory_columns);

enum kind { KIND_CLIENT, KIND_SERVER, KIND_POOL, KIND_CHUNK, KINDS };

struct memory {
    uint64_t size;
    uint64_t used;
    uint64_t free;
};

static void look_at_memory(struct relay *relay, void *argument)
{
    struct memory *memory = argument;
    if (relay == NULL)
        return;
    memory[KIND_CLIENT].used += relay->clients.count;
    memory[KIND_POOL].used += relay->pools.all.count;
    memory[KIND_CHUNK].size = sizeof(struct chunk) + relay->chunks.size;
    memory[KIND_CHUNK].used += relay->chunks.lent;
    memory[KIND_CHUNK].free += relay->chunks.idle.count;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        memory[KIND_SERVER].used += pool->idle.count + pool->busy.count;
    }
}

fault console_show_memory(struct console *console, struct console_result *result)
{
    static const char *const names[] = {
        [KIND_CLIENT] = "client",
        [KIND_SERVER] = "server",
        [KIND_POOL] = "pool",
        [KIND_CHUNK] = "chunk",
    };
    struct memory memory[KINDS] = {
        [KIND_CLIENT] = {.size = sizeof(struct client)},
        [KIND_SERVER] = {.size = sizeof(struct server)},
        [KIND_POOL] = {.size = sizeof(struct local_pool)},
    };
    pooler_look(console->pooler, look_at_memory, memory);
    for (size_t i = 0; i < KINDS; i++) {
        const struct memory *kind = &memory[i];
        uint64_t total = kind->size * (kind->used + kind->free);
        table_text(&result->sink, names[i]);
        table_int(&result->sink, (int64_t)kind->size);
        table_int(&result->sink, (int64_t)kind->used);
        table_int(&result->sink, (int64_t)kind->free);
        table_int(&result->sink, (int64_t)MIN_OF(total, (uint64_t)INT32_MAX));
        table_end_row(&result->sink);
    }
    return OK;
}

/* --- empty views ------------------------------------------------------------------------------ */

static const struct console_column peer_columns[] = {
    {"peer_id", COLUMN_INT4, "no rows: there are no peers"},
    {"host", COLUMN_TEXT, ""},
    {"port", COLUMN_INT4, ""},
    {"pool_size", COLUMN_INT4, ""},
};
const struct console_view console_view_peers = CONSOLE_VIEW(peer_columns);

static const struct console_column peer_pool_columns[] = {
    {"peer_id", COLUMN_INT4, "no rows: there are no peers"},
    {"cl_active_cancel_req", COLUMN_INT4, ""},
    {"cl_waiting_cancel_req", COLUMN_INT4, ""},
    {"sv_active_cancel", COLUMN_INT4, ""},
    {"sv_login", COLUMN_INT4, ""},
};
const struct console_view console_view_peer_pools = CONSOLE_VIEW(peer_pool_columns);
