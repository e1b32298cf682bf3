/* turn_settle.c - handles the object of a ledger entry when the entry is answered or dropped. */
#include "relay/turn/turn.h"
#include "session/counted.h"
#include "session/pin.h"

#include <stdlib.h>

static void settle_naming(struct server *server)
{
    if (server->client == NULL)
        return;
    invariant(server->client->naming > 0);
    server->client->naming -= 1;
}

static void settle_parse(struct server *server, const struct owed *owed, enum owed_end end)
{
    struct client_statement *named = owed->what;
    settle_naming(server);
    server_statement_settle(&server->session.statements, &named->meaning.key, end == OWED_ANSWERED);
    named->pending = false;
    if (end == OWED_DROPPED && named->current && server->client != NULL)
        client_statement_remove(&server->client->statements, named);
    client_statement_unref(&named);
}

/* Whether another client's Parse of the same text could mean the same: as far as PostgreSQL tells,
 * the statement's meaning holds all that it depends on. */
static bool server_may_share(const struct server *server, const struct client_statement *named)
{
    const struct meaning *meaning = &named->meaning;
    return server->client != NULL && server->pool->route->prepared_max != PREPARED_PRIVATE &&
           server->pool->route->session.isolation ==
               ISOLATION_READ && /* else a function may have changed the session */
           server->session.pin == NULL &&
           !server->session.altered && !named->statement->timely &&
           digest_equal(&meaning->session, &server->session.params->session) &&
           meaning->generation == generation_now(server->session.generation);
}

/* The digest of the defaults from which the session's parameters differ. */
static const struct digest *session_defaults(const struct session *session)
{
    return session->defaults != NULL ? &session->defaults->session
                                     : &session->params->store->none->session;
}

static void settle_signature(struct server *server, struct client_statement *named,
                             enum owed_end end)
{
    struct signature signature;
    settle_naming(server);
    if (end == OWED_ANSWERED && signature_read(&server->session.described, &signature)) {
        struct digest alone = named->meaning.key;
        bool shared = server_may_share(server, named);
        client_statement_means(named, &signature,
                               shared ? session_defaults(&server->session) : NULL);
        server_statement_rename(&server->session.statements, &alone, &named->meaning.key);
    }
    buffer_fini(&server->session.described);
    client_statement_unref(&named);
}

static void settle_inject(struct server *server, struct client_statement *named, enum owed_end end)
{
    server_statement_settle(&server->session.statements, &named->meaning.key, end == OWED_ANSWERED);
    client_statement_unref(&named);
}

static void settle_proof(struct server *server, struct client_statement *named, enum owed_end end)
{
    struct server_statement *known =
        server_statement_find(&server->session.statements, &named->meaning.key);
    struct signature signature;
    if (end == OWED_ANSWERED && signature_read(&server->session.described, &signature)) {
        if (!named->meaning.shaped)
            client_statement_means(named, &signature, NULL);
        if (known != NULL) {
            known->unproven = false;
            known->differs = !named->statement->follows &&
                             !digest_equal(&signature.shape, &named->meaning.shape);
        }
    } else if (known != NULL) {
        server_statement_drop(&server->session.statements, known);
    }
    buffer_fini(&server->session.described);
    client_statement_unref(&named);
}

static void settle_close(struct server *server, struct client_statement *named, enum owed_end end)
{
    settle_naming(server);
    if (end == OWED_DROPPED && server->client != NULL && !named->current)
        client_statement_restore(&server->client->statements, named);
    if (end == OWED_ANSWERED && !named->meaning.shared) {
        struct server_statement *known =
            server_statement_find(&server->session.statements, &named->meaning.key);
        if (known != NULL && !known->pending)
            server_statement_drop(&server->session.statements, known);
    }
    client_statement_unref(&named);
}

/* Settles each name of a text with DEALLOCATE: by the number of commands that have completed. */
static void settle_deallocate(struct server *server, const struct owed *owed, enum owed_end end)
{
    struct deallocation *gone = owed->what;
    bool left = false;
    if (gone->effects != NULL) {
        struct owed rest = *owed;
        rest.what = gone->effects;
        pin_settle(&server->session, &rest, end == OWED_ANSWERED);
    }
    for (unsigned i = 0; i < gone->count; i++) {
        bool done = gone->names[i].place <= gone->done;
        settle_close(server, gone->names[i].named, done ? OWED_ANSWERED : OWED_DROPPED);
        left = left || !done;
    }
    if (gone->all)
        settle_naming(server);
    counted_free(gone, sizeof(*gone));
    if (left && stream_open(&server->stream) &&
        pin_add_uncertain(&server->session, QUERY_PREPARE) != OK)
        server->broken = true;
}

static void settle_orphan(struct server *server, char *name, enum owed_end end)
{
    server_statement_closed(&server->session.statements, name, end == OWED_ANSWERED);
    free(name);
}

/* Settles the client's unnamed statement.  A failed Parse of the client's own has destroyed the
 * earlier statement, unless another Parse has followed in a batch of its own: then that decides. */
static void settle_unnamed(struct server *server, const struct owed *owed, enum owed_end end)
{
    if ((uintptr_t)owed->what == server->session.unnamed.mark)
        server->session.unnamed.pends = false;
    if (server->client != NULL && UNLIKELY(server->client->unnamed_before != NULL) &&
        turn_unnamed_undo(server, owed, end))
        return;
    if ((uintptr_t)owed->what != server->session.unnamed.mark)
        return;
    server->session.unnamed.unsure = false;
    if (end == OWED_ANSWERED)
        return;
    server->session.unnamed.of = 0;
    if (owed->fate == FATE_FORWARD && server->client != NULL)
        client_keep_unnamed(server->client, SPAN_NONE);
}

static void settle_unnamed_signature(struct server *server, const struct owed *owed,
                                     enum owed_end end)
{
    struct signature signature;
    struct client *client = server->client;
    if (end == OWED_ANSWERED && signature_read(&server->session.described, &signature) &&
        client != NULL && client->unnamed_number == (uintptr_t)owed->what) {
        client->unnamed_shape = signature.shape;
        client->unnamed_shaped = true;
    }
    buffer_fini(&server->session.described);
}

static void settle_unnamed_proof(struct server *server, const struct owed *owed, enum owed_end end)
{
    struct signature signature;
    const struct client *client = server->client;
    if ((uintptr_t)owed->what == server->session.unnamed.mark) {
        server->session.unnamed.proof = UNNAMED_GOOD;
        if (end == OWED_DROPPED || !signature_read(&server->session.described, &signature))
            server->session.unnamed.of = 0;
        else if (client != NULL && client->unnamed_shaped &&
                 !digest_equal(&client->unnamed_shape, &signature.shape))
            server->session.unnamed.proof = UNNAMED_DIFFERS;
    }
    buffer_fini(&server->session.described);
}

void turn_settle(void *owner, const struct owed *owed, enum owed_end end)
{
    struct server *server = owner;
    switch ((enum owed_about)owed->about) {
    case ABOUT_PARSE:
        settle_parse(server, owed, end);
        return;
    case ABOUT_SIGNATURE:
        settle_signature(server, owed->what, end);
        return;
    case ABOUT_CLOSE:
        settle_close(server, owed->what, end);
        return;
    case ABOUT_INJECT:
        settle_inject(server, owed->what, end);
        return;
    case ABOUT_PROOF:
        settle_proof(server, owed->what, end);
        return;
    case ABOUT_ORPHAN:
        settle_orphan(server, owed->what, end);
        return;
    case ABOUT_DUPLICATE: {
        struct client_statement *named = owed->what;
        client_statement_unref(&named);
        return;
    }
    case ABOUT_UNNAMED:
        settle_unnamed(server, owed, end);
        return;
    case ABOUT_UNNAMED_SIGNATURE:
        settle_unnamed_signature(server, owed, end);
        return;
    case ABOUT_UNNAMED_PROOF:
        settle_unnamed_proof(server, owed, end);
        return;
    case ABOUT_EFFECTS:
        pin_settle(&server->session, owed, end == OWED_ANSWERED);
        return;
    case ABOUT_DEALLOCATE:
        settle_deallocate(server, owed, end);
        return;
    case ABOUT_REFUSED:
        turn_pin_drop_refused(owed->what);
        return;
    case ABOUT_POSITION:
    case ABOUT_STATE:
    case ABOUT_NOTHING:
        return;
    }
}
