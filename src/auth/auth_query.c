#include "auth/auth_query.h"

#include "link/link.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/log.h"
#include "pool/claim.h"
#include "session/counted.h"
#include "wire/messages.h"
#include "wire/scram.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX       1048576u /* bytes of one message of a reply, and of all its values */
#define AUTH_ANSWERS_MAX 10000u   /* answers in a relay's cache; then it is emptied */
#define SECRET_MAX       2047u

/* All roles that a user is a member of, directly or through other roles.  Being a superuser makes
 * no member, as in pg_hba.conf. */
static const char roles_sql[] =
    "WITH RECURSIVE held(oid) AS ("
    "SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1 UNION "
    "SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN held ON m.member = held.oid) "
    "SELECT r.rolname FROM held JOIN pg_catalog.pg_roles r ON r.oid = held.oid";

/* --- the cache -------------------------------------------------------------------------------- */

enum question { QUESTION_SECRET = 's', QUESTION_ROLES = 'r' };

struct answer {
    struct map_link link;
    uint64_t version; /* of the configuration */
    moment since;
    uint32_t key_size;
    uint32_t size;
    uint8_t bytes[]; /* the key, then the values, each with a NUL behind it */
};

struct auth_cache {
    struct map answers;
    uint32_t iterations; /* of the SCRAM secret seen last */
};

static struct span answer_key(const struct answer *answer)
{
    return span_of(answer->bytes, answer->key_size);
}

static struct span answer_values(const struct answer *answer)
{
    return span_of(answer->bytes + answer->key_size, answer->size);
}

static bool answer_is(const struct map_link *link, const void *key)
{
    return span_equal(answer_key(MAP_ENTRY(link, struct answer, link)), *(const struct span *)key);
}

static void answer_drop(struct answer *answer)
{
    size_t size = sizeof(*answer) + answer->key_size + answer->size;
    explicit_bzero(answer, size);
    counted_free(answer, size);
}

static void answer_free(struct auth_cache *cache, struct answer *answer)
{
    invariant(cache->answers.count > 0);
    map_remove(&cache->answers, &answer->link);
    answer_drop(answer);
}

static void cache_clear(struct auth_cache *cache)
{
    struct map_link *link = map_next(&cache->answers, NULL);
    while (link != NULL) {
        struct answer *answer = MAP_ENTRY(link, struct answer, link);
        link = map_next(&cache->answers, link);
        answer_free(cache, answer);
    }
    invariant(cache->answers.count == 0);
}

void auth_cache_clear(struct auth_cache *cache)
{
    if (cache != NULL)
        cache_clear(cache);
}

void auth_cache_free(struct auth_cache **cache)
{
    struct auth_cache *gone = TAKE(*cache);
    if (gone == NULL)
        return;
    cache_clear(gone);
    map_fini(&gone->answers);
    free(gone);
}

static struct auth_cache *cache_of(struct auth_room *room)
{
    if (room->cache == NULL)
        room->cache = calloc(1, sizeof(struct auth_cache));
    if (room->cache != NULL && room->cache->answers.max == 0)
        room->cache->answers = MAP_INIT(AUTH_ANSWERS_MAX);
    return room->cache;
}

/* One query of one login. */
struct lookup {
    struct auth_request *request;
    struct auth_room *room;
    struct config *config; /* counted: the latest */
    const struct route_config *route;
    enum question question;
    const char *sql;
    struct buffer key;
    struct buffer values;
    struct buffer message;
    struct claim claim; /* of no client */
};

static const struct answer *cache_find(const struct lookup *lookup)
{
    const struct auth_cache *cache = lookup->room->cache;
    struct span key = buffer_span(&lookup->key);
    if (cache == NULL)
        return NULL;
    const struct map_link *link = map_find(&cache->answers, hash_span(key), answer_is, &key);
    const struct answer *answer = link == NULL ? NULL : MAP_ENTRY(link, const struct answer, link);
    if (answer == NULL || answer->version != lookup->config->version ||
        later(answer->since, lookup->config->query.refresh).us <= now().us)
        return NULL;
    return answer;
}

static void cache_forget(struct auth_cache *cache, struct span key)
{
    struct map_link *link =
        cache == NULL ? NULL : map_find(&cache->answers, hash_span(key), answer_is, &key);
    if (link != NULL)
        answer_free(cache, MAP_ENTRY(link, struct answer, link));
}

/* Caches the answer; without memory it is not cached. */
static void cache_keep(const struct lookup *lookup)
{
    struct auth_cache *cache = cache_of(lookup->room);
    struct span key = buffer_span(&lookup->key), values = buffer_span(&lookup->values);
    struct scram_verifier verifier;
    if (cache == NULL)
        return;
    invariant(values.size == 0 || values.at[values.size - 1] == '\0');
    if (lookup->question == QUESTION_SECRET && values.size > 0 &&
        scram_read_verifier(span_of(values.at, values.size - 1), &verifier) == OK)
        cache->iterations = verifier.iterations;
    cache_forget(cache, key);
    if (cache->answers.count == AUTH_ANSWERS_MAX)
        cache_clear(cache);
    invariant(cache->answers.count < AUTH_ANSWERS_MAX);
    struct answer *answer = counted_alloc(sizeof(*answer) + key.size + values.size);
    if (answer == NULL)
        return;
    *answer = (struct answer){.version = lookup->config->version,
                              .since = now(),
                              .key_size = (uint32_t)key.size,
                              .size = (uint32_t)values.size};
    memcpy(answer->bytes, key.at, key.size);
    if (values.size > 0)
        memcpy(answer->bytes + key.size, values.at, values.size);
    if (map_insert(&cache->answers, &answer->link, hash_span(key)) != OK)
        answer_drop(answer);
}

/* --- reading the reply ------------------------------------------------------------------------ */

/* Reads one field of a row; false: NULL, or no field left. */
static bool row_field(struct wire_reader *in, struct span *ret)
{
    uint32_t size = wire_get_u32(in);
    if (size == UINT32_MAX)
        return false;
    *ret = wire_get_bytes(in, size);
    return !in->failed;
}

static void value_keep(struct lookup *lookup, struct span value)
{
    buffer_append_span(&lookup->values, value);
    buffer_append_byte(&lookup->values, '\0');
}

/* Reads one row.  For secrets: a single column is the secret.  With more columns, the first is the
 * user's name and the second the secret.  A row for another user is ignored, so that no user can
 * log in with the secret of another. */
static fault row_read(struct lookup *lookup, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    uint32_t columns = wire_get_u16(&in);
    struct span value = SPAN_NONE;
    bool secret = lookup->question == QUESTION_SECRET;
    if (secret && lookup->values.size > 0)
        return fault_raise(FAULT_UPSTREAM, "auth_query has more than one row for user \"%.*s\"",
                           SPAN_ARG(lookup->request->user));
    if (secret && columns > 1) {
        bool named = row_field(&in, &value);
        if (!named || !span_equal(value, lookup->request->user))
            return OK;
    }
    if (columns == 0 || !row_field(&in, &value) || value.size == 0)
        return in.failed ? FAULT_PROTOCOL : OK;
    if (memchr(value.at, '\0', value.size) != NULL || (secret && value.size > SECRET_MAX))
        return fault_raise(FAULT_UPSTREAM, "auth_query has a secret of %zu bytes, the limit is %u",
                           value.size, SECRET_MAX);
    value_keep(lookup, value);
    return buffer_fault(&lookup->values);
}

static fault error_read(struct span body)
{
    struct wire_error error;
    if (wire_read_error(body, &error) != OK)
        return fault_raise(FAULT_UPSTREAM, "an error that can't be read");
    return fault_raise(FAULT_UPSTREAM, "%.*s (%.*s)", SPAN_ARG(error.message),
                       SPAN_ARG(error.sqlstate));
}

/* Reads messages up to ReadyForQuery; then returns the first fault.  `*ret_whole`: the reply is
 * complete and the server is idle, so that it can be used again. */
static fault answer_read(struct lookup *lookup, struct stream *stream, deadline by, bool *ret_whole)
{
    fault wrong = OK;
    char why[FAULT_STORY_MAX] = "";
    for (;;) {
        struct wire_frame frame;
        TRY(link_read_message(stream, &lookup->message, ANSWER_MAX, &frame, by));
        fault here = OK;
        if (frame.type == WIRE_DATA_ROW)
            here = row_read(lookup, frame.body);
        else if (frame.type == WIRE_ERROR)
            here = error_read(frame.body);
        if (here != OK && wrong == OK) {
            wrong = here;
            snprintf(why, sizeof(why), "%s", fault_detail(here));
        }
        if (frame.type != WIRE_READY)
            continue;
        *ret_whole = frame.body.size == 1 && frame.body.at[0] == WIRE_TX_IDLE;
        return wrong == OK ? OK : fault_raise(wrong, "%s", why);
    }
}

/* --- sending the query ------------------------------------------------------------------------ */

static void question_put(const struct lookup *lookup, struct buffer *out)
{
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, "");
    wire_put_text(out, lookup->sql);
    wire_put_u16(out, 0);
    wire_end(out, start);
    start = wire_begin(out, WIRE_BIND);
    wire_put_text(out, "");
    wire_put_text(out, "");
    wire_put_u16(out, 0);
    wire_put_u16(out, 1);
    wire_put_u32(out, (uint32_t)lookup->request->user.size);
    wire_put_bytes(out, lookup->request->user);
    wire_put_u16(out, 0);
    wire_end(out, start);
    start = wire_begin(out, WIRE_EXECUTE);
    wire_put_text(out, "");
    wire_put_u32(out, 0);
    wire_end(out, start);
    wire_put_empty(out, WIRE_SYNC);
}

static fault server_ask(struct lookup *lookup, struct server *server, deadline by, bool *ret_whole)
{
    struct buffer out = BUFFER_INIT(ANSWER_MAX);
    question_put(lookup, &out);
    server->session.unnamed.of = 0;
    fault result = link_send(&server->stream, &out, by);
    buffer_fini(&out);
    if (result == OK)
        result = answer_read(lookup, &server->stream, by, ret_whole);
    return result;
}

static fault asker_wait(struct lookup *lookup, deadline by)
{
    struct claim *claim = &lookup->claim;
    claim->login = true;
    if (claim_make(claim, co_waker(co_self())))
        return OK;
    while (claim->state == CLAIM_WAITING) {
        fault waited = co_wait(by);
        bool gone = stream_hung_up(lookup->request->stream);
        if (waited == OK && !gone)
            continue;
        claim_withdraw(claim);
        return gone ? FAULT_CLOSED : waited;
    }
    if (claim->state == CLAIM_GRANTED)
        return OK;
    struct refusal *refusal = TAKE(claim->refusal);
    claim_done(claim);
    fault refused =
        refusal == NULL ? FAULT_MEMORY : fault_raise(FAULT_UPSTREAM, "%s", refusal->text);
    refusal_unref(&refusal);
    return refused;
}

/* Queries one server of the pool.  `*ret_stale`: the server's connection was closed, perhaps while
 * it was idle; another server may work. */
static fault lookup_once(struct lookup *lookup, deadline by, bool *ret_stale)
{
    struct claim *claim = &lookup->claim;
    bool whole = false;
    char why[FAULT_STORY_MAX] = "it was asked who a user is";
    TRY(asker_wait(lookup, by));
    if (cache_find(lookup) != NULL) { /* another login has cached the answer meanwhile */
        claim_withdraw(claim);
        return OK;
    }
    struct server *server = claim->server;
    invariant(claim->state == CLAIM_GRANTED && server->client == NULL);
    server->stream.waker = co_waker(co_self());
    fault result = server_ask(lookup, server, by, &whole);
    if (result != OK)
        snprintf(why, sizeof(why), "%s", fault_detail(result));
    claim_done(claim);
    if (whole) {
        local_pool_free(claim->pool, server);
    } else {
        *ret_stale = result == FAULT_CLOSED;
        server->broken = true;
        server_close(&server, why, result == FAULT_CLOSED);
    }
    if (result == OK)
        cache_keep(lookup);
    return result == OK ? OK : fault_raise(result, "%s", why);
}

static fault lookup_in_pool(struct lookup *lookup)
{
    struct claim *claim = &lookup->claim;
    deadline by = earlier_of(lookup->request->by, after(lookup->config->query.timeout));
    bool stale = false;
    fault result = local_pool_enter(claim->pool, by);
    if (result == OK)
        result = lookup_once(lookup, by, &stale);
    if (stale && result == FAULT_CLOSED)
        result = lookup_once(lookup, by, &stale);
    return result;
}

/* Logs a failed query.  The client gets an error that does not depend on the user's name. */
static fault lookup_failed(const struct lookup *lookup, fault why)
{
    if (why == FAULT_CANCELLED || stream_hung_up(lookup->request->stream))
        return why == FAULT_CANCELLED ? why : FAULT_CLOSED;
    log_event(LOG_WARNING, "auth.query_failed", log_id("client", lookup->request->client),
              log_text("service", lookup->route->service->name),
              log_span("user", lookup->request->user), log_quote("reason", fault_detail(why)));
    return fault_raise_state(FAULT_UPSTREAM, "58000", "auth_query failed: no server");
}

static fault lookup_run(struct lookup *lookup)
{
    struct claim *claim = &lookup->claim;
    struct local_pools *pools = lookup->room->pools;
    const struct config *config = lookup->config;
    claim->params = params_ref(pools->params.none);
    fault result = local_pool_of(pools, lookup->route, span_text(config->query.database),
                                 span_text(config->query.user), &claim->pool);
    if (result == OK) {
        local_pool_join(claim->pool);
        result = lookup_in_pool(lookup);
        local_pool_leave(claim->pool);
    }
    invariant(claim->state == CLAIM_NONE && claim->server == NULL);
    params_unref(&claim->params);
    return result == OK ? OK : lookup_failed(lookup, result);
}

/* --- lookups ---------------------------------------------------------------------------------- */

static struct lookup *lookup_new(struct auth_request *request, enum question question)
{
    struct auth_room *room = request->room;
    const struct route_config *of = request->lookup;
    const struct route_config *route =
        of == NULL ? NULL : config_route_lookup(room->pools->config, of->service->name, of->target);
    struct lookup *lookup = route == NULL ? NULL : calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return NULL;
    lookup->request = request;
    lookup->room = room;
    lookup->config = config_ref(room->pools->config);
    lookup->route = route;
    lookup->question = question;
    lookup->sql = question == QUESTION_SECRET ? lookup->config->query.sql : roles_sql;
    lookup->key = BUFFER_INIT(WIRE_STARTUP_MAX + 1024);
    lookup->values = BUFFER_INIT(ANSWER_MAX);
    lookup->message = BUFFER_INIT(ANSWER_MAX);
    buffer_printf(&lookup->key, "%c%s", question, of->service->name);
    buffer_append_byte(&lookup->key, '\0');
    buffer_append_span(&lookup->key, request->user);
    return lookup;
}

static void buffer_wipe(struct buffer *buffer)
{
    if (buffer->at != NULL)
        explicit_bzero(buffer->at, buffer->capacity);
    buffer_fini(buffer);
}

static void lookup_free(struct lookup *lookup)
{
    invariant(lookup->claim.params == NULL && lookup->claim.refusal == NULL);
    buffer_wipe(&lookup->values);
    buffer_wipe(&lookup->message);
    buffer_fini(&lookup->key);
    config_unref(&lookup->config);
    free(lookup);
}

/* Gets the values from the cache or a server.  `*ret` points into the lookup, or into the cache
 * until the next suspension. */
static fault lookup_values(struct lookup *lookup, struct span *ret)
{
    const struct answer *known = cache_find(lookup);
    if (known == NULL) {
        TRY(lookup_run(lookup));
        known = lookup->values.size > 0 ? NULL : cache_find(lookup);
    }
    invariant(known == NULL || lookup->values.size == 0);
    *ret = known != NULL ? answer_values(known) : buffer_span(&lookup->values);
    return OK;
}

fault auth_query_secret(struct auth_request *request, char **ret)
{
    struct lookup *lookup = lookup_new(request, QUESTION_SECRET);
    struct span values;
    *ret = NULL;
    if (lookup == NULL)
        return OK;
    fault result = lookup_values(lookup, &values);
    if (result == OK && values.size > 0) {
        *ret = strndup((const char *)values.at, values.size);
        result = *ret == NULL ? FAULT_MEMORY : OK;
    }
    lookup_free(lookup);
    return result;
}

fault auth_query_role(struct auth_request *request, const char *role, bool *ret)
{
    struct lookup *lookup = lookup_new(request, QUESTION_ROLES);
    struct span values;
    *ret = false;
    if (lookup == NULL)
        return OK;
    fault result = lookup_values(lookup, &values);
    while (result == OK && !*ret && values.size > 0) {
        struct span name = span_text((const char *)values.at);
        *ret = span_is(name, role);
        values = span_skip(values, name.size + 1);
    }
    lookup_free(lookup);
    return result;
}

void auth_query_doubt(const struct auth_request *request)
{
    struct auth_cache *cache = request->room->cache;
    struct lookup *lookup = lookup_new((struct auth_request *)(uintptr_t)request, QUESTION_SECRET);
    if (lookup == NULL)
        return;
    const struct answer *answer = cache_find(lookup);
    /* Not in the first second: wrong passwords must not cause a query each. */
    if (answer != NULL && later(answer->since, sec(1)).us <= now().us)
        cache_forget(cache, buffer_span(&lookup->key));
    lookup_free(lookup);
}

uint32_t auth_query_iterations(const struct auth_request *request)
{
    const struct auth_cache *cache = request->room->cache;
    if (request->lookup == NULL)
        return 0;
    return cache != NULL && cache->iterations > 0 ? cache->iterations : SCRAM_ITERATIONS;
}
