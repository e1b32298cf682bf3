#include "pooler/statements.h"

#include "base/check.h"
#include "pooler/kept.h"
#include "pooler/turn/pin.h"

#include <openssl/sha.h>
#include <stdlib.h>

static uint64_t digest_hash(const uint8_t digest[DIGEST_SIZE])
{
    uint64_t hash;
    memcpy(&hash, digest, sizeof(hash));
    return hash;
}

void statement_name(const uint8_t digest[DIGEST_SIZE], char name[STATEMENT_NAME_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    memcpy(name, "tl_", 3);
    for (int i = 0; i < DIGEST_SIZE; i++) {
        name[3 + 2 * i] = digits[digest[i] >> 4];
        name[4 + 2 * i] = digits[digest[i] & 15];
    }
    name[STATEMENT_NAME_SIZE - 1] = '\0';
}

/* --- texts ------------------------------------------------------------------------------------ */

static bool statement_is(const struct map_link *link, const void *digest)
{
    return memcmp(MAP_ENTRY(link, struct statement, link)->digest, digest, DIGEST_SIZE) == 0;
}

fault statement_intern(struct map *store, struct span body, struct statement **ret)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(body.at, body.size, digest);
    return statement_intern_as(store, digest, body, ret);
}

fault statement_intern_as(struct map *store, const uint8_t digest[DIGEST_SIZE], struct span body,
                          struct statement **ret)
{
    struct map_link *found = map_find(store, digest_hash(digest), statement_is, digest);
    if (found != NULL) {
        *ret = statement_ref(MAP_ENTRY(found, struct statement, link));
        return OK;
    }
    struct statement *statement = kept_alloc(sizeof(*statement) + body.size);
    if (statement == NULL)
        return FAULT_MEMORY;
    *statement = (struct statement){.store = store, .references = 1, .size = (uint32_t)body.size};
    memcpy(statement->digest, digest, DIGEST_SIZE);
    statement_name(digest, statement->name);
    memcpy(statement->body, body.at, body.size);
    statement->effects = NULL;
    if (UNLIKELY(query_may_have_effects(body)))
        statement->effects = pin_effects_of(body);
    fault inserted = map_insert(store, &statement->link, digest_hash(digest));
    if (inserted != OK) {
        pin_effects_free(statement->effects);
        kept_free(statement, sizeof(*statement) + body.size);
        return inserted;
    }
    *ret = statement;
    return OK;
}

struct statement *statement_ref(struct statement *statement)
{
    statement->references += 1;
    return statement;
}

void statement_unref(struct statement **statement)
{
    struct statement *gone = TAKE(*statement);
    if (gone == NULL)
        return;
    invariant(gone->references > 0);
    if (--gone->references > 0)
        return;
    map_remove(gone->store, &gone->link);
    pin_effects_free(gone->effects);
    kept_free(gone, sizeof(*gone) + gone->size);
}

/* --- a client's names ------------------------------------------------------------------------- */

static bool name_is(const struct map_link *link, const void *key)
{
    const struct client_statement *named = MAP_ENTRY(link, struct client_statement, link);
    return span_equal(span_of(named->name, named->size), *(const struct span *)key);
}

struct client_statement *client_statement_find(const struct map *names, struct span name)
{
    if (names->count == 0)
        return NULL;
    struct map_link *link = map_find(names, hash_span(name), name_is, &name);
    return link == NULL ? NULL : MAP_ENTRY(link, struct client_statement, link);
}

fault client_statement_add(struct map *names, struct span name, struct statement *statement,
                           struct client_statement **ret)
{
    if (name.size > UINT16_MAX)
        return FAULT_LIMIT;
    struct client_statement *named = kept_alloc(sizeof(*named) + name.size);
    if (named == NULL)
        return FAULT_MEMORY;
    *named =
        (struct client_statement){.references = 2, .pending = true, .size = (uint16_t)name.size};
    memcpy(named->name, name.at, name.size);
    fault inserted = map_insert(names, &named->link, hash_span(name));
    if (inserted != OK) {
        kept_free(named, sizeof(*named) + name.size);
        return inserted;
    }
    named->current = true;
    named->statement = statement_ref(statement);
    *ret = named;
    return OK;
}

void client_statement_unref(struct client_statement **named)
{
    struct client_statement *gone = TAKE(*named);
    if (gone == NULL)
        return;
    invariant(gone->references > 0);
    if (--gone->references > 0)
        return;
    statement_unref(&gone->statement);
    kept_free(gone, sizeof(*gone) + gone->size);
}

void client_statement_remove(struct map *names, struct client_statement *named)
{
    invariant(named->current);
    map_remove(names, &named->link);
    named->current = false;
    client_statement_unref(&named);
}

bool client_statement_restore(struct map *names, struct client_statement *named)
{
    struct span name = span_of(named->name, named->size);
    invariant(!named->current);
    if (client_statement_find(names, name) != NULL ||
        map_insert(names, &named->link, hash_span(name)) != OK)
        return false;
    named->current = true;
    named->references += 1;
    return true;
}

void client_statements_deallocate(struct map *names)
{
    struct map_link *next;
    for (struct map_link *link = map_next(names, NULL); link != NULL; link = next) {
        next = map_next(names, link);
        struct client_statement *named = MAP_ENTRY(link, struct client_statement, link);
        if (!named->pending)
            client_statement_remove(names, named);
    }
}

void client_statements_clear(struct map *names)
{
    struct map_link *next;
    for (struct map_link *link = map_next(names, NULL); link != NULL; link = next) {
        next = map_next(names, link);
        client_statement_remove(names, MAP_ENTRY(link, struct client_statement, link));
    }
    map_fini(names);
}

/* --- a server's digests ----------------------------------------------------------------------- */

static bool digest_is(const struct map_link *link, const void *digest)
{
    return memcmp(MAP_ENTRY(link, struct server_statement, link)->digest, digest, DIGEST_SIZE) == 0;
}

void server_statements_init(struct server_statements *on, uint32_t most)
{
    *on = (struct server_statements){.known = MAP_INIT(UINT32_MAX), .most = most};
    list_init(&on->used);
    list_init(&on->closing);
}

void server_statements_fini(struct server_statements *on)
{
    struct list *const lists[] = {&on->used, &on->closing};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        for (struct node *node; (node = list_pop(lists[i])) != NULL;)
            free(LIST_ENTRY(node, struct server_statement, used));
    map_fini(&on->known);
}

static struct server_statement *server_statement_find(struct server_statements *on,
                                                      const uint8_t digest[DIGEST_SIZE])
{
    struct map_link *link = map_find(&on->known, digest_hash(digest), digest_is, digest);
    return link == NULL ? NULL : MAP_ENTRY(link, struct server_statement, link);
}

/* To the front of `used`, from wherever it is. */
static void server_statement_touch(struct server_statements *on, struct server_statement *known)
{
    if (list_first(&on->used) == &known->used)
        return;
    list_remove(known->closing ? &on->closing : &on->used, &known->used);
    known->closing = false;
    list_push_front(&on->used, &known->used);
}

enum statement_place server_statement_use(struct server_statements *on,
                                          const uint8_t digest[DIGEST_SIZE], uint32_t batch)
{
    struct server_statement *known = server_statement_find(on, digest);
    if (known == NULL)
        return STATEMENT_ABSENT;
    bool unsure =
        known->closing || known->doubtful || (known->pending > 0 && known->batch != batch);
    server_statement_touch(on, known);
    known->doubtful = unsure; /* until the Parse that follows */
    return unsure ? STATEMENT_UNSURE : STATEMENT_THERE;
}

fault server_statement_add(struct server_statements *on, const uint8_t digest[DIGEST_SIZE],
                           uint32_t batch)
{
    struct server_statement *known = server_statement_find(on, digest);
    if (known == NULL) {
        known = calloc(1, sizeof(*known));
        if (known == NULL)
            return FAULT_MEMORY;
        memcpy(known->digest, digest, DIGEST_SIZE);
        fault inserted = map_insert(&on->known, &known->link, digest_hash(digest));
        if (inserted != OK) {
            free(known);
            return inserted;
        }
        list_push_front(&on->used, &known->used);
    }
    server_statement_touch(on, known);
    known->pending += 1;
    known->batch = batch;
    known->doubtful = false;
    return OK;
}

void server_statement_settle(struct server_statements *on, const uint8_t digest[DIGEST_SIZE],
                             bool parsed)
{
    struct server_statement *known = server_statement_find(on, digest);
    if (known == NULL && !parsed)
        return;
    if (known == NULL) {
        /* A DISCARD ALL has been answered since it was sent: it is there, and may not be forgotten.
         */
        if (server_statement_add(on, digest, 0) != OK)
            return;
        known = server_statement_find(on, digest);
    }
    if (known->pending > 0)
        known->pending -= 1;
    known->doubtful = !parsed;
}

static void server_statement_free(struct server_statements *on, struct server_statement *known)
{
    map_remove(&on->known, &known->link);
    list_remove(known->closing ? &on->closing : &on->used, &known->used);
    free(known);
}

const struct server_statement *server_statement_evict(struct server_statements *on)
{
    if (on->used.count <= on->most)
        return NULL;
    struct server_statement *oldest =
        LIST_ENTRY(list_last(&on->used), struct server_statement, used);
    list_remove(&on->used, &oldest->used);
    list_push(&on->closing, &oldest->used);
    oldest->closing = true;
    oldest->closes += 1;
    return oldest;
}

void server_statement_evicted(struct server_statements *on, const uint8_t digest[DIGEST_SIZE],
                              bool closed)
{
    struct server_statement *known = server_statement_find(on, digest);
    if (known == NULL)
        return;
    known->closes -= known->closes > 0;
    if (!known->closing || known->closes > 0)
        return; /* parsed again since, and perhaps closed again */
    if (closed) {
        server_statement_free(on, known);
        return;
    }
    list_remove(&on->closing, &known->used);
    list_push(&on->used, &known->used);
    known->closing = false;
    known->doubtful = true;
}

void server_statements_doubt(struct server_statements *on)
{
    LIST_EACH (&on->used, it)
        LIST_ENTRY(it, struct server_statement, used)->doubtful = true;
}
