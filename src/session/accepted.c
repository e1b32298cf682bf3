#include "session/accepted.h"

#include "session/counted.h"
#include "wire/message.h"

struct accepted {
    struct map_link link;
    struct span name;
    struct span value;
    struct span canonical;
    uint8_t bytes[];
};

static bool accepted_is(const struct map_link *link, const void *key)
{
    const struct accepted *accepted = MAP_ENTRY(link, struct accepted, link);
    const struct param *param = key;
    return accepted->name.size == param->name.size &&
           strncasecmp((const char *)accepted->name.at, (const char *)param->name.at,
                       param->name.size) == 0 &&
           span_equal(accepted->value, param->value);
}

static uint64_t accepted_hash(const struct param *param)
{
    return hash_data(param->value.at, param->value.size, param->name.size);
}

bool accepted_find(const struct map *all, const struct param *param, struct span *ret_canonical)
{
    struct map_link *link = map_find(all, accepted_hash(param), accepted_is, param);
    if (link == NULL)
        return false;
    *ret_canonical = MAP_ENTRY(link, struct accepted, link)->canonical;
    return true;
}

static void accepted_end(struct map_link *link)
{
    struct accepted *gone = MAP_ENTRY(link, struct accepted, link);
    counted_free(gone, sizeof(*gone) + gone->name.size + gone->value.size + gone->canonical.size);
}

void accepted_add(struct map *all, const struct param *param, struct span canonical)
{
    struct span ignored;
    if (accepted_find(all, param, &ignored))
        return;
    if (all->count == ACCEPTED_MAX)
        accepted_clear(all);
    struct accepted *accepted =
        counted_alloc(sizeof(*accepted) + param->name.size + param->value.size + canonical.size);
    if (accepted == NULL)
        return;
    uint8_t *at = accepted->bytes;
    const struct span parts[] = {param->name, param->value, canonical};
    struct span *const copies[] = {&accepted->name, &accepted->value, &accepted->canonical};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (parts[i].size > 0)
            memcpy(at, parts[i].at, parts[i].size);
        *copies[i] = span_of(at, parts[i].size);
        at += parts[i].size;
    }
    if (map_insert(all, &accepted->link, accepted_hash(param)) != OK)
        accepted_end(&accepted->link);
}

void accepted_clear(struct map *all)
{
    map_clear(all, accepted_end);
}

bool accepted_next(struct span *rest, struct accepted_value *ret)
{
    struct wire_reader in = wire_reader_over(*rest);
    struct accepted_value value = {.param.name = wire_get_string(&in)};
    value.param.value = wire_get_string(&in);
    value.canonical = wire_get_string(&in);
    if (in.failed || value.param.name.size == 0)
        return false;
    struct span left = wire_get_rest(&in);
    value.flat = span_of(rest->at, rest->size - left.size);
    *ret = value;
    *rest = left;
    return true;
}

bool accepted_share(struct buffer *shared, struct span flat)
{
    struct span rest = buffer_span(shared);
    struct accepted_value value;
    while (accepted_next(&rest, &value))
        if (span_equal(value.flat, flat))
            return false;
    if (shared->size + flat.size > ACCEPTED_SHARED_MAX)
        buffer_clear(shared);
    buffer_append_span(shared, flat);
    if (buffer_fault(shared) != OK) /* relays that miss a value ask a server */
        buffer_clear(shared);
    return true;
}

/* --- what lasts ------------------------------------------------------------------------------- */

/* Parameters that each user may set, and whose values name no object.  Those that begin so too. */
static const char *const lasting[] = {
    "application_name",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "check_function_bodies",
    "client_encoding",
    "client_min_messages",
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "DateStyle",
    "default_statistics_target",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "effective_cache_size",
    "effective_io_concurrency",
    "escape_string_warning",
    "extra_float_digits",
    "from_collapse_limit",
    "geqo",
    "gin_fuzzy_search_limit",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "IntervalStyle",
    "jit",
    "join_collapse_limit",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "maintenance_work_mem",
    "max_parallel_workers_per_gather",
    "parallel_leader_participation",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "password_encryption",
    "plan_cache_mode",
    "quote_all_identifiers",
    "random_page_cost",
    "row_security",
    "search_path",
    "seq_page_cost",
    "standard_conforming_strings",
    "statement_timeout",
    "synchronize_seqscans",
    "synchronous_commit",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "TimeZone",
    "timezone_abbreviations",
    "transaction_timeout",
    "transform_null_equals",
    "work_mem",
    "xmlbinary",
    "xmloption",
};
static const struct span lasting_prefix = {(const uint8_t *)"enable_", 7};

bool accepted_lasts(struct span name)
{
    for (size_t i = 0; i < ARRAY_SIZE(lasting); i++)
        if (span_is_nocase(name, lasting[i]))
            return true;
    return span_starts(name, lasting_prefix);
}
