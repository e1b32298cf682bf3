/*
 * turn_deallocate.c - SQL's DEALLOCATE of statements that were prepared by Parse messages.
 *
 * Drivers whose library has no call for Close (libpq before version 17) deallocate statements in
 * this way: alone, among other commands of one text, or in the extended protocol.  The server knows
 * the client's statements by other names and keeps them for other clients.  So Trunkline prepares a
 * stand-in, an empty statement of the client's own name, in front of the text.  The text goes to
 * the server as it is, and PostgreSQL itself says whether and when the name is deallocated.
 */
#include "relay/turn/turn.h"
#include "session/counted.h"
#include "session/pin.h"
#include "wire/messages.h"

#include <stdlib.h>

static bool has_name(const struct deallocation *deallocation, const struct client_statement *named)
{
    for (unsigned i = 0; i < deallocation->count; i++)
        if (deallocation->names[i].named == named)
            return true;
    return false;
}

/* Finds the client's names among those that a text deallocates, in order. */
static void find_names(const struct client *client, const struct query_effects *found,
                       struct deallocation *ret)
{
    uint8_t place = 0;
    for (unsigned i = 0; i < found->count; i++) {
        const struct query_effect *effect = &found->all[i];
        if (effect->kind != QUERY_PREPARE || effect->act == QUERY_CREATES)
            continue;
        ret->all = effect->act == QUERY_ENDS_ALL;
        if (ret->all)
            return; /* no name is left for a DEALLOCATE behind it */
        place += 1;
        struct client_statement *named =
            client_statement_find(&client->statements, span_text(effect->name));
        if (named == NULL || has_name(ret, named))
            continue;
        ret->names[ret->count].named = named;
        ret->names[ret->count++].place = place;
    }
}

static size_t stand_in_size(const struct client_statement *named)
{
    return (WIRE_HEADER + 1 + named->size + 1u) + (WIRE_HEADER + named->size + 1u + 1 + 2);
}

/* Writes a Close, since a statement of that name may have been left there, and a Parse.  Neither
 * can fail. */
static uint8_t *put_stand_in(uint8_t *at, const struct client_statement *named)
{
    size_t close_size = WIRE_HEADER + 1 + named->size + 1u;
    memset(at, 0, stand_in_size(named));
    at[0] = WIRE_CLOSE;
    wire_store_u32(at + 1, (uint32_t)close_size - 1);
    at[WIRE_HEADER] = 'S';
    memcpy(at + WIRE_HEADER + 1, named->name, named->size);
    uint8_t *parse = at + close_size;
    parse[0] = WIRE_PARSE;
    wire_store_u32(parse + 1, (uint32_t)(stand_in_size(named) - close_size) - 1);
    memcpy(parse + WIRE_HEADER, named->name, named->size);
    return at + stand_in_size(named);
}

/* Sends stand-ins.  `alone`: as a batch of their own, so that the text is not skipped with them. */
static fault send_stand_ins(struct turn *turn, const struct deallocation *gone, bool alone)
{
    struct ledger *ledger = &turn->server->session.ledger;
    size_t size = alone ? WIRE_HEADER : 0;
    for (unsigned i = 0; i < gone->count; i++)
        size += stand_in_size(gone->names[i].named);
    if (!ledger_has_room(ledger, 2u * gone->count + 3))
        return FAULT_MEMORY;
    uint8_t *at = turn_make(turn, size);
    if (at == NULL)
        return FAULT_MEMORY;
    for (unsigned i = 0; i < gone->count; i++) {
        at = put_stand_in(at, gone->names[i].named);
        ledger_owe(ledger, (struct owed){.kind = OWED_CLOSE, .fate = FATE_SWALLOW});
        ledger_owe(ledger, (struct owed){.kind = OWED_PARSE, .fate = FATE_SWALLOW});
    }
    if (!alone)
        return OK;
    at[0] = WIRE_SYNC;
    wire_store_u32(at + 1, 4);
    ledger_owe(ledger, (struct owed){.kind = OWED_SYNC, .fate = FATE_SWALLOW});
    return OK;
}

/* Removes these names from the client.  They come back if they turn out not to be deallocated. */
static void take_names(struct client *client, struct deallocation *gone)
{
    for (unsigned i = 0; i < gone->count; i++) {
        gone->names[i].named->references += 1;
        client_statement_remove(&client->statements, gone->names[i].named);
    }
    client->naming += gone->count + gone->all;
}

static fault prepare_names(struct turn *turn, const struct query_effects *found, bool alone,
                           struct deallocation **ret)
{
    struct deallocation names = {0};
    *ret = NULL;
    find_names(turn->client, found, &names);
    if (names.count == 0 && !names.all)
        return OK;
    struct deallocation *gone = counted_alloc(sizeof(*gone));
    if (gone == NULL)
        return FAULT_MEMORY;
    *gone = names;
    fault sent = gone->count == 0 ? OK : send_stand_ins(turn, gone, alone);
    if (sent != OK) {
        counted_free(gone, sizeof(*gone));
        return sent;
    }
    take_names(turn->client, gone);
    *ret = gone;
    return OK;
}

fault turn_deallocate(struct turn *turn, const struct query_effects *found,
                      struct deallocation **ret)
{
    const struct ledger *ledger = &turn->server->session.ledger;
    struct client *client = turn->client;
    *ret = NULL;
    /* A Sync of ours in the middle of a batch would end the batch. */
    if (ledger->extended || ledger->skipping || ledger->copy_in)
        return OK;
    TRY(prepare_names(turn, found, true, ret));
    if (*ret != NULL)
        client->naming_batch = ledger->batch - 1; /* the next message with a name waits */
    return OK;
}

/* --- portals ---------------------------------------------------------------------------------- */

static void portal_free(struct giving_portal *portal)
{
    effects_free(portal->effects);
    counted_free(portal, sizeof(*portal));
}

void turn_forget_portals(struct server *server)
{
    for (struct giving_portal *portal; (portal = server->session.giving) != NULL;) {
        server->session.giving = portal->next;
        portal_free(portal);
    }
}

/* Returns where the portal of this name is linked; *return is NULL if there is none. */
static struct giving_portal **find_portal(struct turn *turn, struct span name)
{
    struct digest digest = digest_of(name);
    uint64_t client = client_number(turn->client);
    struct giving_portal **at = &turn->server->session.giving;
    while (*at != NULL && ((*at)->client != client || !digest_equal(&(*at)->name, &digest)))
        at = &(*at)->next;
    return at;
}

void turn_deallocate_rebind(struct turn *turn, struct span name)
{
    struct giving_portal **at = find_portal(turn, name);
    struct giving_portal *portal = *at;
    if (portal == NULL)
        return;
    *at = portal->next;
    portal_free(portal);
}

/* Forgets the oldest portal beyond GIVING_PORTALS_MAX, because each Bind looks through the list. */
static void bound_portals(struct server *server)
{
    struct giving_portal **at = &server->session.giving;
    for (unsigned i = 0; i < GIVING_PORTALS_MAX && *at != NULL; i++)
        at = &(*at)->next;
    if (*at != NULL)
        portal_free(TAKE(*at));
}

fault turn_deallocate_bind(struct turn *turn, struct span name, const struct query_effects *found,
                           bool *ret_own)
{
    struct deallocation names = {0};
    find_names(turn->client, found, &names);
    *ret_own = names.count > 0;
    if (names.count == 0 && !names.all)
        return OK;
    struct giving_portal *portal = counted_alloc(sizeof(*portal));
    struct query_effects *effects = portal == NULL ? NULL : effects_copy(found);
    if (effects == NULL) {
        if (portal != NULL)
            counted_free(portal, sizeof(*portal));
        return FAULT_MEMORY;
    }
    *portal = (struct giving_portal){.next = turn->server->session.giving,
                                     .name = digest_of(name),
                                     .client = client_number(turn->client),
                                     .effects = effects};
    turn->server->session.giving = portal;
    bound_portals(turn->server);
    return OK;
}

/* Sends a Flush behind DEALLOCATE ALL.  Which names are left is known from its reply, so the next
 * message that names a statement waits for that. */
static fault flush_all(struct turn *turn)
{
    uint8_t *at = turn_make(turn, WIRE_HEADER);
    if (at == NULL)
        return FAULT_MEMORY;
    at[0] = WIRE_FLUSH;
    wire_store_u32(at + 1, 4);
    turn->client->naming_batch = turn->server->session.ledger.batch - 1;
    return OK;
}

fault turn_deallocate_execute(struct turn *turn, const uint8_t *at, uint32_t size, bool *ret_taken)
{
    struct deallocation *gone;
    struct ledger *ledger = &turn->server->session.ledger;
    const char *name = (const char *)at + WIRE_HEADER;
    struct giving_portal *portal =
        *find_portal(turn, span_of(name, strnlen(name, size - WIRE_HEADER)));
    invariant(turn->server->session.giving != NULL);
    *ret_taken = false;
    if (portal == NULL || ledger->skipping)
        return OK;
    TRY(prepare_names(turn, portal->effects, false, &gone));
    *ret_taken = gone != NULL;
    if (gone == NULL)
        return OK;
    bool all = gone->all;
    turn->client->naming_batch = ledger->batch;
    ledger_owe(ledger, (struct owed){.kind = OWED_EXECUTE,
                                     .about = ABOUT_DEALLOCATE,
                                     .named = size > WIRE_HEADER + 5,
                                     .what = gone});
    outbox_run(&turn->up.out, at, size);
    return all ? flush_all(turn) : OK;
}
