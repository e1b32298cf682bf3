#include "session/statements.h"

#include "base/check.h"
#include "query/outcome.h"
#include "session/counted.h"
#include "session/effects.h"

#include <stdlib.h>

static uint64_t digest_hash(const struct digest *digest)
{
    uint64_t hash;
    memcpy(&hash, digest->bytes, sizeof(hash));
    return hash;
}

void statement_name(const struct digest *fresh, char name[STATEMENT_NAME_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    memcpy(name, "tl_", 3);
    for (int i = 0; i < DIGEST_SIZE; i++) {
        name[3 + 2 * i] = digits[fresh->bytes[i] >> 4];
        name[4 + 2 * i] = digits[fresh->bytes[i] & 15];
    }
    name[STATEMENT_NAME_SIZE - 1] = '\0';
}

/* --- texts ------------------------------------------------------------------------------------ */

static bool is_word_part(uint8_t byte)
{
    return byte == '_' || (byte >= '0' && byte <= '9') || byte >= 0x80 ||
           ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

/* Returns whether the word stands at `at`, and is not a call of a function of that name. */
static bool is_word(struct span text, size_t at, const char *word)
{
    size_t end = at + strlen(word);
    if (end > text.size || strncasecmp((const char *)text.at + at, word, end - at) != 0 ||
        (at > 0 && is_word_part(text.at[at - 1])) ||
        (end < text.size && is_word_part(text.at[end])))
        return false;
    while (end < text.size && text.at[end] == ' ')
        end += 1;
    return end == text.size || text.at[end] != '(';
}

/* Returns whether the text may have literals whose value is the time of the Parse. */
static bool text_is_timely(struct span text)
{
    for (size_t at = 0; at < text.size; at++)
        switch (text.at[at] | 0x20) {
        case 'n':
            if (is_word(text, at, "now"))
                return true;
            break;
        case 't':
            if (is_word(text, at, "today") || is_word(text, at, "tomorrow"))
                return true;
            break;
        case 'y':
            if (is_word(text, at, "yesterday"))
                return true;
            break;
        default:
            break;
        }
    return false;
}

/* PostgreSQL does not raise "cached plan must not change result type" for these. */
bool statement_follows(struct span body)
{
    while (body.size > 0 && (body.at[0] == ' ' || body.at[0] == '\n' || body.at[0] == '\t'))
        body = span_skip(body, 1);
    return is_word(body, 0, "fetch") || is_word(body, 0, "execute");
}

static bool begins_with_one(struct span body, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_word(body, 0, words[i]))
            return true;
    return false;
}

static struct span skip_space(struct span body)
{
    while (body.size > 0 && memchr(" \t\r\n", body.at[0], 4) != NULL)
        body = span_skip(body, 1);
    return body;
}

bool statement_is_command(struct span body)
{
    static const char *const words[] = {"abort",   "alter", "begin",    "cluster",   "commit",
                                        "discard", "drop",  "end",      "prepare",   "reindex",
                                        "release", "reset", "rollback", "savepoint", "set",
                                        "show",    "start", "vacuum"};
    static const char *const created[] = {"database", "index", "subscription", "tablespace",
                                          "unique"};
    body = skip_space(body);
    if (!is_word(body, 0, "create"))
        return begins_with_one(body, words, ARRAY_SIZE(words));
    return begins_with_one(skip_space(span_skip(body, 6)), created, ARRAY_SIZE(created));
}

static bool statement_is(const struct map_link *link, const void *digest)
{
    return digest_equal(&MAP_ENTRY(link, struct statement, link)->digest, digest);
}

fault statement_intern(struct map *store, struct span body, struct statement **ret)
{
    struct digest digest = digest_of(body);
    return statement_intern_as(store, &digest, body, ret);
}

static struct statement *statement_new(struct map *store, const struct digest *digest,
                                       struct span body)
{
    struct statement *statement = counted_alloc(sizeof(*statement) + body.size);
    if (statement == NULL)
        return NULL;
    *statement = (struct statement){.store = store,
                                    .references = 1,
                                    .size = (uint32_t)body.size,
                                    .digest = *digest,
                                    .alters = query_may_have_effects(body),
                                    .timely = text_is_timely(body),
                                    .outcome = query_outcome_of(body),
                                    .follows = statement_follows(body)};
    memcpy(statement->body, body.at, body.size);
    return statement;
}

fault statement_intern_as(struct map *store, const struct digest *digest, struct span body,
                          struct statement **ret)
{
    struct map_link *found = map_find(store, digest_hash(digest), statement_is, digest);
    if (found != NULL) {
        *ret = statement_ref(MAP_ENTRY(found, struct statement, link));
        return OK;
    }
    struct statement *statement = statement_new(store, digest, body);
    if (statement == NULL)
        return FAULT_MEMORY;
    fault inserted = effects_of_text(body, &statement->effects);
    if (inserted == OK)
        inserted = map_insert(store, &statement->link, digest_hash(digest));
    if (inserted != OK) {
        effects_free(statement->effects);
        counted_free(statement, sizeof(*statement) + body.size);
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
    effects_free(gone->effects);
    counted_free(gone, sizeof(*gone) + gone->size);
}

/* --- a client's names ------------------------------------------------------------------------- */

static bool name_is(const struct map_link *link, const void *key)
{
    const struct client_statement *named = MAP_ENTRY(link, struct client_statement, link);
    return span_equal(span_of(named->name, named->size), *(const struct span *)key);
}

static struct span name_kept(struct span name)
{
    return span_of(name.at, MIN_OF(name.size, (size_t)STATEMENT_NAME_KEPT));
}

struct client_statement *client_statement_find(const struct map *names, struct span name)
{
    if (names->count == 0)
        return NULL;
    name = name_kept(name);
    struct map_link *link = map_find(names, hash_span(name), name_is, &name);
    return link == NULL ? NULL : MAP_ENTRY(link, struct client_statement, link);
}

fault client_statement_add(struct map *names, struct span name, struct statement *statement,
                           struct client_statement **ret)
{
    name = name_kept(name);
    struct client_statement *named = counted_alloc(sizeof(*named) + name.size);
    if (named == NULL)
        return FAULT_MEMORY;
    *named =
        (struct client_statement){.references = 2, .pending = true, .size = (uint16_t)name.size};
    memcpy(named->name, name.at, name.size);
    fault inserted = map_insert(names, &named->link, hash_span(name));
    if (inserted != OK) {
        counted_free(named, sizeof(*named) + name.size);
        return inserted;
    }
    named->current = true;
    named->statement = statement_ref(statement);
    *ret = named;
    return OK;
}

struct client_statement *client_statement_ref(struct client_statement *named)
{
    named->references += 1;
    return named;
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
    params_unref(&gone->params);
    counted_free(gone, sizeof(*gone) + gone->size);
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

const struct client_statement *client_statement_meaning(const struct map *names,
                                                        const struct digest *key)
{
    for (struct map_link *link = map_next(names, NULL); link != NULL;
         link = map_next(names, link)) {
        const struct client_statement *named = MAP_ENTRY(link, struct client_statement, link);
        if (digest_equal(&named->meaning.key, key))
            return named;
    }
    return NULL;
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

void client_statement_means(struct client_statement *named, const struct signature *signature,
                            const struct digest *defaults)
{
    struct meaning *meaning = &named->meaning;
    meaning->shape = signature->shape;
    meaning->shaped = true;
    if (defaults == NULL)
        return;
    struct {
        struct digest text, session, defaults, whole;
        uint64_t generation;
        struct statement_catalog catalog;
    } all = {named->statement->digest, meaning->session,    *defaults,
             signature->whole,         meaning->generation, meaning->catalog};
    static_assert(sizeof(all) == 4 * DIGEST_SIZE + 3 * sizeof(uint64_t), "no padding is hashed");
    meaning->key = digest_of(span_of(&all, sizeof(all)));
    meaning->shared = true;
}

/* --- a server's statements -------------------------------------------------------------------- */

static bool key_is(const struct map_link *link, const void *key)
{
    return digest_equal(&MAP_ENTRY(link, struct server_statement, link)->key, key);
}

void server_statements_init(struct server_statements *on, uint32_t max)
{
    *on = (struct server_statements){.known = MAP_INIT(UINT32_MAX), .max = max};
    list_init(&on->used);
    list_init(&on->orphans);
    list_init(&on->closing);
}

void server_statements_fini(struct server_statements *on)
{
    struct list *const lists[] = {&on->used, &on->orphans, &on->closing};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        for (struct node *node; (node = list_pop(lists[i])) != NULL;)
            free(LIST_ENTRY(node, struct server_statement, used));
    map_fini(&on->known);
}

struct server_statement *server_statement_find(const struct server_statements *on,
                                               const struct digest *key)
{
    struct map_link *link = map_find(&on->known, digest_hash(key), key_is, key);
    return link == NULL ? NULL : MAP_ENTRY(link, struct server_statement, link);
}

void server_statement_drop(struct server_statements *on, struct server_statement *known)
{
    map_remove(&on->known, &known->link);
    list_remove(&on->used, &known->used);
    list_push(&on->orphans, &known->used);
}

static void server_statement_free(struct server_statements *on, struct server_statement *known)
{
    map_remove(&on->known, &known->link);
    list_remove(&on->used, &known->used);
    free(known);
}

struct server_statement *server_statement_use(struct server_statements *on,
                                              const struct digest *key, uint64_t client)
{
    struct server_statement *known = server_statement_find(on, key);
    if (known == NULL)
        return NULL;
    if (UNLIKELY(known->owner != 0 && known->owner != client)) {
        server_statement_drop(on, known);
        return NULL;
    }
    if (list_first(&on->used) != &known->used) {
        list_remove(&on->used, &known->used);
        list_push_front(&on->used, &known->used);
    }
    return known;
}

fault server_statement_add(struct server_statements *on, const struct digest *key,
                           const struct digest *fresh, struct server_statement **ret)
{
    struct server_statement *known = calloc(1, sizeof(*known));
    if (known == NULL)
        return FAULT_MEMORY;
    known->key = *key;
    known->pending = true;
    statement_name(fresh, known->name);
    fault inserted = map_insert(&on->known, &known->link, digest_hash(key));
    if (inserted != OK) {
        free(known);
        return inserted;
    }
    list_push_front(&on->used, &known->used);
    *ret = known;
    return OK;
}

void server_statement_settle(struct server_statements *on, const struct digest *key, bool parsed)
{
    struct server_statement *known = server_statement_find(on, key);
    if (known == NULL)
        return;
    known->pending = false;
    if (!parsed)
        server_statement_free(on, known);
}

void server_statement_rename(struct server_statements *on, const struct digest *from,
                             const struct digest *to)
{
    struct server_statement *known = server_statement_find(on, from);
    struct server_statement *older = server_statement_find(on, to);
    if (known == NULL || known == older)
        return;
    if (older != NULL)
        server_statement_drop(on, older);
    map_remove(&on->known, &known->link);
    known->key = *to;
    if (map_insert(&on->known, &known->link, digest_hash(to)) == OK)
        return;
    list_remove(&on->used, &known->used);
    list_push(&on->orphans, &known->used);
}

fault server_statement_litter(struct server_statements *on, const struct digest *fresh)
{
    struct server_statement *litter = calloc(1, sizeof(*litter));
    if (litter == NULL)
        return FAULT_MEMORY;
    statement_name(fresh, litter->name);
    list_push(&on->orphans, &litter->used);
    return OK;
}

void server_statement_evict(struct server_statements *on)
{
    while (on->used.count > on->max)
        server_statement_drop(on, LIST_ENTRY(list_last(&on->used), struct server_statement, used));
}

const struct server_statement *server_statement_orphan(struct server_statements *on)
{
    struct node *first = list_pop(&on->orphans);
    if (first == NULL)
        return NULL;
    list_push(&on->closing, first);
    return LIST_ENTRY(first, struct server_statement, used);
}

/* Finds the oldest Close of this name if it was answered, the newest if it was skipped: entries are
 * answered in order and dropped in reverse order. */
static struct node *find_closing(const struct server_statements *on,
                                 const char name[STATEMENT_NAME_SIZE], bool closed)
{
    const struct node *head = &on->closing.head;
    for (struct node *it = closed ? head->next : head->prev; it != head;
         it = closed ? it->next : it->prev)
        if (memcmp(LIST_ENTRY(it, struct server_statement, used)->name, name,
                   STATEMENT_NAME_SIZE) == 0)
            return it;
    return NULL;
}

void server_statement_closed(struct server_statements *on, const char name[STATEMENT_NAME_SIZE],
                             bool closed)
{
    struct node *node = find_closing(on, name, closed);
    if (node == NULL)
        return;
    list_remove(&on->closing, node);
    if (closed)
        free(LIST_ENTRY(node, struct server_statement, used));
    else
        list_push_front(&on->orphans, node);
}

/* A pending statement stays: its Parse comes behind the DEALLOCATE ALL. */
void server_statements_deallocated(struct server_statements *on)
{
    struct list *const gone[] = {&on->orphans, &on->closing};
    for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
        for (struct node *node; (node = list_pop(gone[i])) != NULL;)
            free(LIST_ENTRY(node, struct server_statement, used));
    LIST_EACH_SAFE (&on->used, it) {
        struct server_statement *known = LIST_ENTRY(it, struct server_statement, used);
        if (!known->pending)
            server_statement_free(on, known);
    }
}

void server_statements_doubt(struct server_statements *on)
{
    LIST_EACH_SAFE (&on->used, it) {
        struct server_statement *known = LIST_ENTRY(it, struct server_statement, used);
        if (!known->pending)
            server_statement_drop(on, known);
    }
}

const struct server_statement *server_statement_named(const struct server_statements *on,
                                                      struct span name)
{
    LIST_EACH (&on->used, it) {
        const struct server_statement *known = LIST_ENTRY(it, struct server_statement, used);
        if (span_is(name, known->name))
            return known;
    }
    return NULL;
}
