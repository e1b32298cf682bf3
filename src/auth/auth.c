#include "auth/auth.h"

#include "auth/auth_failures.h"
#include "auth/auth_parts.h"
#include "auth/auth_query.h"
#include "link/link.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/ids.h"
#include "machine/log.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- clear text ------------------------------------------------------------------------------- */

static fault verifier_matches(const struct auth_request *request, struct span password,
                              const struct scram_verifier *verifier, bool *ret)
{
    struct scram_verifier own;
    struct scram_keys keys,
        like = {.iterations = verifier->iterations, .salt_size = verifier->salt_size};
    invariant(verifier->iterations > 0 && verifier->salt_size <= sizeof(like.salt));
    memcpy(like.salt, verifier->salt, sizeof(like.salt));
    hint_add(&request->room->derived, 1);
    TRY(link_derive(password, &like, &keys, request->by));
    scram_verifier_of(&keys, &own);
    explicit_bzero(&keys, sizeof(keys));
    *ret =
        secret_equal(span_of(own.stored_key, SCRAM_KEY), span_of(verifier->stored_key, SCRAM_KEY));
    return OK;
}

/* Finds out whether the password matches the stored secret: SCRAM, md5 or plain.  For a user who
 * does not exist this takes as long as for a SCRAM secret, if there are SCRAM secrets. */
static fault password_matches(const struct auth_request *request, struct span password,
                              const char *secret, bool *ret)
{
    struct scram_verifier verifier;
    char md5[MD5_TEXT];
    *ret = false;
    if (secret == NULL) {
        auth_mock_verifier(request, &verifier);
        if (auth_usual_iterations(request) > 0)
            TRY(verifier_matches(request, password, &verifier, ret));
        *ret = false;
        return OK;
    }
    if (auth_secret_is_scram(secret)) {
        if (scram_read_verifier(span_text(secret), &verifier) != OK)
            return OK;
        return verifier_matches(request, password, &verifier, ret);
    }
    if (auth_secret_is_md5(secret)) {
        md5_secret(password, request->user, md5);
        *ret = secret_equal(span_text(md5), span_text(secret));
    } else {
        *ret = secret_equal(password, span_text(secret));
    }
    return OK;
}

static fault auth_password(struct auth_request *request, const char *secret)
{
    struct buffer message = BUFFER_INIT(AUTH_PASSWORD_MAX + 1024);
    struct span password;
    bool matches = false;
    fault result = auth_ask_password(request, &message, &password);
    if (result == OK)
        result = password_matches(request, password, secret, &matches);
    if (result == OK && !matches)
        result = auth_wrong(request->user);
    if (result == OK && request->pool != NULL) {
        invariant(password.at[password.size] == '\0');
        local_pool_keep_password(request->pool, request->config, secret, (const char *)password.at);
    }
    auth_wipe(&message);
    return result;
}

/* --- md5 -------------------------------------------------------------------------------------- */

static fault auth_md5(struct auth_request *request, const char *secret)
{
    struct buffer message = BUFFER_INIT(AUTH_PASSWORD_MAX + 1024);
    struct wire_frame frame;
    struct span answer;
    uint8_t salt[4];
    char stored[MD5_TEXT], expected[MD5_TEXT];
    random_bytes(salt, sizeof(salt));
    fault result = auth_ask(request, WIRE_AUTH_MD5, span_of(salt, sizeof(salt)), &message, &frame);
    if (result == OK)
        result = auth_read_text(&frame, &answer);
    if (result == OK) {
        if (auth_secret_is_md5(secret))
            memcpy(stored, secret, sizeof(stored));
        else
            md5_secret(span_text(secret == NULL ? "" : secret), request->user, stored);
        invariant(strlen(stored) == MD5_TEXT - 1);
        md5_answer(stored, salt, expected);
        if (!secret_equal(answer, span_text(expected)) || secret == NULL)
            result = auth_wrong(request->user);
    }
    buffer_fini(&message);
    return result;
}

/* --- failed logins ---------------------------------------------------------------------------- */

static bool counts_failures(const struct auth_request *request)
{
    return request->config->failures_max > 0 && request->peer->family != ADDRESS_UNIX;
}

fault auth_admit(const struct auth_request *request)
{
    const struct config *config = request->config;
    char host[ADDRESS_TEXT_SIZE];
    moment since;
    if (!counts_failures(request) || config->failures_block.us == 0)
        return OK;
    uint32_t count = auth_failures_count(request->room->pools->env->failures, request->peer, now(),
                                         config->failures_block, &since);
    if (count < config->failures_max)
        return OK;
    int64_t left = between(now(), later(since, config->failures_block)).us / 1000000 + 1;
    return fault_raise(
        FAULT_AUTH, "%u failed logins from %s, the limit is %u; try again in %" PRId64 " s", count,
        address_host_text(request->peer, host, sizeof(host)), config->failures_max, left);
}

/* Counts a failed login.  Delays the reply after repeated failures; stops waiting if the client
 * disconnects.  Returns PASSWORD, or CANCELLED. */
static fault auth_failed(const struct auth_request *request)
{
    const struct config *config = request->config;
    char host[ADDRESS_TEXT_SIZE];
    if (!counts_failures(request))
        return auth_wrong(request->user);
    duration window =
        MAX_OF(config->failures_window.us, config->failures_block.us) == config->failures_window.us
            ? config->failures_window
            : config->failures_block;
    uint32_t count =
        auth_failures_add(request->room->pools->env->failures, request->peer, now(), window);
    invariant(count > 0);
    if (count == config->failures_max)
        log_event(LOG_WARNING, "client.failures",
                  log_text("from", address_host_text(request->peer, host, sizeof(host))),
                  log_number("count", count),
                  log_number("blocked_s", config->failures_block.us / 1000000));
    deadline until = earlier_of(after(config->failures_delay), request->by);
    fault waited = count < config->failures_max ? FAULT_TIMEOUT : OK;
    while (waited == OK && !stream_hung_up(request->stream))
        waited = co_wait(until);
    return waited == FAULT_CANCELLED ? waited : auth_wrong(request->user);
}

/* --- all methods ------------------------------------------------------------------------------ */

/* Returns whether method md5 uses SCRAM, because the secret is a SCRAM one.  A user who does not
 * exist gets SCRAM where other users have SCRAM secrets. */
static bool md5_means_scram(const struct auth_request *request, const char *secret)
{
    return secret == NULL ? auth_usual_iterations(request) > 0 : auth_secret_is_scram(secret);
}

static fault auth_by_secret(struct auth_request *request, const char *secret)
{
    invariant(request->how.method == AUTH_PASSWORD || request->how.method == AUTH_MD5 ||
              request->how.method == AUTH_SCRAM);
    switch (request->how.method) {
    case AUTH_PASSWORD:
        return auth_password(request, secret);
    case AUTH_MD5:
        return md5_means_scram(request, secret) ? auth_scram(request, secret)
                                                : auth_md5(request, secret);
    default:
        return auth_scram(request, secret);
    }
}

/* Authenticates by the secret in the auth file, else by that from auth_query. */
static fault auth_by_stored(struct auth_request *request)
{
    const struct secret *stored = config_secret(request->config, request->user);
    char *asked = NULL;
    if (stored != NULL)
        return auth_by_secret(request, stored->text);
    TRY(auth_query_secret(request, &asked));
    fault result = auth_by_secret(request, asked);
    if (result == OK && asked != NULL && request->pool != NULL)
        local_pool_keep_secret(request->pool, request->config, asked);
    if (result == FAULT_PASSWORD)
        auth_query_doubt(request);
    if (asked != NULL)
        explicit_bzero(asked, strlen(asked));
    free(asked);
    return result == FAULT_PASSWORD ? auth_wrong(request->user) : result;
}

static fault auth_by_method(struct auth_request *request)
{
    switch (request->how.method) {
    case AUTH_TRUST:
        return OK;
    case AUTH_PASSWORD:
    case AUTH_MD5:
    case AUTH_SCRAM:
        return auth_by_stored(request);
    case AUTH_CERT:
        return auth_certificate(request);
    case AUTH_PEER:
        return auth_peer(request);
    case AUTH_PAM:
    case AUTH_LDAP:
        return auth_verified(request);
    default:
        return fault_raise(FAULT_AUTH, "user \"%.*s\" is blocked", SPAN_ARG(request->user));
    }
}

fault auth_client(struct auth_request *request)
{
    TRY(auth_check_certificate(request));
    fault result = auth_by_method(request);
    if (result == FAULT_PASSWORD)
        result = auth_failed(request);
    TRY(result);
    invariant(request->how.method != AUTH_BLOCK && request->how.method != AUTH_HBA);
    wire_put_authentication(request->out, WIRE_AUTH_OK, SPAN_NONE);
    return OK;
}

const struct route_config *auth_lookup_of(const struct config *config,
                                          const struct route_config *route)
{
    return config->query.user != NULL && route->query && route->service != NULL ? route : NULL;
}

/* Returns whether any route needs authentication; if none does, there is nothing to hide. */
static bool hides_routes(const struct config *config)
{
    for (size_t i = 0; i < config->route_count; i++)
        if (config->routes[i].auth != AUTH_TRUST && config->routes[i].auth != AUTH_BLOCK)
            return true;
    return false;
}

fault auth_no_route(struct auth_request *request)
{
    static const struct route_config scram = {.auth = AUTH_SCRAM, .how.method = AUTH_SCRAM};
    static const struct route_config hba = {.auth = AUTH_HBA, .how.method = AUTH_HBA};
    request->route = request->config->hba_file != NULL ? &hba : &scram;
    invariant(request->pool == NULL); /* nothing is kept of a client without a route */
    if (!hides_routes(request->config))
        return OK;
    /* Use the first route with auth_query, so that known users are authenticated as on a route. */
    for (size_t i = 0; i < request->config->route_count && request->lookup == NULL; i++)
        request->lookup = auth_lookup_of(request->config, &request->config->routes[i]);
    TRY(auth_choose(request));
    return auth_client(request);
}
