/* turn_firewall_note.c - counts of the firewall, its lines in the log, and what it has learned. */
#include "machine/clock.h"
#include "machine/log.h"
#include "query/outline.h"
#include "relay/client.h"
#include "relay/relay.h"
#include "relay/relay_audit_parts.h"
#include "relay/turn/turn_firewall_parts.h"
#include "stats/learned.h"

#include <inttypes.h>
#include <stdio.h>

/* Lines of the log, per relay. */
#define TELL_EVERY sec(1)

static const char *or_any(const char *name)
{
    return name != NULL ? name : "*";
}

static void learn(const struct client *client, struct firewall_verdict verdict,
                  const struct query_outline *outline, bool denied)
{
    const struct route_config *route = client->pool->route;
    struct learned_view view = {.calls = 1, .denied = denied, .last = now()};
    snprintf(view.database, sizeof(view.database), "%s", or_any(route->database));
    snprintf(view.user, sizeof(view.user), "%s", or_any(route->user));
    if (verdict.reason != FIREWALL_ALLOWED)
        snprintf(view.rule, sizeof(view.rule), "%s", firewall_verdict_name(verdict));
    if (outline != NULL) {
        view.fingerprint = outline->fingerprint;
        view.text_size = (uint32_t)MIN_OF(outline->shown.size, sizeof(view.text));
        memcpy(view.text, outline->shown.at, view.text_size);
    }
    learned_note(client->relay->pools.env->learned, &view);
}

static void tell(const struct client *client, struct firewall_verdict verdict,
                 const struct query_outline *outline, bool denied)
{
    struct relay *relay = client->relay;
    char fingerprint[17], id[UUID_TEXT_SIZE];
    relay->denials.count += 1;
    if (relay->denials.told.us != 0 && between(relay->denials.told, now()).us < TELL_EVERY.us)
        return;
    snprintf(fingerprint, sizeof(fingerprint), "%016" PRIx64,
             outline == NULL ? 0 : outline->fingerprint);
    uint32_t noted = client->pool->config->log_query_text;
    struct span text = outline == NULL || noted == 0 ? SPAN_NONE : outline->shown;
    text.size = MIN_OF(text.size, (size_t)noted);
    log_event(LOG_WARNING, "firewall.denied", log_text("client", uuid_text(&client->id, id)),
              log_quote("database", client->pool->database), log_quote("user", client->pool->user),
              log_number("route", client->pool->route->line),
              log_text("mode", denied ? "enforce" : "warn"),
              log_quote("rule", firewall_verdict_name(verdict)),
              log_text("fingerprint", fingerprint), log_number("count", relay->denials.count),
              text.size > 0 ? log_quote_span("text", text) : log_nothing());
    relay->denials.told = now();
    relay->denials.count = 0;
}

void turn_firewall_note(struct client *client, struct firewall_verdict verdict,
                        const struct query_outline *outline, bool denied)
{
    const struct firewall_config *firewall = &client->pool->route->firewall;
    bool against = verdict.reason != FIREWALL_ALLOWED;
    firewall_count(firewall, verdict, outline == NULL ? 0 : outline->fingerprint, denied, now().us);
    if (against || firewall->mode == FIREWALL_LEARN)
        learn(client, verdict, outline, denied);
    if (against && firewall->mode != FIREWALL_LEARN)
        tell(client, verdict, outline, denied);
    if (denied)
        relay_audit(client, outline,
                    &(struct audit_line){.answer = AUDIT_REFUSED,
                                         .call.errors = 1,
                                         .sqlstate = "42501",
                                         .rule = firewall_verdict_name(verdict)});
}
