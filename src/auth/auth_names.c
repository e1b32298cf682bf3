/* auth_names.c - authentication by client certificate (cert) or operating system user (peer). */
#include "auth/auth_parts.h"
#include "machine/offload.h"
#include "machine/process.h"

#include <stdlib.h>

#define NAMES_MAX      65536u /* bytes of all names of a certificate */
#define USER_NAME_SIZE 256

static_assert((int)AUTH_NAME_CN == (int)STREAM_NAME_CN &&
                  (int)AUTH_NAME_DN == (int)STREAM_NAME_DN &&
                  (int)AUTH_NAME_SAN == (int)STREAM_NAME_SAN,
              "the same kinds of names");

/* --- certificates ----------------------------------------------------------------------------- */

/* Finds out whether one of the certificate's names may log in as the request's user. */
static fault names_allow(struct auth_request *request, bool *ret)
{
    struct buffer names = BUFFER_INIT(NAMES_MAX);
    struct auth_world world;
    fault result = OK;
    invariant(stream_tls_verified(request->stream)); /* both callers have checked */
    auth_world_init(&world, request);
    stream_tls_names(request->stream, (enum stream_name)request->how.clientname, &names);
    struct span rest = buffer_span(&names);
    *ret = false;
    while (result == OK && !*ret && rest.size > 0) {
        struct span name = span_of(rest.at, strnlen((const char *)rest.at, rest.size));
        rest = span_skip(rest, name.size + 1);
        result = hba_map_allows(request->config->hba, request->how.map, name, request->user,
                                &world.world, ret);
    }
    buffer_fini(&names);
    return result;
}

static fault certificate_names_user(struct auth_request *request)
{
    bool allowed;
    TRY(names_allow(request, &allowed));
    return allowed ? OK
                   : fault_raise(FAULT_AUTH, "certificate authentication failed for user \"%.*s\"",
                                 SPAN_ARG(request->user));
}

fault auth_check_certificate(struct auth_request *request)
{
    if (request->how.clientcert == AUTH_CLIENTCERT_NONE)
        return OK;
    if (!stream_tls_verified(request->stream))
        return fault_raise(FAULT_AUTH, "connection requires a valid client certificate");
    return request->how.clientcert == AUTH_CLIENTCERT_FULL ? certificate_names_user(request) : OK;
}

fault auth_certificate(struct auth_request *request)
{
    if (!stream_tls_verified(request->stream))
        return fault_raise(FAULT_AUTH, "connection requires a valid client certificate");
    return certificate_names_user(request);
}

/* --- the operating system's user -------------------------------------------------------------- */

/* A lookup of a user's name; offloaded, because it may query a directory server. */
struct naming {
    struct offload_job job;
    uint32_t user;
    char name[USER_NAME_SIZE];
};

static void naming_run(struct offload_job *job)
{
    struct naming *naming = CONTAINER_OF(job, struct naming, job);
    process_user_name(naming->user, naming->name, sizeof(naming->name));
}

static void naming_free(struct offload_job *job)
{
    free(CONTAINER_OF(job, struct naming, job));
}

static fault peer_name(uint32_t user, char name[USER_NAME_SIZE], deadline by)
{
    struct naming *naming = calloc(1, sizeof(*naming));
    if (naming == NULL)
        return FAULT_MEMORY;
    naming->job = (struct offload_job){.run = naming_run, .free = naming_free};
    naming->user = user;
    TRY(offload(&naming->job, by));
    invariant(memchr(naming->name, '\0', USER_NAME_SIZE) != NULL);
    memcpy(name, naming->name, USER_NAME_SIZE);
    naming_free(&naming->job);
    return OK;
}

fault auth_peer(struct auth_request *request)
{
    char name[USER_NAME_SIZE];
    struct auth_world world;
    uint32_t user;
    bool allowed = false;
    if (!stream_peer_user(request->stream, &user))
        return fault_raise(FAULT_AUTH, "peer authentication is for Unix sockets only");
    TRY(peer_name(user, name, request->by));
    auth_world_init(&world, request);
    if (name[0] != '\0')
        TRY(hba_map_allows(request->config->hba, request->how.map, span_text(name), request->user,
                           &world.world, &allowed));
    return allowed ? OK
                   : fault_raise(FAULT_AUTH, "peer authentication failed for user \"%.*s\"",
                                 SPAN_ARG(request->user));
}
