#include "relay/turn/turn_batch_parts.h"

#include "pool/local_pool.h"
#include "relay/client.h"
#include "session/statements.h"
#include "wire/messages.h"

#include <string.h>

bool turn_message_next(struct span *rest, struct turn_message_whole *ret)
{
    if (rest->size < WIRE_HEADER)
        return false;
    uint32_t length = wire_u32(rest->at + 1);
    if (length < 4 || length >= rest->size)
        return false;
    ret->type = rest->at[0];
    ret->body = span_of(rest->at + WIRE_HEADER, length - 4);
    *rest = span_skip(*rest, (size_t)length + 1);
    return true;
}

/* Whether a Query's body is one string.  The server refuses any other. */
static bool is_string(struct span body)
{
    return body.size > 0 && memchr(body.at, '\0', body.size) == body.at + body.size - 1;
}

/* Reads the Parse of an unnamed statement. */
static bool read_parse(const struct client *client, struct span body, struct turn_batch *ret)
{
    if (body.size < 2 || body.at[0] != '\0')
        return false;
    ret->parses = true;
    ret->params = client->params;
    ret->parse = span_skip(body, 1);
    return true;
}

/* Reads a Bind of the unnamed portal, and finds the statement that it names. */
static bool read_bind(const struct client *client, struct span body, struct turn_batch *ret)
{
    struct wire_bind_names names;
    if (wire_read_bind_names(body, &names) != OK || names.portal.size > 0)
        return false;
    ret->bind = span_skip(body, names.statement.size + 2);
    if (names.statement.size == 0) {
        if (ret->parses)
            return true;
        ret->parse = span_of(client->unnamed, client->unnamed_size);
        ret->params = client->unnamed_params;
        ret->shape = client->unnamed_shaped ? &client->unnamed_shape : NULL;
        return ret->parse.at != NULL;
    }
    const struct client_statement *named =
        ret->parses ? NULL : client_statement_find(&client->statements, names.statement);
    if (named == NULL || named->pending)
        return false;
    ret->named = true;
    ret->parse = span_of(named->statement->body, named->statement->size);
    ret->params = named->params;
    ret->shape = named->meaning.shaped ? &named->meaning.shape : NULL;
    return true;
}

/* Whether the rest of a batch, behind its Bind, only describes and executes the unnamed portal. */
static bool read_execute(struct span *rest, struct turn_batch *ret)
{
    struct turn_message_whole next;
    struct wire_target target;
    if (!turn_message_next(rest, &next))
        return false;
    if (next.type == WIRE_DESCRIBE) {
        ret->describes = true;
        if (wire_read_target(next.body, &target) != OK || target.kind != 'P' ||
            target.name.size > 0 || !turn_message_next(rest, &next))
            return false;
    }
    if (next.type != WIRE_EXECUTE || next.body.size != 5 || next.body.at[0] != '\0')
        return false;
    ret->limited = wire_u32(next.body.at + 1) != 0;
    return turn_message_next(rest, &next) && next.type == WIRE_SYNC;
}

bool turn_batch_read(const struct client *client, struct span *rest, struct turn_batch *ret)
{
    struct turn_message_whole next;
    *ret = (struct turn_batch){.extended = true};
    if (!turn_message_next(rest, &next))
        return false;
    if (next.type == WIRE_QUERY) {
        *ret = (struct turn_batch){.text = next.body, .params = client->params};
        return is_string(next.body);
    }
    if (client->pool->route->prepared_max == 0)
        return false; /* names of statements are the server's own */
    if (next.type == WIRE_PARSE &&
        (!read_parse(client, next.body, ret) || !turn_message_next(rest, &next)))
        return false;
    if (next.type != WIRE_BIND || !read_bind(client, next.body, ret) || !read_execute(rest, ret))
        return false;
    ret->text = ret->parse;
    return true;
}
