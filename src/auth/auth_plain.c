/*
 * auth_plain.c - SCRAM verifiers that are not stored: of plain secrets, derived once for many
 * unauthenticated clients, and mock ones.
 *
 * A relay keeps verifiers by user and secret until a reload.  Of several logins at the same time
 * one derives the verifier and the others wait for it.  At VERIFIERS_MAX all are removed.
 */
#include "auth/auth_parts.h"
#include "auth/auth_query.h"
#include "link/link.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "session/counted.h"

#include <stdlib.h>

#define VERIFIERS_MAX 4096u
/* Pause between checks whether another login's derivation is done. */
#define DERIVE_PAUSE ms(2)

uint32_t auth_usual_iterations(const struct auth_request *request)
{
    uint32_t file = request->config->scram_iterations;
    return file > 0 ? file : auth_query_iterations(request);
}

/* Makes the verifier for a user that does not exist.  Plain secrets use the same salt, so that
 * clients can't tell the two apart. */
void auth_mock_verifier(const struct auth_request *request, struct scram_verifier *ret)
{
    scram_mock_verifier(request->room->pools->env->mock_secret, request->user, ret);
    if (auth_usual_iterations(request) > 0)
        ret->iterations = auth_usual_iterations(request);
}

struct plain {
    struct map_link link;
    uint64_t key;
    bool deriving; /* a login is deriving it */
    struct scram_verifier verifier;
};

static bool plain_is(const struct map_link *link, const void *key)
{
    return MAP_ENTRY(link, struct plain, link)->key == *(const uint64_t *)key;
}

static struct plain *plain_find(const struct map *all, uint64_t key)
{
    struct map_link *link = map_find(all, key, plain_is, &key);
    return link == NULL ? NULL : MAP_ENTRY(link, struct plain, link);
}

static void plain_end(struct map_link *link)
{
    struct plain *gone = MAP_ENTRY(link, struct plain, link);
    explicit_bzero(&gone->verifier, sizeof(gone->verifier));
    counted_free(gone, sizeof(*gone));
}

void auth_plain_clear(struct map *all)
{
    map_clear(all, plain_end);
}

/* Adds an entry that is being derived; NULL: no memory. */
static struct plain *plain_enter(struct map *all, uint64_t key)
{
    if (all->count >= VERIFIERS_MAX)
        auth_plain_clear(all);
    invariant(all->count < VERIFIERS_MAX);
    costly_invariant(plain_find(all, key) == NULL);
    struct plain *plain = counted_alloc(sizeof(*plain));
    if (plain == NULL)
        return NULL;
    *plain = (struct plain){.key = key, .deriving = true};
    if (map_insert(all, &plain->link, key) == OK)
        return plain;
    counted_free(plain, sizeof(*plain));
    return NULL;
}

static fault plain_derive(const struct auth_request *request, const char *secret,
                          struct scram_verifier *ret)
{
    struct scram_keys like, keys;
    auth_mock_verifier(request, ret);
    invariant(ret->iterations > 0 && ret->salt_size <= sizeof(like.salt));
    like = (struct scram_keys){.iterations = ret->iterations, .salt_size = ret->salt_size};
    memcpy(like.salt, ret->salt, sizeof(like.salt));
    hint_add(&request->room->derived, 1);
    TRY(link_derive(span_text(secret), &like, &keys, request->by));
    scram_verifier_of(&keys, ret);
    explicit_bzero(&keys, sizeof(keys));
    return OK;
}

/* The key includes the iteration count, which may change with the auth file's secrets. */
static uint64_t plain_key(const struct auth_request *request, const char *secret)
{
    uint64_t hash = hash_span(request->user) + auth_usual_iterations(request);
    return hash_data(secret, strlen(secret), hash);
}

fault auth_plain_verifier(const struct auth_request *request, const char *secret,
                          struct scram_verifier *ret)
{
    struct map *all = &request->room->verifiers;
    uint64_t key = plain_key(request, secret);
    struct plain *known;
    while ((known = plain_find(all, key)) != NULL && known->deriving) {
        if (request->by.us <= now().us)
            return FAULT_TIMEOUT;
        TRY(co_sleep(DERIVE_PAUSE));
    }
    if (known != NULL) {
        *ret = known->verifier;
        return OK;
    }
    (void)!plain_enter(all, key);
    fault derived = plain_derive(request, secret, ret);
    known = plain_find(all, key); /* a reload may have removed it */
    if (known == NULL)
        return derived;
    known->deriving = false;
    known->verifier = *ret;
    if (derived != OK) { /* logins that wait for it then derive it themselves */
        map_remove(all, &known->link);
        plain_end(&known->link);
    }
    return derived;
}
