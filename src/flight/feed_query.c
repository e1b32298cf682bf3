#include "flight/feed_query.h"

#include "base/number.h"
#include "flight/feed_sets.h"
#include "wire/message.h"

#include <string.h>

/* --- texts ------------------------------------------------------------------------------------ */

/* Replaces nothing of a user: schema trunkline is ours.  What is done to temporary relations alone
 * is not told; a lasting table may have columns of a temporary type.  DROP OWNED changes rights and
 * may list no object.  The digest has the id of the transaction that wrote each row, and so the
 * number of rows: what is changed is written by a new transaction, also if it is changed back.  It
 * reads pg_authid as the owner of the function. */
static const char setup_sql[] =
    "BEGIN;\n"
    "CREATE SCHEMA IF NOT EXISTS trunkline;\n"
    "GRANT USAGE ON SCHEMA trunkline TO PUBLIC;\n"
    "CREATE OR REPLACE FUNCTION trunkline.feed_ddl() RETURNS event_trigger\n"
    "    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$\n"
    "DECLARE\n"
    "    objects bigint;\n"
    "    lasting bigint;\n"
    "BEGIN\n"
    "    IF tg_event = 'sql_drop' THEN\n"
    "        SELECT count(*), count(*) FILTER (WHERE NOT is_temporary\n"
    "                AND NOT (cardinality(address_names) > 1 AND address_names[1] = 'pg_temp'))\n"
    "            INTO objects, lasting FROM pg_event_trigger_dropped_objects();\n"
    "    ELSE\n"
    "        SELECT count(*), count(*) FILTER (WHERE schema_name IS DISTINCT FROM 'pg_temp'\n"
    "                OR object_type NOT IN ('table', 'index', 'sequence', 'view'))\n"
    "            INTO objects, lasting FROM pg_event_trigger_ddl_commands();\n"
    "    END IF;\n"
    "    IF lasting > 0 OR tg_tag = 'DROP OWNED' THEN\n"
    "        PERFORM pg_logical_emit_message(true, '" FEED_PREFIX_DDL "', tg_tag);\n"
    "    ELSIF objects > 0 THEN\n"
    "        PERFORM pg_logical_emit_message(true, '" FEED_PREFIX_MARKER "', tg_tag);\n"
    "    END IF;\n"
    "END $function$;\n"
    "CREATE OR REPLACE FUNCTION trunkline.feed_digest() RETURNS text\n"
    "    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
    "$function$\n"
    "BEGIN\n"
    "    RETURN concat_ws(' ',\n"
    "        hash_array_extended(ARRAY(SELECT xmin FROM pg_authid), 0),\n"
    "        hash_array_extended(ARRAY(SELECT xmin FROM pg_auth_members), 0),\n"
    "        hash_array_extended(ARRAY(SELECT xmin FROM pg_db_role_setting), 0),\n"
    "        hash_array_extended(ARRAY(SELECT xmin FROM pg_event_trigger), 0),\n"
    "        (SELECT xmin FROM pg_database WHERE datname = current_database()));\n"
    "END $function$;\n"
    "GRANT EXECUTE ON FUNCTION trunkline.feed_digest() TO PUBLIC;\n"
    "DROP EVENT TRIGGER IF EXISTS trunkline_feed_ddl;\n"
    "DROP EVENT TRIGGER IF EXISTS trunkline_feed_drop;\n"
    "CREATE EVENT TRIGGER trunkline_feed_ddl ON ddl_command_end\n"
    "    EXECUTE FUNCTION trunkline.feed_ddl();\n"
    "CREATE EVENT TRIGGER trunkline_feed_drop ON sql_drop EXECUTE FUNCTION trunkline.feed_ddl();\n"
    "ALTER EVENT TRIGGER trunkline_feed_ddl ENABLE ALWAYS;\n"
    "ALTER EVENT TRIGGER trunkline_feed_drop ENABLE ALWAYS;\n"
    "COMMIT;\n";

/* Whether all of that is there. */
#define SETUP_IS_THERE                                                                             \
    "(SELECT count(*) = 2 AND to_regprocedure('trunkline.feed_digest()') IS NOT NULL"              \
    " FROM pg_event_trigger AS t WHERE t.evtenabled = 'A' AND t.evttags IS NULL"                   \
    " AND t.evtfoid = to_regprocedure('trunkline.feed_ddl()')"                                     \
    " AND (t.evtname, t.evtevent) IN (('trunkline_feed_ddl', 'ddl_command_end'),"                  \
    " ('trunkline_feed_drop', 'sql_drop')))"

static const char facts_query[] =
    "SELECT r, (SELECT system_identifier FROM pg_control_system()),"
    " CASE WHEN r THEN 0"
    " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,"
    " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"
    " current_setting('server_version_num'), current_setting('wal_level') = 'logical',"
    " pg_size_bytes(current_setting('wal_segment_size')), current_setting('wal_block_size'),"
    " " SETUP_IS_THERE " FROM (SELECT pg_is_in_recovery() AS r OFFSET 0) AS recovery";

static const char probe_prepare[] =
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout';"
    " PREPARE trunkline_probe(text) AS"
    " SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'),"
    " pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0'), pg_current_snapshot(),"
    " CASE pg_current_snapshot()::text WHEN $1 THEN '' ELSE trunkline.feed_digest() END,"
    " extract(epoch FROM pg_conf_load_time())";

const char *feed_setup_sql(void)
{
    return setup_sql;
}

const char *feed_facts_query(void)
{
    return facts_query;
}

const char *feed_probe_prepare(void)
{
    return probe_prepare;
}

void feed_put_probe(struct buffer *text, const char *seen)
{
    buffer_printf(text, "EXECUTE trunkline_probe('%s')", seen);
}

const char *feed_setup_query(void)
{
    return "SELECT " SETUP_IS_THERE;
}

/* --- rows ------------------------------------------------------------------------------------- */

#define COLUMNS_MAX 9u

/* Reads the fields of a DataRow; all are there and none is NULL. */
static bool read_row(struct span body, struct span *fields, uint32_t count)
{
    struct wire_reader in = wire_reader_over(body);
    invariant(count <= COLUMNS_MAX);
    if (wire_get_u16(&in) != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        fields[i] = wire_get_bytes(&in, wire_get_u32(&in));
    return wire_done(&in) == OK;
}

static bool read_small(struct span field, uint32_t *ret)
{
    uint64_t value;
    if (!number_read_bigint(field, &value))
        return false;
    *ret = (uint32_t)value;
    return true;
}

static bool read_bool(struct span field, bool *ret)
{
    *ret = span_is(field, "t");
    return *ret || span_is(field, "f");
}

fault feed_read_facts(struct span body, struct feed_facts *ret)
{
    struct span fields[9];
    struct feed_facts facts;
    bool understood =
        read_row(body, fields, 9) && read_bool(fields[0], &facts.standby) &&
        number_read_bigint(fields[1], &facts.system) && read_small(fields[2], &facts.timeline) &&
        number_read_bigint(fields[3], &facts.instance) && read_small(fields[4], &facts.version) &&
        read_bool(fields[5], &facts.logical) && number_read_bigint(fields[6], &facts.segment) &&
        read_small(fields[7], &facts.page) && read_bool(fields[8], &facts.setup);
    if (!understood)
        return FAULT_PROTOCOL;
    *ret = facts;
    return OK;
}

static bool read_text(struct span field, char *ret, size_t size)
{
    if (field.size >= size)
        return false;
    memcpy(ret, field.at, field.size);
    ret[field.size] = '\0';
    return true;
}

fault feed_read_probe(struct span body, struct feed_probe_row *ret)
{
    struct span fields[5];
    if (!read_row(body, fields, 5) || !number_read_bigint(fields[0], &ret->inserted) ||
        !number_read_bigint(fields[1], &ret->flushed) ||
        !read_text(fields[3], ret->digest, sizeof(ret->digest)) || fields[4].size == 0 ||
        !read_text(fields[4], ret->configured, sizeof(ret->configured)))
        return FAULT_PROTOCOL;
    if (!read_text(fields[2], ret->seen, sizeof(ret->seen)))
        ret->seen[0] = '\0';
    return feed_read_snapshot(fields[2], &ret->snapshot);
}

fault feed_read_setup(struct span body, bool *ret)
{
    struct span field;
    return read_row(body, &field, 1) && read_bool(field, ret) ? OK : FAULT_PROTOCOL;
}

fault feed_read_marker(struct span body, uint64_t *ret)
{
    struct span field;
    if (!read_row(body, &field, 1) || !number_read_bigint(field, ret))
        return FAULT_PROTOCOL;
    return OK;
}

/* --- refusals --------------------------------------------------------------------------------- */

#define VERSION_MIN      130000u
#define SEGMENT_SIZE_MIN (UINT64_C(1) << 20)

const char *feed_facts_refusal(const struct feed_facts *facts)
{
    if (facts->standby)
        return "the server is a standby: strict mode reads the log of the primary";
    if (facts->version < VERSION_MIN)
        return "strict mode needs PostgreSQL 13 or newer";
    if (!facts->logical)
        return "wal_level is not logical: set wal_level = logical and restart the server";
    if (facts->page != 8192 || facts->segment < SEGMENT_SIZE_MIN ||
        !IS_POWER_OF_TWO(facts->segment))
        return "the log's pages are not of 8192 bytes";
    if (!facts->setup)
        return "the event triggers of the feed are missing or not enabled ALWAYS: run the setup in "
               "this database";
    return NULL;
}
