/* local_pool_secret.c - credentials for logins to servers: proven by clients, or from files.
 *
 * Credentials follow the newest version, also for clients of an older version.  Their pool logs in
 * to servers for as long as they stay, and PostgreSQL knows no versions.
 */
#include "pool/local_pool.h"
#include "pool/local_pool_command.h"

#include <stdlib.h>

static bool secret_is_md5(const char *text)
{
    return strlen(text) == MD5_TEXT - 1 && span_starts(span_text(text), SPAN("md5"));
}

static bool secret_is_scram(const char *text)
{
    return span_starts(span_text(text), SPAN("SCRAM-SHA-256$"));
}

static uint64_t secret_hash(const char *text)
{
    return text == NULL ? 0 : hash_span(span_text(text)) | 1;
}

static void secret_forget(struct credentials *credentials)
{
    local_pool_wipe_password(&credentials->password);
    explicit_bzero(&credentials->secret, sizeof(credentials->secret));
    credentials->proven_of = 0;
    credentials->changes += 1;
}

static fault secret_take_password(struct credentials *credentials, const char *text)
{
    char *kept = strdup(text);
    if (kept == NULL)
        return FAULT_MEMORY;
    local_pool_wipe_password(&credentials->password);
    credentials->password = kept;
    credentials->secret.password = span_text(kept);
    credentials->secret.have_keys = false;
    credentials->changes += 1;
    return OK;
}

/* --- configured secrets ----------------------------------------------------------------------- */

/* Returns the secret of the route, else of the auth file; NULL: neither has one. */
static const char *shown_text(const struct local_pool *pool)
{
    const struct route_config *route = pool->shown.route;
    const char *user = route->server_user != NULL ? route->server_user : pool->user;
    if (route->server_password != NULL)
        return route->server_password;
    const struct secret *secret = config_secret(pool->shown.latest, span_text(user));
    return secret == NULL ? NULL : secret->text;
}

fault local_pool_set_secret(struct local_pool *pool)
{
    struct credentials *credentials = &pool->credentials;
    const char *text = shown_text(pool);
    uint64_t hash = secret_hash(text);
    if (hash == credentials->shown_of)
        return OK;
    secret_forget(credentials);
    if (text == NULL || secret_is_scram(text)) {
        /* nothing is configured, or a SCRAM verifier, whose keys a client's login may bring */
    } else if (secret_is_md5(text)) {
        memcpy(credentials->secret.md5, text, MD5_TEXT);
    } else {
        TRY(secret_take_password(credentials, text));
    }
    credentials->shown_of = hash;
    return OK;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Whether both routes lead to the same service, server user and server database. */
static bool route_same_servers(const struct route_config *a, const struct route_config *b)
{
    return a->service != NULL && b->service != NULL &&
           same_text(a->service->name, b->service->name) &&
           same_text(a->server_user, b->server_user) &&
           same_text(a->server_database, b->server_database);
}

void local_pool_show(struct local_pool *pool, struct config *latest)
{
    const struct route_config *own = pool->route;
    const struct route_config *route =
        config_route_like(latest, span_text(pool->database), span_text(pool->user), own);
    bool same = route != NULL && route_same_servers(route, own);
    struct config *held = config_ref(same ? latest : pool->config);
    config_ref(latest);
    config_unref(&pool->shown.latest);
    config_unref(&pool->shown.config);
    pool->shown.latest = latest;
    pool->shown.config = held;
    pool->shown.route = same ? route : own;
    local_pool_command_forget(pool);
    pool->credentials.changes += 1; /* the command's output may change, too */
    /* If memory lacks, the next login tries again. */
    (void)!local_pool_set_secret(pool);
}

void local_pool_show_none(struct local_pool *pool)
{
    local_pool_command_forget(pool);
    secret_forget(&pool->credentials);
    config_unref(&pool->shown.latest);
    config_unref(&pool->shown.config);
}

/* --- secrets that clients have proven --------------------------------------------------------- */

/* Whether a proof from a login by an older version is of the secret in force.  If the auth file has
 * none for the user, such a proof counts only while there is no other. */
static bool older_counts(const struct local_pool *pool, const char *stored)
{
    const struct credentials *credentials = &pool->credentials;
    const struct secret *newest = config_secret(pool->shown.latest, span_text(pool->user));
    if (newest != NULL)
        return stored != NULL && strcmp(newest->text, stored) == 0;
    return credentials->proven_of == 0 && credentials->password == NULL;
}

/* Whether a client's proof of the secret `stored` may be used for logins to servers. */
static bool proof_counts(const struct local_pool *pool, const struct config *config,
                         const char *stored)
{
    const struct route_config *route = pool->shown.route;
    return route->server_user == NULL && route->server_password == NULL &&
           (config->version >= pool->shown.latest->version || older_counts(pool, stored));
}

/* Drops what was proven of another secret: that is older and of no use any more. */
static void proof_begin(struct credentials *credentials, const char *stored)
{
    uint64_t hash = secret_hash(stored);
    if (credentials->proven_of != hash && credentials->proven_of != 0)
        secret_forget(credentials);
    credentials->proven_of = hash;
}

void local_pool_keep_password(struct local_pool *pool, const struct config *config,
                              const char *stored, const char *text)
{
    struct credentials *credentials = &pool->credentials;
    if (!proof_counts(pool, config, stored))
        return;
    proof_begin(credentials, stored);
    if (credentials->password == NULL || strcmp(credentials->password, text) != 0)
        (void)!secret_take_password(credentials, text);
}

void local_pool_keep_keys(struct local_pool *pool, const struct config *config, const char *stored,
                          const struct scram_keys *keys)
{
    struct credentials *credentials = &pool->credentials;
    if (!proof_counts(pool, config, stored))
        return;
    proof_begin(credentials, stored);
    if (credentials->password != NULL)
        return; /* keys can be made from the password for any salt of the server */
    credentials->secret.keys = *keys;
    credentials->secret.have_keys = true;
}

void local_pool_share_secret(const struct local_pool *from, struct local_pool *to)
{
    const struct credentials *have = &from->credentials;
    struct credentials *credentials = &to->credentials;
    if (have->proven_of == 0 && !have->secret.have_keys && have->password == NULL)
        return;
    if (have->password != NULL &&
        (credentials->password == NULL || strcmp(credentials->password, have->password) != 0))
        (void)!secret_take_password(credentials, have->password);
    credentials->proven_of = have->proven_of;
    credentials->secret.keys = have->secret.keys;
    credentials->secret.have_keys = have->secret.have_keys && credentials->password == NULL;
    memcpy(credentials->secret.md5, have->secret.md5, MD5_TEXT);
}

void local_pool_keep_secret(struct local_pool *pool, const struct config *config, const char *text)
{
    if (secret_is_scram(text))
        return; /* the client's login brings keys */
    if (!secret_is_md5(text)) {
        local_pool_keep_password(pool, config, text, text);
    } else if (proof_counts(pool, config, text)) {
        proof_begin(&pool->credentials, text);
        memcpy(pool->credentials.secret.md5, text, MD5_TEXT);
    }
}
