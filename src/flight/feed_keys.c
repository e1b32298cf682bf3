#include "flight/feed_keys.h"

#include "base/map.h"
#include "machine/lock.h"

#include <stdlib.h>

/* A table with a key. */
struct keyed {
    struct map_link link; /* in feed_keys->tables */
    uint32_t relation;
    bool several; /* two keys were declared for it: none counts */
    struct feed_key key;
};

struct feed_keys {
    const struct generations_table *generations; /* borrowed */
    uint64_t database;
    struct lock lock;  /* guards the rest */
    uint64_t catalog;  /* the generation in which they were declared */
    struct map tables; /* of struct keyed */
};

static_assert((unsigned)VERDICT_KEYS_MAX <= FEED_COLUMNS_MAX, "a row is searched for all columns");

struct feed_keys *feed_keys_new(const struct generations_table *generations, uint64_t database)
{
    struct feed_keys *keys = calloc(1, sizeof(*keys));
    if (keys == NULL)
        return NULL;
    keys->generations = generations;
    keys->database = database;
    keys->tables = MAP_INIT(FEED_KEYS_MAX);
    lock_init(&keys->lock);
    return keys;
}

static void end_keyed(struct map_link *link)
{
    free(MAP_ENTRY(link, struct keyed, link));
}

void feed_keys_free(struct feed_keys **keys)
{
    if (*keys == NULL)
        return;
    struct feed_keys *gone = TAKE(*keys);
    map_clear(&gone->tables, end_keyed);
    lock_fini(&gone->lock);
    free(gone);
}

/* --- declaring -------------------------------------------------------------------------------- */

/* Copies the key of a verdict.  False: a name that no column has. */
static bool key_of(const struct verdict *verdict, struct feed_key *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->count = verdict->keys_count;
    invariant(ret->count > 0 && ret->count <= VERDICT_KEYS_MAX);
    for (uint32_t i = 0; i < ret->count; i++) {
        struct span name = verdict->keys[i].name;
        if (name.size == 0 || name.size > FEED_NAME_MAX)
            return false;
        ret->columns[i].type = verdict->keys[i].type;
        ret->columns[i].name.size = (uint8_t)name.size;
        memcpy(ret->columns[i].name.at, name.at, name.size);
    }
    return true;
}

static bool is_same_key(const struct feed_key *a, const struct feed_key *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = a->columns[i].type == b->columns[i].type &&
               span_equal(feed_name_span(&a->columns[i].name), feed_name_span(&b->columns[i].name));
    return same;
}

static bool is_of(const struct map_link *link, const void *relation)
{
    return MAP_ENTRY(link, struct keyed, link)->relation == *(const uint32_t *)relation;
}

static struct keyed *find_locked(const struct feed_keys *keys, uint32_t relation)
{
    struct map_link *link = map_find(&keys->tables, relation, is_of, &relation);
    return link == NULL ? NULL : MAP_ENTRY(link, struct keyed, link);
}

static bool add_locked(struct feed_keys *keys, uint32_t relation, const struct feed_key *key)
{
    struct keyed *keyed = calloc(1, sizeof(*keyed));
    if (keyed == NULL)
        return false;
    keyed->relation = relation;
    keyed->key = *key;
    if (map_insert(&keys->tables, &keyed->link, relation) == OK)
        return true;
    free(keyed);
    return false;
}

/* Forgets the keys of another generation.  Returns the present one. */
static uint64_t renew_locked(struct feed_keys *keys)
{
    uint64_t now = generations_catalog(keys->generations, keys->database);
    if (keys->catalog != now)
        map_clear(&keys->tables, end_keyed);
    keys->catalog = now;
    return now;
}

static bool declare_locked(struct feed_keys *keys, uint32_t relation, uint64_t catalog,
                           const struct feed_key *key)
{
    if (renew_locked(keys) != catalog)
        return false;
    struct keyed *keyed = find_locked(keys, relation);
    if (keyed == NULL)
        return add_locked(keys, relation, key);
    if (!is_same_key(&keyed->key, key))
        keyed->several = true;
    return !keyed->several;
}

bool feed_keys_declare(struct feed_keys *keys, uint32_t relation, uint64_t catalog,
                       const struct verdict *verdict)
{
    struct feed_key key;
    if (!key_of(verdict, &key))
        return false;
    lock_take(&keys->lock);
    bool declared = declare_locked(keys, relation, catalog, &key);
    lock_release(&keys->lock);
    return declared;
}

bool feed_keys_find(struct feed_keys *keys, uint32_t relation, struct feed_key *ret)
{
    lock_take(&keys->lock);
    renew_locked(keys);
    const struct keyed *keyed = find_locked(keys, relation);
    bool found = keyed != NULL && !keyed->several;
    if (found)
        *ret = keyed->key;
    lock_release(&keys->lock);
    return found;
}

uint32_t feed_keys_count(struct feed_keys *keys)
{
    lock_take(&keys->lock);
    renew_locked(keys);
    uint32_t count = keys->tables.count;
    lock_release(&keys->lock);
    return count;
}

/* --- values ----------------------------------------------------------------------------------- */

uint64_t feed_key_digest(struct span bytes)
{
    return hash_data(bytes.at, bytes.size, 0);
}

static bool is_type(enum verdict_key_type type, struct span told)
{
    switch (type) {
    case VERDICT_KEY_INTEGER:
        return span_is(told, "smallint") || span_is(told, "integer") || span_is(told, "bigint");
    case VERDICT_KEY_TEXT:
        return span_is(told, "text") || span_is(told, "character varying");
    case VERDICT_KEY_UUID:
        return span_is(told, "uuid");
    }
    return false;
}

/* Appends a value behind its size, as verdict_key_bytes does.  Output functions write canonical
 * texts: of a text its bytes, those above 127 too, which no statement's key has. */
static bool append_value(const struct feed_key_column *column, const struct feed_column *told,
                         struct buffer *bytes)
{
    bool quoted = told->literal.size > 0 && told->literal.at[0] == '\'';
    size_t start = bytes->size;
    uint32_t size = 0;
    if (!is_type(column->type, told->type) || quoted == (column->type == VERDICT_KEY_INTEGER))
        return false;
    buffer_append(bytes, &size, sizeof(size));
    feed_put_literal(bytes, told->literal);
    if (buffer_fault(bytes) != OK)
        return false;
    size = (uint32_t)(bytes->size - start - sizeof(size));
    memcpy(bytes->at + start, &size, sizeof(size));
    return true;
}

bool feed_key_of_row(const struct feed_key *key, struct feed_row row, struct buffer *bytes,
                     uint64_t *ret)
{
    struct span names[VERDICT_KEYS_MAX];
    struct feed_column columns[VERDICT_KEYS_MAX];
    for (uint32_t i = 0; i < key->count; i++)
        names[i] = feed_name_span(&key->columns[i].name);
    if (!feed_find_columns(row, names, key->count, columns))
        return false;
    buffer_clear(bytes);
    for (uint32_t i = 0; i < key->count; i++)
        if (!append_value(&key->columns[i], &columns[i], bytes))
            return false;
    *ret = feed_key_digest(buffer_span(bytes));
    return true;
}
