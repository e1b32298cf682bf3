#include "relay/relay_audit_parts.h"

#include "machine/ids.h"
#include "machine/log.h"
#include "query/outline.h"
#include "relay/relay.h"

#include <inttypes.h>
#include <stdio.h>

static const char *answer_text(enum audit_answer answer)
{
    static const char *const texts[] = {
        [AUDIT_EXECUTED] = "executed", [AUDIT_JOINED] = "joined", [AUDIT_HIT] = "hit",
        [AUDIT_REFUSED] = "refused",   [AUDIT_LOST] = "lost",     [AUDIT_SENT] = "sent"};
    return texts[answer];
}

/* How many rows there are is known of executions only. */
static void write_line(const struct client *client, const struct query_outline *outline,
                       const struct audit_line *line)
{
    char from[ADDRESS_TEXT_SIZE], fingerprint[17];
    const struct local_pool *pool = client->pool;
    const struct server *server = line->server;
    bool executed = server != NULL;
    bool shown = pool->route->audit == AUDIT_SHAPE && outline != NULL && outline->fingerprint != 0;
    snprintf(fingerprint, sizeof(fingerprint), "%016" PRIx64,
             outline == NULL ? 0 : outline->fingerprint);
    const struct log_pair pairs[] = {
        log_id("client", &client->id),
        log_text("from", client->peer->family == ADDRESS_UNIX
                             ? "unix"
                             : address_text(client->peer, from, sizeof(from))),
        log_text("database", pool->database),
        log_text("user", pool->user),
        log_text("answer", answer_text(line->answer)),
        executed ? log_id("server", &server->id) : log_nothing(),
        executed ? log_number("server_pid", server->pid) : log_nothing(),
        executed ? log_number("rows", line->call.rows) : log_nothing(),
        executed ? log_number("bytes", line->call.bytes) : log_nothing(),
        log_number("waited_us", line->call.waited_us),
        log_number("took_us", line->call.took_us),
        line->call.errors > 0 ? log_text("failed", "yes") : log_nothing(),
        line->sqlstate != NULL ? log_text("sqlstate", line->sqlstate) : log_nothing(),
        line->rule != NULL ? log_text("rule", line->rule) : log_nothing(),
        log_text("fingerprint", fingerprint),
        shown ? log_quote_span("query", outline->shown) : log_nothing(),
    };
    log_audit("statement", pairs, ARRAY_SIZE(pairs));
}

void relay_audit(const struct client *client, const struct query_outline *outline,
                 const struct audit_line *line)
{
    if (relay_audit_wanted(client->pool) && !client->internal && log_audits())
        write_line(client, outline, line);
}
