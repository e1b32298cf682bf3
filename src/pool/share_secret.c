/* share_secret.c - how a share's servers are logged in to: what clients have proven, or files say.
 *
 * The newest version counts, also for the clients of an older one: their pool has servers to log in
 * to for as long as they stay, and those know of no version.
 */
#include "pool/share.h"
#include "pool/share_command.h"

#include <stdlib.h>

void share_wipe_password(char **password)
{
    char *gone = TAKE(*password);
    if (gone != NULL)
        explicit_bzero(gone, strlen(gone));
    free(gone);
}

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
    share_wipe_password(&credentials->password);
    explicit_bzero(&credentials->secret, sizeof(credentials->secret));
    credentials->proven_of = 0;
    credentials->changes += 1;
}

static fault secret_take_password(struct credentials *credentials, const char *text)
{
    char *kept = strdup(text);
    if (kept == NULL)
        return FAULT_MEMORY;
    share_wipe_password(&credentials->password);
    credentials->password = kept;
    credentials->secret.password = span_text(kept);
    credentials->secret.have_keys = false;
    credentials->changes += 1;
    return OK;
}

/* --- what a version says ---------------------------------------------------------------------- */

/* Of the route, or the auth file's; NULL: neither says anything. */
static const char *shown_text(const struct share *share)
{
    const struct route_config *route = share->shown.route;
    const char *user = route->server_user != NULL ? route->server_user : share->user;
    if (route->server_password != NULL)
        return route->server_password;
    const struct secret *secret = config_secret(share->shown.latest, span_text(user));
    return secret == NULL ? NULL : secret->text;
}

fault share_set_secret(struct share *share)
{
    struct credentials *credentials = &share->credentials;
    const char *text = shown_text(share);
    uint64_t hash = secret_hash(text);
    if (hash == credentials->shown_of)
        return OK;
    secret_forget(credentials);
    if (text == NULL || secret_is_scram(text)) {
        /* nothing to show, or keys that a client's login may bring */
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

/* Whether servers of the one are logged in to as those of the other. */
static bool route_same_servers(const struct route_config *a, const struct route_config *b)
{
    return a->service != NULL && b->service != NULL &&
           same_text(a->service->name, b->service->name) &&
           same_text(a->server_user, b->server_user) &&
           same_text(a->server_database, b->server_database);
}

void share_show(struct share *share, struct config *latest)
{
    const struct route_config *own = share->route;
    const struct route_config *route =
        config_route_like(latest, span_text(share->database), span_text(share->user), own);
    bool same = route != NULL && route_same_servers(route, own);
    struct config *held = config_ref(same ? latest : share->config);
    config_ref(latest);
    config_unref(&share->shown.latest);
    config_unref(&share->shown.config);
    share->shown.latest = latest;
    share->shown.config = held;
    share->shown.route = same ? route : own;
    share_command_forget(share);
    share->credentials.changes += 1; /* what a command prints may be another, too */
    /* Without memory the next login tries again. */
    (void)!share_set_secret(share);
}

void share_show_none(struct share *share)
{
    share_command_forget(share);
    secret_forget(&share->credentials);
    config_unref(&share->shown.latest);
    config_unref(&share->shown.config);
}

/* --- what clients have proven ----------------------------------------------------------------- */

/* Whether what an older version has asked for is of the secret that is in force.  Where the auth
 * file does not say, it will do for want of another. */
static bool older_counts(const struct share *share, const char *stored)
{
    const struct credentials *credentials = &share->credentials;
    const struct secret *newest = config_secret(share->shown.latest, span_text(share->user));
    if (newest != NULL)
        return stored != NULL && strcmp(newest->text, stored) == 0;
    return credentials->proven_of == 0 && credentials->password == NULL;
}

/* Whether it may be shown; `stored` is what it was a proof of. */
static bool proof_counts(const struct share *share, const struct config *config, const char *stored)
{
    const struct route_config *route = share->shown.route;
    return route->server_user == NULL && route->server_password == NULL &&
           (config->version >= share->shown.latest->version || older_counts(share, stored));
}

/* What was proven of another secret is older, and of no more use. */
static void proof_begin(struct credentials *credentials, const char *stored)
{
    uint64_t hash = secret_hash(stored);
    if (credentials->proven_of != hash && credentials->proven_of != 0)
        secret_forget(credentials);
    credentials->proven_of = hash;
}

void share_keep_password(struct share *share, const struct config *config, const char *stored,
                         const char *text)
{
    struct credentials *credentials = &share->credentials;
    if (!proof_counts(share, config, stored))
        return;
    proof_begin(credentials, stored);
    if (credentials->password == NULL || strcmp(credentials->password, text) != 0)
        (void)!secret_take_password(credentials, text);
}

void share_keep_keys(struct share *share, const struct config *config, const char *stored,
                     const struct scram_keys *keys)
{
    struct credentials *credentials = &share->credentials;
    if (!proof_counts(share, config, stored))
        return;
    proof_begin(credentials, stored);
    if (credentials->password != NULL)
        return; /* with it keys can be made, whatever the server's salt */
    credentials->secret.keys = *keys;
    credentials->secret.have_keys = true;
}

void share_keep_secret(struct share *share, const struct config *config, const char *text)
{
    if (secret_is_scram(text))
        return; /* the client's login brings keys */
    if (!secret_is_md5(text)) {
        share_keep_password(share, config, text, text);
    } else if (proof_counts(share, config, text)) {
        proof_begin(&share->credentials, text);
        memcpy(share->credentials.secret.md5, text, MD5_TEXT);
    }
}
