#include "relay/flight/flight_wait.h"
#include "relay/flight/flight_strict_parts.h"
#include "relay/flight/flight_wait_parts.h"

#include "flight/flight_env.h"
#include "machine/clock.h"
#include "query/outcome.h"
#include "relay/flight/flight_judge.h"
#include "relay/flight/flight_key.h"
#include "relay/flight/flight_rule.h"
#include "relay/flight/flight_runner.h"
#include "relay/relay.h"
#include "relay/relay_calls.h"
#include "relay/turn/turn.h"
#include "session/effects.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

#define TAIL (WIRE_HEADER + 1u)
/* Executions of one statement whose server is lost before the client is told. */
#define LOST_MAX 3u
/* A client that takes nothing of so many bytes for so long is disconnected when memory is tight. */
#define STUCK_BYTES 65536u
#define STUCK_AFTER sec(10)

static const uint8_t tail[TAIL] = {WIRE_READY, 0, 0, 0, 5, WIRE_TX_IDLE};

static struct flight_env *env_of(const struct client *client)
{
    return client->relay->pools.env->flight;
}

/* --- sending the reply ------------------------------------------------------------------------ */

static void put_head(struct flight_wait *wait, uint8_t type)
{
    const uint8_t message[WIRE_HEADER] = {type, 0, 0, 0, 4};
    memcpy(wait->head + wait->head_size, message, sizeof(message));
    wait->head_size += sizeof(message);
}

/* Begins to read an answer of which nothing may be there yet, so that its beginning is kept.
 * False: its beginning is gone already. */
static bool open_early(struct flight_wait *wait, struct answer *answer)
{
    bool whole = !wait->extended || wait->describes;
    return wait->reader.answer != NULL ||
           answer_open(answer, whole ? ANSWER_WHOLE : ANSWER_ROWS, &wait->reader);
}

/* Begins the reply; `progress` is how far the statement has come. */
bool flight_wait_open(struct flight_wait *wait, struct answer *answer,
                      enum flight_progress progress)
{
    if (!open_early(wait, answer) || !answer_suits(answer, wait->shape))
        return false;
    wait->headed = true;
    wait->moved = now();
    if (wait->parses && progress > FLIGHT_AT_PARSE)
        put_head(wait, WIRE_PARSE_COMPLETE);
    if (wait->extended && progress > FLIGHT_AT_BIND)
        put_head(wait, WIRE_BIND_COMPLETE);
    return true;
}

static struct iovec head_part(struct flight_wait *wait)
{
    return (struct iovec){wait->head + wait->head_at, (size_t)(wait->head_size - wait->head_at)};
}

static struct iovec part_of(struct span bytes)
{
    return (struct iovec){(void *)(uintptr_t)bytes.at, bytes.size};
}

/* Lists the end of a reply whose time limit has passed: the rest of a message, then the error. */
static int list_error(struct flight_wait *wait, struct span rows, struct iovec parts[3])
{
    int count = 0;
    struct span error = flight_limit_error(&wait->own);
    if (wait->head_at < wait->head_size)
        parts[count++] = head_part(wait);
    if (rows.size > 0)
        parts[count++] = part_of(rows);
    else if (flight_limit_rest(&wait->own) == 0 && error.size > 0)
        parts[count++] = part_of(error);
    return count;
}

/* Lists what can be sent now.  Returns the number of parts, at most three. */
static int list_parts(struct flight_wait *wait, struct iovec parts[3], size_t *ret_rows)
{
    int count = 0;
    struct span rows = answer_peek(&wait->reader);
    if (UNLIKELY(wait->own.over))
        rows.size = MIN_OF(rows.size, flight_limit_rest(&wait->own));
    *ret_rows = rows.size;
    if (UNLIKELY(wait->own.over))
        return list_error(wait, rows, parts);
    enum answer_end end = answer_ended(wait->reader.answer);
    bool last = end != ANSWER_RUNNING && answer_lag(&wait->reader) == rows.size;
    if (rows.size == 0 && !last)
        return 0;
    if (wait->head_at < wait->head_size)
        parts[count++] = head_part(wait);
    if (rows.size > 0)
        parts[count++] = part_of(rows);
    if (last && end != ANSWER_BROKEN && wait->tail_at < TAIL)
        parts[count++] = part_of(span_of(tail + wait->tail_at, TAIL - wait->tail_at));
    return count;
}

static void note_sent(struct flight_wait *wait, size_t rows, size_t sent)
{
    wait->begun = wait->begun || sent > 0;
    if (sent > 0)
        wait->moved = now();
    size_t head = MIN_OF(sent, (size_t)(wait->head_size - wait->head_at));
    wait->head_at += (uint8_t)head;
    sent -= head;
    rows = MIN_OF(sent, rows);
    if (rows > 0) {
        flight_limit_note(&wait->own, span_of(answer_peek(&wait->reader).at, rows));
        answer_consume(&wait->reader, rows);
    }
    if (UNLIKELY(wait->own.over))
        wait->own.error_at += (uint32_t)(sent - rows);
    else
        wait->tail_at += (uint8_t)(sent - rows);
}

static bool all_sent(const struct flight_wait *wait)
{
    return wait->own.over ? flight_limit_error(&wait->own).size == 0 : wait->tail_at == TAIL;
}

/* Sends what the socket takes.  OK: all is sent.  AGAIN: the socket takes no more, or there is no
 * more yet.  UPSTREAM: the answer ends too early.  Others: the client is gone. */
fault flight_wait_send(struct flight_wait *wait)
{
    struct client *client = wait->client;
    for (;;) {
        struct iovec parts[3];
        size_t rows, sent = 0;
        int count = list_parts(wait, parts, &rows);
        if (count == 0)
            break;
        TRY(stream_write_some(&client->stream, parts, count, &sent));
        note_sent(wait, rows, sent);
        hint_add(&client->pool->stats.sent, sent);
    }
    if (all_sent(wait))
        return stream_flush_some(&client->stream);
    bool broken = answer_read_all(&wait->reader) == ANSWER_BROKEN;
    return broken ? FAULT_UPSTREAM : FAULT_AGAIN;
}

/* --- the end of a wait ------------------------------------------------------------------------ */

/* Writes the audit's line of a statement that was executed for the cache, or is, while this client
 * does not get its answer. */
static void tell_lost(const struct client *client)
{
    struct turn_batch batch;
    struct span rest = span_of(client->stash, client->stash_size);
    struct stats_call call = {.errors = 1, .took_us = between(client->flight->began, now()).us};
    if (turn_batch_read(client, &rest, &batch))
        relay_calls_lost(client, flight_key_text_of(&batch), &call);
}

void flight_wait_free(struct client *client)
{
    if (client->flight != NULL && client->flight->waiter.flight != NULL && !client->flight->told &&
        relay_calls_wanted(client->pool))
        tell_lost(client);
    struct flight_wait *wait = TAKE(client->flight);
    if (wait == NULL)
        return;
    answer_close(&wait->reader);
    flight_leave(&wait->waiter);
    flight_ask_leave(&wait->ask);
    flight_limit_fini(&wait->own);
    config_unref(&wait->config);
    free(wait);
}

/* What the client's own Parse has left, as if a server had it executed. */
static void note_parse(struct client *client, struct span body, bool failed)
{
    turn_unnamed_drop_before(client);
    effects_free(TAKE(client->unnamed_effects));
    client->unnamed_alters = false;
    client->unnamed_outcome = QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT;
    client_keep_unnamed(client, failed ? SPAN_NONE : body);
    params_assign(&client->unnamed_params, failed ? NULL : params_ref(client->params));
}

/* Forgets the unnamed statement: a simple query destroys it. */
static void note_query(struct client *client)
{
    if (client->unnamed != NULL)
        client_keep_unnamed(client, SPAN_NONE);
    else /* too long to be kept, it may be on a server */
        client->unnamed_number = ++client->relay->unnamed_ever;
}

/* Notes what the stashed batch, or the one that `batch` was read from, has done to the unnamed
 * statement. */
void flight_wait_settle(struct client *client, const struct turn_batch *batch, bool failed)
{
    struct turn_batch stashed;
    struct span rest = span_of(client->stash, client->stash_size);
    if (batch == NULL) {
        bool whole = turn_batch_read(client, &rest, &stashed);
        invariant(whole);
        batch = &stashed;
    }
    if (!batch->extended)
        note_query(client);
    else if (batch->parses)
        note_parse(client, batch->parse, failed);
}

static void park(struct client *client)
{
    client->silent = (moment){0};
    if (client->leaving) {
        client_farewell(&client, "57P01", "terminating connection: the pooler is shutting down");
        return;
    }
    if (client_park(client))
        turn_arrive(client);
}

/* The client executes its stashed statement by itself. */
void flight_wait_pass(struct client *client)
{
    client->flight->told = true; /* it is told as any other */
    flight_wait_free(client);
    client->ahead = client->passes = true;
    park(client);
}

/* The server was lost before the client got anything.  The first one of those that waited begins
 * another flight, which the others join. */
static void begin_again(struct client *client)
{
    client->lost = client->flight->lost + 1;
    client->flight->told = client->lost < LOST_MAX;
    flight_wait_free(client);
    if (client->lost == LOST_MAX) {
        client_farewell(&client, "08006", "the server closed the connection unexpectedly");
        return;
    }
    client->ahead = true;
    park(client);
}

static bool is_lost(const struct flight_wait *wait)
{
    return wait->waiter.flight != NULL && flight_phase(wait->waiter.flight) == FLIGHT_LOST;
}

static bool parse_failed(const struct flight_wait *wait)
{
    return wait->waiter.flight != NULL && flight_phase(wait->waiter.flight) == FLIGHT_ENDED &&
           flight_progress(wait->waiter.flight) == FLIGHT_AT_PARSE;
}

/* Counts a client that has waited when it is served: by then the execution has told what the text
 * is. */
static void count_served(const struct client *client)
{
    struct turn_batch batch;
    struct span rest = span_of(client->stash, client->stash_size);
    struct stats_call call = {.took_us = between(client->flight->began, now()).us};
    if (client->flight->waiter.flight == NULL || !turn_batch_read(client, &rest, &batch))
        return; /* a long answer from memory: counted when it was found */
    call.errors = answer_ended(client->flight->reader.answer) == ANSWER_ERROR;
    if (client->flight->joins)
        relay_calls_share(client, flight_key_text_of(&batch), STATS_JOIN, &call, NULL);
    else
        relay_calls_led(client, flight_key_text_of(&batch), &call);
}

static void served(struct client *client)
{
    if (UNLIKELY((client->pool->looks & POOL_LOOKS_CALLS) != 0))
        count_served(client);
    client->flight->told = true;
    flight_wait_settle(client, NULL, parse_failed(client->flight));
    flight_wait_free(client);
    client_drop_stash(client);
    park(client);
}

/* Sends an error in place of the answer, of which the client has got nothing. */
static void refuse(struct client *client, const char *sqlstate, const char *text)
{
    struct buffer out = BUFFER_INIT(1024);
    struct wire_report report = {.severity = "ERROR", .sqlstate = sqlstate, .message = text};
    invariant(!client->flight->begun);
    wire_put_report(&out, &report);
    buffer_append(&out, tail, sizeof(tail));
    struct iovec part = {out.at, out.size};
    size_t sent = 0;
    fault wrote = buffer_fault(&out);
    if (wrote == OK)
        wrote = stream_write_some(&client->stream, &part, 1, &sent);
    bool whole = wrote == OK && sent == out.size && stream_flush_some(&client->stream) == OK;
    buffer_fini(&out);
    flight_wait_settle(client, NULL, true);
    flight_wait_free(client);
    client_drop_stash(client);
    if (whole)
        park(client);
    else
        client_close(&client, "it did not take an error");
}

/* The execution was lost after the client had got a part of its answer. */
static void lose(struct client *client)
{
    flight_wait_free(client);
    client_close(&client, "the server of its statement was lost in the middle of the answer");
}

void flight_wait_go_on(struct client *client)
{
    struct flight_wait *wait = client->flight;
    fault sent = flight_wait_send(wait);
    switch (sent) {
    case OK:
        served(client);
        return;
    case FAULT_AGAIN:
        return;
    case FAULT_UPSTREAM:
        if (wait->begun)
            lose(client);
        else if (is_lost(wait))
            begin_again(client);
        else
            flight_wait_pass(client);
        return;
    default:
        flight_wait_free(client);
        client_close(&client, fault_detail(sent));
    }
}

/* --- news, events, deadlines ------------------------------------------------------------------ */

static void set_timer(struct flight_wait *wait)
{
    deadline by = earlier_of(wait->by, after(STUCK_AFTER));
    if (wait->own.by.us != 0 && !wait->own.over)
        by = earlier_of(by, wait->own.by);
    timer_set(&wait->client->timer, by);
}

/* Starts the client's own time limit once the execution was sent. */
static void note_running(struct flight_wait *wait)
{
    const struct flight *flight = wait->waiter.flight;
    if (flight != NULL && flight_phase(flight) == FLIGHT_RUNNING &&
        flight_limit_start(&wait->own, now()))
        set_timer(wait);
}

/* Whether the execution has ended at a limit of its server (57014, 55P03) that began before this
 * client came. */
static bool is_cut_short(const struct flight_wait *wait)
{
    const struct flight *flight = wait->waiter.flight;
    struct answer_reader reader = {0};
    struct wire_error error;
    bool cut = false;
    if (!wait->late || wait->begun || flight_phase(flight) != FLIGHT_ENDED ||
        answer_ended(flight_answer(flight)) != ANSWER_ERROR ||
        !answer_open(flight_answer(flight), ANSWER_ROWS, &reader))
        return false;
    struct span first = answer_peek(&reader);
    if (first.size > WIRE_HEADER && first.at[0] == WIRE_ERROR &&
        wire_read_error(span_skip(first, WIRE_HEADER), &error) == OK)
        cut = span_is(error.sqlstate, "57014") || span_is(error.sqlstate, "55P03");
    answer_close(&reader);
    return cut;
}

/* The client asks again, as if it had just come. */
static void ask_again(struct client *client)
{
    flight_wait_free(client);
    client->ahead = true;
    park(client);
}

/* Whether there is something to send now, or the end. */
bool flight_wait_has_answer(struct flight_wait *wait)
{
    if (wait->headed)
        return true;
    struct flight *flight = wait->waiter.flight;
    note_running(wait);
    struct answer *answer = flight == NULL ? NULL : flight_answer(flight);
    if (answer == NULL || is_lost(wait))
        return false;
    if (!open_early(wait, answer))
        return false;
    /* How far a failing statement came is known at its end; all else has been executed. */
    bool ended = flight_phase(flight) == FLIGHT_ENDED;
    if (!ended && answer_bytes(answer) == 0)
        return false;
    return flight_wait_open(wait, answer, ended ? flight_progress(flight) : FLIGHT_AT_EXECUTE);
}

/* Whether the client keeps memory that others need, and takes nothing. */
static bool is_stuck(const struct flight_wait *wait)
{
    return wait->headed && answer_lag(&wait->reader) > STUCK_BYTES &&
           answer_memory_tight(&env_of(wait->client)->memory) &&
           between(wait->moved, now()).us > STUCK_AFTER.us;
}

static void end_stuck(struct client *client)
{
    flight_wait_free(client);
    client_close(&client, "it reads too slowly what others wait for");
}

static void on_news(struct flight_waiter *waiter)
{
    struct flight_wait *wait = CONTAINER_OF(waiter, struct flight_wait, waiter);
    struct client *client = wait->client;
    enum flight_phase phase = flight_phase(waiter->flight);
    if (is_stuck(wait)) {
        end_stuck(client);
    } else if (is_cut_short(wait)) {
        ask_again(client);
    } else if (flight_wait_has_answer(wait)) {
        flight_wait_go_on(client);
    } else if (phase == FLIGHT_LOST) {
        begin_again(client);
    } else if (phase == FLIGHT_DECLINED || phase == FLIGHT_ENDED) {
        flight_wait_pass(client);
    }
}

void flight_event(struct client *client)
{
    struct flight_wait *wait = client->flight;
    if (stream_hung_up(&client->stream)) {
        flight_wait_free(client);
        client_close(&client, "left while it waited for an answer");
        return;
    }
    if (stream_may_write(&client->stream) && flight_wait_has_answer(wait))
        flight_wait_go_on(client);
}

static void arm(struct flight_wait *wait)
{
    const struct local_pool_times *times = &wait->client->pool->times;
    wait->limit = times->any ? times->query : NO_LIMIT;
    wait->by = wait->limit.us == NO_LIMIT.us ? NEVER : after(wait->limit);
    set_timer(wait);
}

/* The limit of the client's session has passed. */
static void end_limited(struct client *client)
{
    struct flight_wait *wait = client->flight;
    if (!wait->begun) {
        refuse(client, "57014", "canceling statement due to statement timeout");
        return;
    }
    if (flight_limit_end(&wait->own) != OK) {
        flight_wait_free(client);
        client_close(&client, "no memory for the error of its time limit");
        return;
    }
    set_timer(wait);
    flight_wait_go_on(client);
}

void flight_overdue(struct client *client)
{
    char text[96];
    if (is_stuck(client->flight)) {
        end_stuck(client);
        return;
    }
    if (flight_limit_passed(&client->flight->own, now())) {
        end_limited(client);
        return;
    }
    if (client->flight->by.us > now().us) {
        set_timer(client->flight);
        return;
    }
    bool begun = client->flight->begun;
    snprintf(text, sizeof(text), "canceling statement due to query_timeout (%" PRId64 " ms)",
             client->flight->limit.us / 1000);
    flight_wait_free(client);
    if (begun)
        client_close(&client, text);
    else
        client_farewell(&client, "57014", text);
}

bool flight_drop(struct client *client)
{
    bool begun = client->flight->begun;
    flight_wait_free(client);
    return !begun;
}

void flight_cancel(struct client *client)
{
    if (!client->flight->begun)
        refuse(client, "57014", "canceling statement due to user request");
}

/* --- the beginning ---------------------------------------------------------------------------- */

struct flight_wait *flight_wait_new(struct client *client, const struct turn_batch *batch)
{
    struct flight_wait *wait = calloc(1, sizeof(*wait));
    if (wait == NULL)
        return NULL;
    wait->client = client;
    wait->waiter.news = on_news;
    wait->began = now();
    wait->extended = batch->extended;
    wait->parses = batch->parses;
    wait->describes = batch->describes;
    if (batch->shape != NULL)
        memcpy(&wait->shape, batch->shape, sizeof(wait->shape));
    wait->lost = client->lost;
    flight_limit_init(&wait->own, client->params);
    client->lost = 0;
    client->flight = wait;
    return wait;
}

bool flight_wait_begin(struct client *client, const uint8_t *at, uint32_t size)
{
    if (client_stash(client, at, size) != OK)
        return false;
    client_become(client, CLIENT_FLIGHT);
    client->since = now();
    arm(client->flight);
    return true;
}
