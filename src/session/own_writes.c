#include "session/own_writes.h"

#include "base/number.h"
#include "wire/message.h"

/* The timeline of a replica is the highest that it knows of: the control file shows it late, the
 * receiver only to users with pg_read_all_stats.  A primary's is in the name of its WAL file; the
 * control file shows the old one for seconds after a promotion. */
#define STANDBY_LINE                                                                               \
    "greatest((pg_catalog.pg_control_checkpoint()).timeline_id,"                                   \
    "(pg_catalog.pg_control_recovery()).min_recovery_end_timeline,"                                \
    "(pg_catalog.pg_stat_get_wal_receiver()).received_tli)"
#define PRIMARY_LINE                                                                               \
    "pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()),1,8)"
/* Under the defaults SERIALIZABLE READ ONLY DEFERRABLE the SELECT could block. */
#define STARTED                                                                                    \
    "(extract(epoch FROM "                                                                         \
    "pg_catalog.pg_postmaster_start_time())OPERATOR(pg_catalog.*)1000000)::bigint"
#define PLAIN "SET LOCAL transaction_isolation='read committed';"

const char wal_position_sql[] =
    PLAIN "SELECT (pg_catalog.pg_control_system()).system_identifier,"
          "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
          "ELSE pg_catalog.pg_current_wal_insert_lsn() END,"
          "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE " PRIMARY_LINE " END,"
          "CASE WHEN pg_catalog.pg_is_in_recovery() THEN " STANDBY_LINE " END,"
          "CASE WHEN pg_catalog.pg_is_in_recovery() THEN " STARTED " END";

const char wal_position_again_sql[] =
    PLAIN "SELECT NULL,pg_catalog.pg_current_wal_insert_lsn()," PRIMARY_LINE ",NULL,NULL";

#define COLUMNS 5u
/* Sizes of WAL pages and of their headers: of the first page of a segment, and of others. */
#define PAGE         8192u
#define PAGE_HEADER  24u
#define FIRST_HEADER 40u

/* Reads "16/B374D848".  An end of the log behind a page's header is the end of the page before:
 * that is what a replica says that has replayed all.  A record that ends right there would have
 * begun on the page before, so no replica says a position between the two. */
static bool read_lsn(struct span text, uint64_t *ret)
{
    const uint8_t *slash = text.size == 0 ? NULL : memchr(text.at, '/', text.size);
    uint64_t high, low;
    if (slash == NULL || !number_read(span_of(text.at, (size_t)(slash - text.at)), 16, &high) ||
        !number_read(span_skip(text, (size_t)(slash - text.at) + 1), 16, &low) ||
        high > UINT32_MAX || low > UINT32_MAX)
        return false;
    *ret = high << 32 | low;
    if (*ret % PAGE == PAGE_HEADER || *ret % PAGE == FIRST_HEADER)
        *ret -= *ret % PAGE;
    return *ret != 0;
}

static bool read_columns(struct span row, struct span columns[COLUMNS])
{
    struct wire_reader in = wire_reader_over(row);
    if (wire_get_u16(&in) != COLUMNS)
        return false;
    for (unsigned i = 0; i < COLUMNS; i++) {
        uint32_t size = wire_get_u32(&in);
        columns[i] = size == UINT32_MAX ? SPAN_NONE : wire_get_bytes(&in, size);
    }
    return wire_done(&in) == OK;
}

bool wal_position_read(struct span row, const struct wal_position *known, bool *ret_replica,
                       struct wal_position *ret)
{
    struct span columns[COLUMNS];
    struct wal_position told = {.system = known->system};
    uint64_t line;
    if (!read_columns(row, columns))
        return false;
    bool replica = columns[2].size == 0;
    if (!number_read(replica ? columns[3] : columns[2], replica ? 10 : 16, &line) ||
        line > UINT32_MAX || !read_lsn(columns[1], &told.at) ||
        (columns[0].size > 0 && !number_read_bigint(columns[0], &told.system)) ||
        (columns[4].size > 0 && !number_read(columns[4], 10, &told.instance)))
        return false;
    told.line = (uint32_t)line;
    *ret_replica = replica;
    *ret = told;
    return true;
}

void own_writes_begin(struct own_writes *writes)
{
    writes->unknown = true;
}

void own_writes_told(struct own_writes *writes, const struct wal_position *told)
{
    struct wal_position *seen = &writes->seen;
    /* A primary that has been replaced, and is not fenced yet: no server has both what the client
     * has done there and what it saw on the newer timeline, so its reads stay on the primary. */
    writes->unknown = told->system == seen->system && told->line < seen->line;
    if (writes->unknown)
        return;
    if (told->system == seen->system && told->line == seen->line && told->at < seen->at)
        return;
    *seen = *told;
}

bool own_writes_within(const struct own_writes *writes, const struct wal_position *server)
{
    const struct wal_position *seen = &writes->seen;
    if (writes->unknown)
        return false;
    return seen->at == 0 ||
           (server->at >= seen->at && server->system == seen->system && server->line == seen->line);
}
