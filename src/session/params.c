#include "session/params.h"

#include "base/check.h"
#include "session/counted.h"
#include "wire/startup.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#define SETS_MAX 1000000u

/* PostgreSQL's GUC_LIST_QUOTE variables.  SET would quote the whole value as one identifier;
 * set_config() takes the same text as a startup packet.  Extensions can't define such variables. */
static const char *const list_names[] = {
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "local_preload_libraries",
};

static int name_compare(struct span a, struct span b)
{
    int order = strncasecmp((const char *)a.at, (const char *)b.at, MIN_OF(a.size, b.size));
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

struct set_key {
    const struct param *all;
    size_t count;
};

static bool set_equal(const struct map_link *link, const void *key)
{
    const struct params *set = MAP_ENTRY(link, struct params, link);
    const struct set_key *wanted = key;
    if (set->count != wanted->count)
        return false;
    for (size_t i = 0; i < wanted->count; i++)
        if (name_compare(set->all[i].name, wanted->all[i].name) != 0 ||
            !span_equal(set->all[i].value, wanted->all[i].value))
            return false;
    return true;
}

static uint64_t set_hash(const struct param *all, size_t count)
{
    uint64_t hash = count;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < all[i].name.size; j++)
            hash = hash * 31 + (all[i].name.at[j] | 0x20);
        hash = hash_data(all[i].value.at, all[i].value.size, hash);
    }
    return hash;
}

/* Sorts by name and keeps the last of equal names; returns how many are left. */
static size_t params_sort(struct param *all, size_t count)
{
    size_t sorted = 0;
    for (size_t i = 0; i < count; i++) {
        struct param param = all[i];
        size_t at = 0;
        int order = 1;
        while (at < sorted && (order = name_compare(all[at].name, param.name)) < 0)
            at++;
        if (at < sorted && order == 0) {
            all[at] = param;
            continue;
        }
        memmove(all + at + 1, all + at, (sorted - at) * sizeof(*all));
        all[at] = param;
        sorted += 1;
    }
    return sorted;
}

/* --- digests ---------------------------------------------------------------------------------- */

/* Appends a parameter, with its name in lower case.  Returns the new size. */
static size_t flat_put(uint8_t *flat, size_t size, struct span name, struct span value)
{
    for (size_t j = 0; j < name.size; j++)
        flat[size++] = (uint8_t)tolower(name.at[j]);
    flat[size++] = '\0';
    if (value.size > 0)
        memcpy(flat + size, value.at, value.size);
    size += value.size;
    flat[size++] = '\0';
    return size;
}

/* Whether the parameter concerns a session between its statements, or its connection. */
static bool is_idle_matter(struct span name)
{
    static const char *const names[] = {
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "tcp_keepalives_idle",
        "tcp_keepalives_interval",
        "tcp_keepalives_count",
        "tcp_user_timeout",
        "client_connection_check_interval",
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (span_is_nocase(name, names[i]))
            return true;
    return false;
}

/* Reads a statement_timeout.  False: it has a spelling that is left to PostgreSQL ("0x10", "1.5s",
 * "010", "1000us"). */
static bool read_limit(struct span value, duration *ret)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
    int64_t number = 0;
    size_t digits = 0;
    for (; digits < value.size && digits < 10 && isdigit(value.at[digits]); digits++)
        number = number * 10 + (value.at[digits] - '0');
    struct span unit = span_skip(value, digits);
    if (digits == 0 || (value.at[0] == '0' && digits > 1))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (!span_is(unit, units[i].unit) || number > INT32_MAX / units[i].ms)
            continue;
        *ret = number == 0 ? NO_LIMIT : ms(number * units[i].ms);
        return true;
    }
    return false;
}

/* Computes the digests; equal sets have the same ones on every relay.  That a statement_timeout is
 * set counts, its value does not: without one the server's default applies.  False: no memory. */
static bool params_digest(struct params *set, size_t bytes)
{
    uint8_t *flat = malloc(2 * (bytes + 2 * set->count + 1));
    if (flat == NULL)
        return false;
    uint8_t *other = flat + bytes + 2 * set->count + 1;
    size_t size = 0, other_size = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        struct span name = set->all[i].name, value = set->all[i].value;
        if (span_is_nocase(name, "application_name"))
            continue;
        size = flat_put(flat, size, name, value);
        if (is_idle_matter(name))
            continue;
        if (span_is_nocase(name, "statement_timeout") && read_limit(value, &set->limit)) {
            set->limited = true;
            value = SPAN_NONE;
        }
        other_size = flat_put(other, other_size, name, value);
    }
    set->session = digest_of(span_of(flat, size));
    set->answer = digest_of(span_of(other, other_size));
    free(flat);
    return true;
}

/* --- sets ------------------------------------------------------------------------------------- */

static bool is_temp_path(const struct param *param)
{
    if (!span_is_nocase(param->name, "search_path"))
        return false;
    for (size_t i = 0; i + 7 <= param->value.size; i++)
        if (strncasecmp((const char *)param->value.at + i, "pg_temp", 7) == 0)
            return true;
    return false;
}

/* Returns whether a timeout may be so short that it cancels a SET of ours.  PostgreSQL takes times
 * in many spellings ("0.001s", "1e0", "0x1", "1000us"); all but the plainest count as short. */
static bool is_short_time(struct span value)
{
    static const char *const long_units[] = {"s", "min", "h", "d"};
    size_t digits = 0;
    while (digits < value.size && isdigit(value.at[digits]))
        digits += 1;
    struct span unit = span_skip(value, digits);
    if (digits == 0 || value.at[0] == '0')
        return !(span_is(value, "0") || span_is(value, "0ms") || span_is(value, "0s"));
    for (size_t i = 0; i < ARRAY_SIZE(long_units); i++)
        if (span_is(unit, long_units[i]))
            return false;
    return digits <= 3 || (unit.size > 0 && !span_is(unit, "ms"));
}

/* Returns whether the parameter affects a server that no client has.  A timer of the idle session,
 * for example, could end the session at the moment when the next client gets it. */
static bool param_acts(const struct param *param)
{
    static const char *const names[] = {
        "idle_session_timeout", "tcp_keepalives_idle", "tcp_keepalives_interval",
        "tcp_keepalives_count", "tcp_user_timeout",
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (span_is_nocase(param->name, names[i]))
            return true;
    return (span_is_nocase(param->name, "statement_timeout") ||
            span_is_nocase(param->name, "transaction_timeout")) &&
           is_short_time(param->value);
}

static struct params *params_new(struct params_store *store, const struct param *all, size_t count,
                                 size_t bytes)
{
    size_t size = sizeof(struct params) + count * sizeof(*all) + bytes;
    struct params *set = counted_alloc(size);
    if (set == NULL)
        return NULL;
    *set = (struct params){.store = store,
                           .references = 1,
                           .count = (uint32_t)count,
                           .size = (uint32_t)size,
                           .limit = NO_LIMIT};
    uint8_t *at = (uint8_t *)(set->all + count);
    for (size_t i = 0; i < count; i++) {
        memcpy(at, all[i].name.at, all[i].name.size);
        set->all[i].name = span_of(at, all[i].name.size);
        at += all[i].name.size;
        if (all[i].value.size > 0)
            memcpy(at, all[i].value.at, all[i].value.size);
        set->all[i].value = span_of(at, all[i].value.size);
        at += all[i].value.size;
        set->temp_path = set->temp_path || is_temp_path(&set->all[i]);
        set->acts = set->acts || param_acts(&set->all[i]);
    }
    if (params_digest(set, bytes))
        return set;
    counted_free(set, size);
    return NULL;
}

fault params_intern(struct params_store *store, const struct param *all, size_t count,
                    struct params **ret)
{
    struct param sorted[PARAMS_MAX];
    size_t bytes = 0;
    if (count > PARAMS_MAX)
        return fault_raise(FAULT_LIMIT, "%zu session parameters, the limit is %d", count,
                           PARAMS_MAX);
    for (size_t i = 0; i < count; i++)
        bytes += all[i].name.size + all[i].value.size;
    if (bytes > PARAMS_SIZE_MAX)
        return fault_raise(FAULT_LIMIT, "session parameters of %zu bytes, the limit is %d", bytes,
                           PARAMS_SIZE_MAX);
    if (count > 0)
        memcpy(sorted, all, count * sizeof(*all));
    count = params_sort(sorted, count);
    struct set_key key = {sorted, count};
    uint64_t hash = set_hash(sorted, count);
    struct map_link *found = map_find(&store->sets, hash, set_equal, &key);
    if (found != NULL) {
        *ret = params_ref(MAP_ENTRY(found, struct params, link));
        return OK;
    }
    struct params *set = params_new(store, sorted, count, bytes);
    if (set == NULL)
        return FAULT_MEMORY;
    fault inserted = map_insert(&store->sets, &set->link, hash);
    if (inserted != OK) {
        counted_free(set, set->size);
        return inserted;
    }
    *ret = set;
    return OK;
}

fault params_store_init(struct params_store *store)
{
    *store = (struct params_store){.sets = MAP_INIT(SETS_MAX)};
    return params_intern(store, NULL, 0, &store->none);
}

void params_store_fini(struct params_store *store)
{
    params_unref(&store->none);
    invariant(store->sets.count == 0);
    map_fini(&store->sets);
}

struct params *params_ref(struct params *set)
{
    set->references += 1;
    return set;
}

void params_unref(struct params **set)
{
    struct params *gone = TAKE(*set);
    if (gone == NULL)
        return;
    invariant(gone->references > 0);
    if (--gone->references > 0)
        return;
    map_remove(&gone->store->sets, &gone->link);
    counted_free(gone, gone->size);
}

void params_assign(struct params **slot, struct params *take)
{
    params_unref(slot);
    *slot = take;
}

const struct span *params_find(const struct params *set, struct span name)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (name_compare(set->all[i].name, name) == 0)
            return &set->all[i].value;
    return NULL;
}

bool params_serializable(const struct params *set)
{
    const struct span *level = params_find(set, SPAN("default_transaction_isolation"));
    return level != NULL && span_is_nocase(*level, "serializable");
}

bool params_has(const struct params *set, const struct param *param)
{
    const struct span *value = params_find(set, param->name);
    return value != NULL && span_equal(*value, param->value);
}

fault params_with(struct params *set, struct span name, const struct span *value,
                  struct params **ret)
{
    struct param all[PARAMS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < set->count; i++)
        if (name_compare(set->all[i].name, name) != 0)
            all[count++] = set->all[i];
    if (value != NULL) {
        if (count == PARAMS_MAX)
            return fault_raise(FAULT_LIMIT, "more than %d session parameters", PARAMS_MAX);
        all[count++] = (struct param){name, *value};
    }
    return params_intern(set->store, all, count, ret);
}

fault params_at_rest(struct params *set, struct params **ret)
{
    struct param all[PARAMS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < set->count; i++)
        if (!param_acts(&set->all[i]))
            all[count++] = set->all[i];
    return params_intern(set->store, all, count, ret);
}

fault params_unlimited(struct params *set, struct params **ret)
{
    const struct span none = SPAN("0");
    if (set->limited)
        return params_with(set, SPAN("statement_timeout"), &none, ret);
    *ret = params_ref(set);
    return OK;
}

static bool name_is_list(struct span name)
{
    for (size_t i = 0; i < ARRAY_SIZE(list_names); i++)
        if (span_is_nocase(name, list_names[i]))
            return true;
    return false;
}

/* Returns whether the text has no bytes that depend on the session's client_encoding. */
static bool is_ascii(struct span text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] >= 0x80)
            return false;
    return true;
}

static void write_octal(struct buffer *sql, uint8_t byte)
{
    const char digits[] = {'\\', (char)('0' + (byte >> 6)), (char)('0' + (byte >> 3 & 7)),
                           (char)('0' + (byte & 7))};
    buffer_append(sql, digits, sizeof(digits));
}

/* The literal means the same under every standard_conforming_strings and client_encoding.  Bytes of
 * a startup packet are in the encoding of the database. */
void params_write_literal(struct buffer *sql, struct span text)
{
    bool ascii = is_ascii(text);
    if (!ascii || (text.size > 0 && memchr(text.at, '\\', text.size) != NULL))
        buffer_append_text(sql, " E");
    buffer_append_byte(sql, '\'');
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] >= 0x80) {
            write_octal(sql, text.at[i]);
            continue;
        }
        if (text.at[i] == '\'' || text.at[i] == '\\')
            buffer_append_byte(sql, text.at[i]);
        buffer_append_byte(sql, text.at[i]);
    }
    buffer_append_byte(sql, '\'');
}

static void write_identifier(struct buffer *sql, struct span name)
{
    buffer_append_byte(sql, '"');
    for (size_t i = 0; i < name.size; i++) {
        if (name.at[i] == '"')
            buffer_append_byte(sql, '"');
        if (name.at[i] == '.')
            buffer_append_text(sql, "\".\"");
        else
            buffer_append_byte(sql, name.at[i]);
    }
    buffer_append_byte(sql, '"');
}

/* Returns whether the parameter must be set by set_config(), as SET can't express it. */
static bool needs_call(struct span name)
{
    return name_is_list(name) || !is_ascii(name);
}

/* `value` NULL sets the server's default, as RESET does. */
static void write_set_config(struct buffer *sql, struct span name, const struct span *value,
                             bool local)
{
    buffer_append_text(sql, "pg_catalog.set_config(");
    params_write_literal(sql, name);
    buffer_append_byte(sql, ',');
    if (value != NULL)
        params_write_literal(sql, *value);
    else
        buffer_append_text(sql, "NULL");
    buffer_append_text(sql, local ? ",true)" : ",false)");
}

static void write_call(struct buffer *sql, struct span name, const struct span *value)
{
    buffer_append_text(sql, "SELECT ");
    write_set_config(sql, name, value, false);
    buffer_append_byte(sql, ';');
}

static void write_set(struct buffer *sql, const struct param *param)
{
    if (needs_call(param->name)) {
        write_call(sql, param->name, &param->value);
        return;
    }
    buffer_append_text(sql, "SET ");
    write_identifier(sql, param->name);
    buffer_append_byte(sql, '=');
    params_write_literal(sql, param->value);
    buffer_append_byte(sql, ';');
}

static void write_reset(struct buffer *sql, struct span name)
{
    if (!is_ascii(name)) {
        write_call(sql, name, NULL);
        return;
    }
    buffer_append_text(sql, "RESET ");
    write_identifier(sql, name);
    buffer_append_byte(sql, ';');
}

/* Parameters that change the session's user, in the order in which they are set.  All other
 * parameters are set and reset as the user of the pool's login, who may have rights that a role
 * taken by a client lacks. */
static const char *const identities[] = {"session_authorization", "role"};

static bool is_identity(struct span name)
{
    for (size_t i = 0; i < ARRAY_SIZE(identities); i++)
        if (span_is_nocase(name, identities[i]))
            return true;
    return false;
}

/* Returns whether the SQL from `from` to `to` calls a function and so takes a snapshot.  Under the
 * session's default_transaction_* that could wait: SERIALIZABLE READ ONLY DEFERRABLE waits for a
 * safe snapshot. */
static bool takes_snapshot(const struct params *from, const struct params *to)
{
    for (uint32_t i = 0; i < from->count; i++)
        if (!is_ascii(from->all[i].name))
            return true;
    for (uint32_t i = 0; i < to->count; i++)
        if (needs_call(to->all[i].name) && !params_has(from, &to->all[i]))
            return true;
    return false;
}

void params_write_difference(struct buffer *sql, const struct params *from, const struct params *to,
                             bool begins)
{
    if (from == to)
        return;
    if (begins && takes_snapshot(from, to))
        buffer_append_text(sql, PARAMS_PLAIN_TRANSACTION);
    for (size_t i = 0; i < ARRAY_SIZE(identities); i++)
        if (params_find(from, span_text(identities[i])) != NULL)
            write_reset(sql, span_text(identities[i]));
    for (uint32_t i = 0; i < from->count; i++)
        if (!is_identity(from->all[i].name) && params_find(to, from->all[i].name) == NULL)
            write_reset(sql, from->all[i].name);
    for (uint32_t i = 0; i < to->count; i++)
        if (!is_identity(to->all[i].name) && !params_has(from, &to->all[i]))
            write_set(sql, &to->all[i]);
    for (size_t i = 0; i < ARRAY_SIZE(identities); i++) {
        const struct span *value = params_find(to, span_text(identities[i]));
        if (value != NULL)
            write_set(sql, &(struct param){span_text(identities[i]), *value});
    }
}

static void write_local(struct buffer *sql, struct span name, const struct span *value)
{
    if (span_is_nocase(name, "application_name"))
        return;
    if (sql->size > 0)
        buffer_append_byte(sql, ',');
    write_set_config(sql, name, value, true);
}

void params_write_local(struct buffer *sql, const struct params *from, const struct params *to)
{
    for (uint32_t i = 0; i < from->count; i++)
        if (params_find(to, from->all[i].name) == NULL)
            write_local(sql, from->all[i].name, NULL);
    for (uint32_t i = 0; i < to->count; i++) {
        const struct span *old = params_find(from, to->all[i].name);
        if (old == NULL || !span_equal(*old, to->all[i].value))
            write_local(sql, to->all[i].name, &to->all[i].value);
    }
}

void params_write_flat(struct buffer *out, const struct params *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        buffer_append_span(out, set->all[i].name);
        buffer_append_byte(out, 0);
        buffer_append_span(out, set->all[i].value);
        buffer_append_byte(out, 0);
    }
}

fault params_read_flat(struct params_store *store, struct span flat, struct params **ret)
{
    struct param all[PARAMS_MAX];
    size_t count = 0;
    while (flat.size > 0 && count < PARAMS_MAX) {
        all[count].name = span_text((const char *)flat.at);
        flat = span_skip(flat, all[count].name.size + 1);
        all[count].value = span_text((const char *)flat.at);
        flat = span_skip(flat, all[count].value.size + 1);
        count++;
    }
    return params_intern(store, all, count, ret);
}

/* --- reported parameters ---------------------------------------------------------------------- */

bool params_are_fixed(struct span name)
{
    static const char *const names[] = {
        "server_version", "server_encoding",       "integer_datetimes", "in_hot_standby",
        "is_superuser",   "session_authorization", "scram_iterations",  "ssl_renegotiation_limit",
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (span_is_nocase(name, names[i]))
            return true;
    return false;
}

bool params_follow(struct span reported, struct span name)
{
    struct span rest = reported;
    struct span known, value;
    if (params_are_fixed(name))
        return false;
    while (wire_next_parameter(&rest, &known, &value))
        if (known.size == name.size &&
            strncasecmp((const char *)known.at, (const char *)name.at, name.size) == 0)
            return true;
    return false;
}

fault params_read_defaults(struct params_store *store, struct span reported, struct params **ret)
{
    struct param all[PARAMS_MAX];
    size_t count = 0, size = 0;
    struct span name, value;
    while (wire_next_parameter(&reported, &name, &value)) {
        size_t needs = name.size + value.size + 2;
        if (params_are_fixed(name) || count == PARAMS_MAX || size + needs > PARAMS_SIZE_MAX / 2)
            continue;
        size += needs;
        all[count++] = (struct param){name, value};
    }
    return params_intern(store, all, count, ret);
}

fault params_rebase(struct params *set, const struct params *from, const struct params *to,
                    struct params **ret)
{
    struct param all[2 * PARAMS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < from->count; i++)
        if (params_find(to, from->all[i].name) != NULL && !params_has(to, &from->all[i]) &&
            params_find(set, from->all[i].name) == NULL)
            all[count++] = from->all[i];
    for (uint32_t i = 0; i < set->count; i++)
        if (!params_has(to, &set->all[i]))
            all[count++] = set->all[i];
    return params_intern(set->store, all, count, ret);
}
