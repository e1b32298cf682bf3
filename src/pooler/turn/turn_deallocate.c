/*
 * turn_deallocate.c - SQL's DEALLOCATE of a statement that was prepared by a Parse message.
 *
 * libpq before version 17 has no call for Close, so drivers on it (psqlODBC, PDO, DBD::Pg) give
 * their statements up by a simple query.  The server knows these by other names and keeps them for
 * other clients, so the name is taken from the client here.  A Sync asks the server for the
 * ReadyForQuery.
 */
#include "pooler/turn/turn.h"
#include "wire/messages.h"

#include <strings.h>

/* The longest identifier, twice in quotes, and the words around it. */
#define DEALLOCATE_MOST 160u
#define NAME_MOST       64u

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t\r\n\f\v");
}

static bool is_name_byte(uint8_t byte)
{
    return byte >= 0x80 || byte == '_' || byte == '$' || (byte >= '0' && byte <= '9') ||
           (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

/* Takes a word that stands alone; NULL: another stands there. */
static const char *skip_word(const char *at, const char *word)
{
    size_t size = strlen(word);
    if (strncasecmp(at, word, size) != 0 || is_name_byte((uint8_t)at[size]))
        return NULL;
    return skip_space(at + size);
}

/* Reads a name, folded unless it is quoted; NULL: there is none of a usual form. */
static const char *read_name(const char *at, char name[NAME_MOST])
{
    size_t size = 0;
    bool quoted = *at == '"';
    at += quoted ? 1 : 0;
    for (; quoted ? *at != '"' && *at != '\0' : is_name_byte((uint8_t)*at); at++) {
        if (size + 1 == NAME_MOST)
            return NULL;
        bool upper = !quoted && *at >= 'A' && *at <= 'Z';
        name[size++] = (char)(upper ? *at - 'A' + 'a' : *at);
    }
    name[size] = '\0';
    if (size == 0 || (quoted && (at[0] != '"' || at[1] == '"')))
        return NULL;
    return skip_space(quoted ? at + 1 : at);
}

/* Whether the text is DEALLOCATE of one name, and nothing else. */
static bool read_deallocate(const char *at, char name[NAME_MOST])
{
    at = skip_word(skip_space(at), "deallocate");
    if (at == NULL)
        return false;
    const char *behind = skip_word(at, "prepare");
    if (behind != NULL && *behind != '\0' && *behind != ';')
        at = behind;
    if (skip_word(at, "all") != NULL)
        return false;
    at = read_name(at, name);
    if (at == NULL)
        return false;
    if (*at == ';')
        at = skip_space(at + 1);
    return *at == '\0';
}

static struct client_statement *deallocated(struct turn *turn, const uint8_t *at, uint32_t size)
{
    struct client *client = turn->client;
    char name[NAME_MOST];
    if (size > DEALLOCATE_MOST || at[size - 1] != '\0' || client->naming != 0 ||
        turn->server->ledger.extended || turn->server->transaction == WIRE_TX_FAILED)
        return NULL;
    if (!read_deallocate((const char *)at + WIRE_HEADER, name))
        return NULL;
    return client_statement_find(&client->statements, span_text(name));
}

fault turn_deallocate(struct turn *turn, const uint8_t *at, uint32_t size, bool *ret_taken)
{
    struct client *client = turn->client;
    struct ledger *ledger = &turn->server->ledger;
    struct client_statement *named = deallocated(turn, at, size);
    *ret_taken = named != NULL;
    if (named == NULL)
        return OK;
    uint8_t *sync = outbox_make(&turn->up.out, &turn->relay->chunks, WIRE_HEADER);
    if (sync == NULL)
        return FAULT_MEMORY;
    sync[0] = WIRE_SYNC;
    wire_store_u32(sync + 1, 4);
    turn_forget_unnamed(turn);
    named->references += 1;
    client_statement_remove(&client->statements, named);
    client->naming += 1;
    client->naming_batch = ledger->batch;
    ledger_owe(ledger, (struct owed){.kind = OWED_EXECUTE,
                                     .fate = FATE_SYNTHETIC,
                                     .about = ABOUT_CLOSE,
                                     .what = named});
    ledger_owe(ledger, (struct owed){.kind = OWED_SYNC});
    return turn_give_synthetic(turn);
}
