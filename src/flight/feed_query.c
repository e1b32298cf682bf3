#include "flight/feed_query.h"

#include "flight/feed_sets.h"
#include "wire/message.h"

/* --- texts ------------------------------------------------------------------------------------ */

/* Replaces nothing of a user: schema trunkline is ours.  What is done to temporary relations alone
 * is not told; a lasting table may have columns of a temporary type.  DROP OWNED changes rights and
 * may list no object.  The digest has the id of the transaction that wrote each row, so that a
 * change that was undone again is noticed too; it reads pg_authid as the owner of the function. */
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
    "    RETURN (SELECT md5(string_agg(row, ' ' ORDER BY row)) FROM (\n"
    "        SELECT 'r' || oid || '.' || xmin FROM pg_authid\n"
    "        UNION ALL SELECT 'm' || roleid || '.' || member || '.' || xmin FROM pg_auth_members\n"
    "        UNION ALL SELECT 's' || setdatabase || '.' || setrole || '.' || xmin\n"
    "            FROM pg_db_role_setting\n"
    "        UNION ALL SELECT 't' || oid || '.' || xmin FROM pg_event_trigger\n"
    "        UNION ALL SELECT 'd' || oid || '.' || xmin FROM pg_database\n"
    "            WHERE datname = current_database()) rows (row));\n"
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
    " PREPARE trunkline_probe AS"
    " SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'),"
    " pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0'), pg_current_snapshot(),"
    " trunkline.feed_digest() || ' ' || extract(epoch FROM pg_conf_load_time()), " SETUP_IS_THERE;

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

/* Reads a decimal number that may be negative as a bigint. */
static bool read_number(struct span field, uint64_t *ret)
{
    bool negative = field.size > 0 && field.at[0] == '-';
    uint64_t value = 0;
    for (size_t i = negative; i < field.size; i++) {
        if (i == 20 || field.at[i] < '0' || field.at[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(field.at[i] - '0');
    }
    *ret = negative ? 0 - value : value;
    return field.size > negative;
}

static bool read_small(struct span field, uint32_t *ret)
{
    uint64_t value;
    if (!read_number(field, &value))
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
        read_number(fields[1], &facts.system) && read_small(fields[2], &facts.timeline) &&
        read_number(fields[3], &facts.instance) && read_small(fields[4], &facts.version) &&
        read_bool(fields[5], &facts.logical) && read_number(fields[6], &facts.segment) &&
        read_small(fields[7], &facts.page) && read_bool(fields[8], &facts.setup);
    if (!understood)
        return FAULT_PROTOCOL;
    *ret = facts;
    return OK;
}

fault feed_read_probe(struct span body, struct feed_probe_row *ret)
{
    struct span fields[5];
    if (!read_row(body, fields, 5) || !read_number(fields[0], &ret->inserted) ||
        !read_number(fields[1], &ret->flushed) || !read_bool(fields[4], &ret->setup) ||
        fields[3].size == 0 || fields[3].size > FEED_DIGEST_MAX)
        return FAULT_PROTOCOL;
    memcpy(ret->digest, fields[3].at, fields[3].size);
    ret->digest[fields[3].size] = '\0';
    return feed_read_snapshot(fields[2], &ret->snapshot);
}

fault feed_read_marker(struct span body, uint64_t *ret)
{
    struct span field;
    if (!read_row(body, &field, 1) || !read_number(field, ret))
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
