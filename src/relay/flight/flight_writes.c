#include "relay/flight/flight_writes.h"

#include "base/map.h"
#include "flight/flight_env.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "query/shape.h"
#include "relay/client.h"
#include "relay/flight/flight_judge.h"
#include "relay/flight/flight_values_parts.h"
#include "relay/relay.h"
#include "relay/turn/turn.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- verdicts, made beside -------------------------------------------------------------------- */

struct judging {
    struct relay *relay;
    struct config *config; /* counted */
    struct inside *inside;
    struct flight_session session;
    struct buffer key;
    struct buffer text;
    uint64_t digest; /* of `key` */
    uint64_t unfit;  /* inside_unfit() from before the question */
};

static void judging_end(struct judging *judging)
{
    struct relay *relay = judging->relay;
    for (uint32_t i = 0; i < ARRAY_SIZE(relay->judged); i++)
        if (relay->judged[i] == judging->digest)
            relay->judged[i] = 0;
    config_unref(&judging->config);
    buffer_fini(&judging->key);
    buffer_fini(&judging->text);
    free(judging);
}

static void judging_main(void *argument)
{
    struct judging *judging = argument;
    struct relay *relay = judging->relay;
    struct verdict *verdict = NULL;
    fault judged = flight_judge_writes(&judging->session, judging->config,
                                       buffer_span(&judging->text), &verdict);
    /* One that was asked with other settings may name other tables. */
    if (judged == OK && inside_unfit(judging->inside) == judging->unfit)
        (void)verdicts_store(relay->pools.env->flight->verdicts, buffer_span(&judging->key),
                             verdict);
    verdict_unref(&verdict);
    flight_session_close(&judging->session);
    judging_end(judging);
    relay->runs -= 1;
    relay_check_end(relay);
}

/* Takes a place among those that are being made.  False: there is none, or it is being made. */
static bool take_place(struct relay *relay, uint64_t digest)
{
    uint64_t *place = NULL;
    for (uint32_t i = 0; i < ARRAY_SIZE(relay->judged); i++) {
        if (relay->judged[i] == digest)
            return false;
        if (relay->judged[i] == 0)
            place = &relay->judged[i];
    }
    if (place != NULL)
        *place = digest;
    return place != NULL;
}

static void judge_beside(const struct client *client, struct inside *inside, struct span key,
                         struct span text)
{
    struct relay *relay = client->relay;
    uint64_t digest = hash_data(key.at, key.size, 0) | 1;
    static const struct statement_catalog none;
    struct judging *judging = NULL;
    if (!relay->pools.stopping && !inside_rests(inside))
        judging = calloc(1, sizeof(*judging));
    if (judging == NULL || !take_place(relay, digest)) {
        free(judging);
        return;
    }
    *judging = (struct judging){.relay = relay,
                                .config = config_ref(client->pool->config),
                                .inside = inside,
                                .key = BUFFER_INIT(VERDICTS_KEY_MAX),
                                .text = BUFFER_INIT(VERDICTS_KEY_MAX),
                                .digest = digest,
                                .unfit = inside_unfit(inside)};
    buffer_append_span(&judging->key, key);
    buffer_append_span(&judging->text, text);
    bool opened = buffer_fault(&judging->key) == OK && buffer_fault(&judging->text) == OK &&
                  flight_session_open(&judging->session, client, &none) == OK;
    relay->runs += 1;
    if (opened && co_group_start(&relay->runners, judging_main, judging, CO_SMALL) == OK)
        return;
    relay->runs -= 1;
    if (opened)
        flight_session_close(&judging->session);
    judging_end(judging);
}

/* --- one text --------------------------------------------------------------------------------- */

/* Whether the session is as its client's parameters say, so that a verdict made in another one is
 * good for it. */
static bool is_plain(const struct turn *turn)
{
    const struct server *server = turn->server;
    const struct client *client = turn->client;
    const struct inside_writes *writes = server->writes;
    return turn_gates(turn) && turn_remaps(turn) && client->params != NULL &&
           !client->params->temp_path && server->session.pin == NULL && !server->session.suspect &&
           !server->session.path_unsure && !server->session.doubtful && !writes->settles &&
           writes->settings == inside_settings(writes->inside);
}

static struct verdict *find_verdict(const struct turn *turn, struct span bare, struct span text,
                                    uint64_t catalog)
{
    const struct client *client = turn->client;
    struct inside *inside = turn->server->writes->inside;
    struct verdicts *verdicts = client->relay->pools.env->flight->verdicts;
    struct buffer key = BUFFER_INIT(VERDICTS_KEY_MAX);
    struct verdict *verdict = NULL;
    flight_judge_writes_key(client, catalog, inside_settings(inside), bare, &key);
    if (buffer_fault(&key) == OK)
        verdict = verdicts_find(verdicts, buffer_span(&key));
    if (verdict == NULL && buffer_fault(&key) == OK)
        judge_beside(client, inside, buffer_span(&key), text);
    buffer_fini(&key);
    return verdict;
}

/* What a client sends: `text` is that of `body`, and `bind` the body of a Bind behind its names;
 * empty: there is none, or not all of it is here. */
struct sent {
    struct span text;
    struct span body;
    struct span bind;
};

/* Whether the value of the whole key is bound.  A verdict is found by a text without its literals,
 * so it may have those of another one. */
static bool binds_key(const struct verdict *verdict)
{
    for (uint16_t i = 0; i < verdict->keys_count; i++)
        if (verdict->keys[i].parameter == 0)
            return false;
    return verdict->keys_count > 0;
}

/* Notes what is listed: of a table whose key is bound the rows of that value only. */
static void note_listed(struct inside_writes *writes, const struct verdict *verdict,
                        uint64_t catalog, const struct sent *sent)
{
    struct verdict_value bound[FLIGHT_VALUES_MAX];
    uint64_t key;
    bool keyed = false;
    if (binds_key(verdict)) {
        uint32_t count = flight_values_of(sent->body, sent->bind, bound);
        keyed = flight_values_key(verdict, bound, count, &key);
    }
    inside_writes_listed(writes, verdict, catalog, keyed ? &key : NULL);
}

/* Notes rows that a statement writes, by itself or by what it calls. */
static void note_rows(const struct turn *turn, struct span bare, const struct sent *sent)
{
    struct inside_writes *writes = turn->server->writes;
    uint64_t catalog = inside_catalog(writes->inside);
    struct verdict *verdict = is_plain(turn) ? find_verdict(turn, bare, sent->text, catalog) : NULL;
    if (verdict == NULL || verdict->writes == VERDICT_WRITES_DATABASE)
        inside_writes_note(writes, INSIDE_DATABASE);
    else
        note_listed(writes, verdict, catalog, sent);
    verdict_unref(&verdict);
}

/* Commands of the replication protocol, which change no table. */
static bool is_replication_command(struct span text)
{
    static const char *const commands[] = {"IDENTIFY_SYSTEM",
                                           "START_REPLICATION",
                                           "BASE_BACKUP",
                                           "TIMELINE_HISTORY",
                                           "SHOW",
                                           "CREATE_REPLICATION_SLOT",
                                           "READ_REPLICATION_SLOT",
                                           "DROP_REPLICATION_SLOT"};
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (span_starts(text, span_text(commands[i])) && memchr(text.at, ';', text.size) == NULL)
            return true;
    return false;
}

static const enum inside_extent extents[] = {INSIDE_NOTHING, INSIDE_DATABASE, INSIDE_DATABASE,
                                             INSIDE_CATALOG};

static void note_text(struct turn *turn, struct span body, struct span bind)
{
    struct inside_writes *writes = turn->server->writes;
    struct buffer bare = BUFFER_INIT(VERDICTS_KEY_MAX);
    struct sent sent = {span_of(body.at, strnlen((const char *)body.at, body.size)), body, bind};
    struct query_shape shape = query_shape_of(sent.text, &bare);
    bool judged = shape.sure && shape.extent == QUERY_SHAPE_ROWS && buffer_fault(&bare) == OK &&
                  sent.text.size <= QUERY_ANALYSIS_TEXT_MAX;
    if (judged)
        note_rows(turn, buffer_span(&bare), &sent);
    else
        inside_writes_note(writes, extents[shape.extent]);
    writes->ends |= shape.ends;
    writes->settles |= shape.settles;
    writes->presets |= shape.presets;
    buffer_fini(&bare);
}

/* In a pool that knows the statements of its clients, one that is not known was made by PREPARE. */
static void note_unknown(struct turn *turn)
{
    struct inside_writes *writes = turn->server->writes;
    bool parses = !turn_remaps(turn);
    inside_writes_note(writes, parses ? MAX_OF(writes->parsed, INSIDE_DATABASE) : INSIDE_CATALOG);
    writes->ends = writes->settles = true;
    writes->presets |= !parses || writes->parsed_presets;
}

/* In an open transaction only its end commits. */
static void hold(struct turn *turn)
{
    struct inside_writes *writes = turn->server->writes;
    if (turn->server->session.transaction == WIRE_TX_IDLE || writes->ends)
        inside_writes_doubt(writes);
}

void flight_writes_note(struct turn *turn, struct span body, struct span bind)
{
    struct inside_writes *writes = turn->server->writes;
    const struct route_config *route = turn->server->pool->route;
    if (turn->client->internal && !route->is_lookup) {
        /* What runs for a flight, or asks the catalog, writes nothing. */
        if (writes->settings != inside_settings(writes->inside))
            inside_note_unfit(writes->inside);
        return;
    }
    if (route->is_replication && body.at != NULL && is_replication_command(body))
        return;
    if (body.at != NULL)
        note_text(turn, body, bind);
    else
        note_unknown(turn);
    hold(turn);
}

uint64_t flight_writes_catalog(const struct server *server)
{
    return LIKELY(server->writes == NULL) ? 0 : inside_catalog(server->writes->inside);
}

void flight_writes_planned(struct turn *turn, uint64_t catalog)
{
    if (UNLIKELY(catalog != flight_writes_catalog(turn->server)) && turn->server->writes != NULL)
        inside_writes_note(turn->server->writes, INSIDE_DATABASE);
}

void flight_writes_parsed(struct turn *turn, struct span text)
{
    struct inside_writes *writes = turn->server->writes;
    struct buffer bare = BUFFER_INIT(VERDICTS_KEY_MAX);
    struct query_shape shape = query_shape_of(text, &bare);
    writes->parsed = MAX_OF(writes->parsed, extents[shape.extent]);
    writes->parsed_presets |= shape.presets;
    buffer_fini(&bare);
}

/* --- long texts ------------------------------------------------------------------------------- */

/* First words of statements that change rows only, whatever follows in the same statement. */
static bool changes_rows(struct span part)
{
    static const char *const words[] = {"insert ", "update ", "delete ", "merge ", "copy "};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (part.size > strlen(words[i]) &&
            strncasecmp((const char *)part.at, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

void flight_writes_parsed_long(struct turn *turn, struct span part)
{
    struct inside_writes *writes = turn->server->writes;
    enum inside_extent extent = changes_rows(part) ? INSIDE_DATABASE : INSIDE_CATALOG;
    writes->parsed = MAX_OF(writes->parsed, extent);
    writes->parsed_presets |= extent == INSIDE_CATALOG;
}

/* Whether ALTER stands in the parts so far. */
static bool alters(struct inside_writes *writes, struct span part)
{
    static const char word[] = "alter";
    for (size_t i = 0; i < part.size && word[writes->alter] != '\0'; i++) {
        uint8_t letter = part.at[i] | 0x20;
        writes->alter = letter == (uint8_t)word[writes->alter] ? writes->alter + 1 : letter == 'a';
    }
    return word[writes->alter] == '\0';
}

void flight_writes_begin(struct turn *turn, struct span part)
{
    struct inside_writes *writes = turn->server->writes;
    writes->scans = true;
    writes->alter = 0;
    writes->ends = writes->settles = true;
    inside_writes_note(writes, changes_rows(part) ? INSIDE_DATABASE : INSIDE_CATALOG);
    flight_writes_part(turn, part, false);
}

void flight_writes_part(struct turn *turn, struct span part, bool last)
{
    struct inside_writes *writes = turn->server->writes;
    if (!writes->scans)
        return;
    writes->scans = !last;
    if (memchr(part.at, ';', part.size) != NULL) /* another statement, or in a literal */
        inside_writes_note(writes, INSIDE_CATALOG);
    writes->presets |= alters(writes, part);
    hold(turn);
}
