#include "flight/l2_link.h"

#include "base/list.h"
#include "flight/l2_breaker.h"
#include "flight/l2_parts.h"
#include "flight/l2_sentinel.h"
#include "flight/l2_talk.h"
#include "flight/l2_value.h"
#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "machine/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value, and what stands around it. */
#define REPLY_MAX ((size_t)L2_VALUE_MAX + 1024)
#define READ_SIZE 16384u

struct l2_ask {
    struct node node; /* in link->asks, in the order of sending */
    struct co *asker; /* NULL: none waits */
    bool posted;      /* none has waited */
    moment sent;
    uint32_t count;
    uint32_t come;
    bool over;   /* all replies are there, or none will come */
    bool failed; /* none will come */
    struct l2_reply *replies[L2_REPLIES_MAX];
};

struct l2_link {
    struct l2 *l2;
    struct co_group group; /* of `main` */
    bool started;          /* `main` was */
    struct co *main;       /* NULL: it does not run yet */
    bool broken;           /* the connection is to be closed: its replies take too long */
    struct stream stream;
    struct l2_reader *reader; /* while connected */
    struct l2_place latest;   /* where it was connected to; no host: nowhere yet */
    struct buffer out;
    size_t out_sent; /* of `out` */
    struct list asks;
    uint32_t asks_count;
    struct l2_breaker breaker;
};

/* --- requests --------------------------------------------------------------------------------- */

static void ask_free(struct l2_ask *ask)
{
    for (uint32_t i = 0; i < L2_REPLIES_MAX; i++)
        l2_reply_free(&ask->replies[i]);
    free(ask);
}

/* Takes a request from the list: its replies are there, or none will come. */
static void ask_end(struct l2_link *link, struct l2_ask *ask, bool failed)
{
    list_remove(&link->asks, &ask->node);
    link->asks_count -= 1;
    ask->over = true;
    ask->failed = failed;
    if (ask->asker != NULL)
        co_wake(ask->asker);
    else
        ask_free(ask);
}

static void link_main(void *argument);

static bool link_admits(struct l2_link *link, size_t bytes, bool posted)
{
    duration patience = {link->l2->settings.budget.us + L2_CONNECT_MAX.us};
    size_t waits = link->out.size - link->out_sent;
    if (link->asks_count >= L2_UNDERWAY_MAX || bytes > L2_SEND_MAX - MIN_OF(waits, L2_SEND_MAX)) {
        l2_count(link->l2, L2_COUNT_FULL);
        return false;
    }
    if ((posted && link->breaker.open) || !l2_breaker_admits(&link->breaker, now(), patience)) {
        l2_count(link->l2, L2_COUNT_SKIPPED);
        return false;
    }
    return true;
}

/* Copies commands behind those that wait to be sent.  False: no memory, and nothing was copied. */
static bool link_queue(struct l2_link *link, struct span commands)
{
    buffer_consume(&link->out, link->out_sent);
    link->out_sent = 0;
    uint8_t *room = buffer_room(&link->out, commands.size);
    if (room == NULL) {
        link->out.failed = OK;
        return false;
    }
    memcpy(room, commands.at, commands.size);
    link->out.size += commands.size;
    return true;
}

/* Puts a request behind the others.  NULL: it is not sent. */
static struct l2_ask *link_send(struct l2_link *link, struct span commands, uint32_t count,
                                bool posted)
{
    if (!link_admits(link, commands.size, posted))
        return NULL;
    struct l2_ask *ask = calloc(1, sizeof(*ask));
    if (ask == NULL)
        return NULL;
    link->started = link->started || co_group_start(&link->group, link_main, link, CO_LARGE) == OK;
    if (!link->started || !link_queue(link, commands)) {
        free(ask);
        return NULL;
    }
    ask->posted = posted;
    ask->sent = now();
    ask->count = count;
    list_push(&link->asks, &ask->node);
    link->asks_count += 1;
    if (link->main != NULL)
        co_wake(link->main);
    return ask;
}

/* --- success and failure ---------------------------------------------------------------------- */

static uint32_t random_u32(void)
{
    uint32_t random;
    random_bytes(&random, sizeof(random));
    return random;
}

static void note_success(struct l2_link *link)
{
    struct l2 *l2 = link->l2;
    l2_breaker_succeeded(&link->breaker);
    if (__atomic_load_n(&l2->lost, __ATOMIC_RELAXED) != 0 &&
        __atomic_exchange_n(&l2->lost, 0, __ATOMIC_RELAXED) != 0)
        log_event(LOG_NOTICE, "cache.tier.back", log_text("host", l2_called(l2)),
                  log_unsigned("port", l2->settings.port));
}

static void note_lost(struct l2_link *link, const char *why)
{
    struct l2 *l2 = link->l2;
    if (__atomic_exchange_n(&l2->lost, 1, __ATOMIC_RELAXED) == 0)
        log_event(LOG_WARNING, "cache.tier.lost", log_text("host", l2_called(l2)),
                  log_unsigned("port", l2->settings.port), log_quote("reason", why));
}

/* Closes the connection.  What was sent over it, or waits to be, gets no answer. */
static void link_drop(struct l2_link *link)
{
    stream_close(&link->stream);
    l2_reader_free(&link->reader);
    buffer_clear(&link->out);
    link->out_sent = 0;
    LIST_EACH_SAFE (&link->asks, it)
        ask_end(link, LIST_ENTRY(it, struct l2_ask, node), true);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Waits until the replies are there.  False: they are not by then. */
static bool ask_await(struct l2_ask *ask, deadline by)
{
    while (!ask->over && now().us < by.us)
        if (co_wait(by) == FAULT_CANCELLED)
            break;
    return ask->over;
}

bool l2_link_ask(struct l2_link *link, struct span commands, uint32_t count,
                 struct l2_reply *ret[L2_REPLIES_MAX], deadline by)
{
    invariant(count <= L2_REPLIES_MAX);
    struct l2_ask *ask = link_send(link, commands, count, false);
    if (ask == NULL)
        return false;
    ask->asker = co_self();
    if (!ask_await(ask, by)) {
        ask->asker = NULL; /* freed when its replies have come */
        if (co_cancelled())
            return false;
        l2_count(link->l2, L2_COUNT_TIMEOUTS);
        if (l2_breaker_failed(&link->breaker, now(), random_u32())) {
            note_lost(link, "replies take longer than the budget");
            link->broken = true;
            if (link->main != NULL)
                co_wake(link->main);
        }
        return false;
    }
    bool whole = !ask->failed;
    for (uint32_t i = 0; whole && i < count; i++)
        ret[i] = TAKE(ask->replies[i]);
    ask_free(ask);
    return whole;
}

void l2_link_post(struct l2_link *link, struct span command)
{
    (void)link_send(link, command, 1, true);
}

/* --- connecting ------------------------------------------------------------------------------- */

static fault log_in(struct l2_link *link, deadline by)
{
    const struct l2_settings *settings = &link->l2->settings;
    char number[16];
    struct span words[3] = {SPAN("AUTH")};
    uint32_t count = 1;
    if (settings->user != NULL)
        words[count++] = span_text(settings->user);
    if (settings->password != NULL) {
        words[count++] = span_text(settings->password);
        TRY(l2_talk(&link->stream, link->reader, words, count, NULL, by));
    }
    if (settings->database == 0)
        return OK;
    snprintf(number, sizeof(number), "%u", settings->database);
    return l2_talk(&link->stream, link->reader, (struct span[]){SPAN("SELECT"), span_text(number)},
                   2, NULL, by);
}

/* Finds where Redis is. */
static fault find_place(const struct l2_settings *settings, struct l2_place *ret, deadline by)
{
    *ret = (struct l2_place){.port = settings->port};
    if (settings->host == NULL)
        return l2_sentinel_find(settings, ret, by);
    snprintf(ret->host, sizeof(ret->host), "%s", settings->host);
    return OK;
}

/* Ends all answers where the Sentinels have named another master than before: it may lack the
 * latest epoch, and its clock may be behind. */
static fault note_master(struct l2_link *link, const struct l2_place *place, deadline by)
{
    bool another =
        link->latest.host[0] != '\0' && link->l2->settings.host == NULL &&
        (link->latest.port != place->port || strcmp(link->latest.host, place->host) != 0);
    if (another) {
        char name[L2_NAME_SIZE], text[L2_EPOCH_SIZE];
        const struct span words[] = {SPAN("SET"), l2_epoch_name(link->l2, name),
                                     l2_epoch_text(text)};
        TRY(l2_talk(&link->stream, link->reader, words, ARRAY_SIZE(words), NULL, by));
        l2_count(link->l2, L2_COUNT_FLUSHES);
    }
    link->latest = *place;
    return OK;
}

static fault connect_by(struct l2_link *link, deadline by)
{
    const struct l2_settings *settings = &link->l2->settings;
    const struct socket_options options = {.nodelay = true, .keepalive = true};
    struct address address;
    struct l2_place place;
    l2_count(link->l2, L2_COUNT_CONNECTS);
    TRY(find_place(settings, &place, by));
    TRY(l2_address_find(place.host, place.port, &address, by));
    TRY(stream_connect(&link->stream, &address, &options, by));
    if (settings->tls_mode != TLS_MODE_DISABLE)
        TRY(stream_tls_connect(&link->stream, settings->tls, place.host, by));
    link->reader = l2_reader_new(REPLY_MAX);
    if (link->reader == NULL)
        return FAULT_MEMORY;
    TRY(log_in(link, by));
    return note_master(link, &place, by);
}

/* --- sending and receiving -------------------------------------------------------------------- */

static fault push(struct l2_link *link)
{
    while (link->out_sent < link->out.size) {
        struct iovec part = {link->out.at + link->out_sent, link->out.size - link->out_sent};
        size_t sent = 0;
        fault pushed = stream_write_some(&link->stream, &part, 1, &sent);
        if (pushed == FAULT_AGAIN)
            return OK;
        TRY(pushed);
        link->out_sent += sent;
    }
    fault flushed = stream_flush_some(&link->stream);
    return flushed == FAULT_AGAIN ? OK : flushed;
}

/* Whether Redis refuses to store for want of memory or disk; it may still be read. */
static bool is_full(const struct l2_reply *reply)
{
    return reply->type == L2_REPLY_ERROR &&
           (span_starts(reply->text, SPAN("OOM ")) || span_starts(reply->text, SPAN("MISCONF ")));
}

/* Gives a reply to the request that is oldest.  An error means that this server is of no use: it is
 * loading, a replica, or wants another password. */
static fault take_reply(struct l2_link *link, struct l2_reply *take_reply)
{
    struct l2_reply *reply = take_reply;
    struct node *first = list_first(&link->asks);
    fault taken = OK;
    if (first == NULL)
        taken = fault_raise(FAULT_PROTOCOL, "a reply to no command");
    else if (reply->type == L2_REPLY_ERROR && !is_full(reply))
        taken = fault_raise(FAULT_UPSTREAM, "%.*s", SPAN_ARG(reply->text));
    if (taken != OK) {
        l2_reply_free(&reply);
        return taken;
    }
    struct l2_ask *ask = LIST_ENTRY(first, struct l2_ask, node);
    if (ask->posted)
        l2_count(link->l2, reply->type == L2_REPLY_ERROR ? L2_COUNT_REFUSED : L2_COUNT_STORED);
    ask->replies[ask->come++] = reply;
    if (ask->come == ask->count) {
        if (ask->asker != NULL)
            note_success(link);
        ask_end(link, ask, false);
    }
    return OK;
}

static fault receive(struct l2_link *link)
{
    uint8_t bytes[READ_SIZE];
    size_t got = 0;
    fault received;
    while ((received = stream_read_some(&link->stream, bytes, sizeof(bytes), &got)) == OK) {
        struct l2_reply *reply = NULL;
        TRY(l2_reader_feed(link->reader, span_of(bytes, got)));
        for (;;) {
            TRY(l2_reader_next(link->reader, &reply));
            if (reply == NULL)
                break;
            TRY(take_reply(link, reply));
        }
    }
    return received == FAULT_AGAIN ? OK : received;
}

/* Suspends until there is something to do. */
static fault await(struct l2_link *link)
{
    struct node *first = list_first(&link->asks);
    deadline silence = NEVER;
    if (first != NULL)
        silence = later(LIST_ENTRY(first, struct l2_ask, node)->sent, L2_SILENCE);
    if (now().us >= silence.us)
        return fault_raise(FAULT_TIMEOUT, "no reply within a second");
    link->stream.waker = co_waker(co_self());
    fault waited = co_wait(silence);
    link->stream.waker = NULL;
    return waited == FAULT_TIMEOUT ? OK : waited;
}

/* Sends and receives until the connection ends.  OK: an asker wants it closed. */
static fault serve(struct l2_link *link)
{
    for (;;) {
        TRY(push(link));
        TRY(receive(link));
        TRY(await(link));
        if (link->broken)
            return OK;
    }
}

/* --- the coroutine ---------------------------------------------------------------------------- */

/* Ends a connection.  One that Redis closes while nothing is under way is no failure. */
static void session_end(struct l2_link *link, fault how, bool connected)
{
    bool idle = connected && list_empty(&link->asks);
    if (how == OK || how == FAULT_CANCELLED || idle) {
        link_drop(link);
        return;
    }
    l2_count(link->l2, L2_COUNT_FAILURES);
    const char *why = fault_detail(how);
    if (!connected || how != FAULT_CLOSED ? l2_breaker_broke(&link->breaker, now(), random_u32())
                                          : l2_breaker_failed(&link->breaker, now(), random_u32()))
        note_lost(link, why);
    link_drop(link);
}

static void link_main(void *argument)
{
    struct l2_link *link = argument;
    link->main = co_self();
    while (!co_cancelled()) {
        if (list_empty(&link->asks)) {
            if (co_wait(NEVER) == FAULT_CANCELLED)
                break;
            continue;
        }
        fault how = connect_by(link, after(L2_CONNECT_MAX));
        bool connected = how == OK;
        link->broken = false;
        if (connected)
            how = serve(link);
        session_end(link, how, connected);
    }
    link_drop(link);
    link->main = NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

struct l2_link *l2_link_new(struct l2 *l2)
{
    struct l2_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return NULL;
    link->l2 = l2;
    link->stream = STREAM_INIT;
    link->out = BUFFER_INIT(L2_SEND_MAX);
    list_init(&link->asks);
    co_group_init(&link->group);
    return link;
}

void l2_link_free(struct l2_link **link)
{
    struct l2_link *old = TAKE(*link);
    if (old == NULL)
        return;
    if (old->started) {
        co_group_cancel(&old->group);
        co_group_join(&old->group);
    }
    buffer_fini(&old->out);
    free(old);
}

struct l2 *l2_link_of(const struct l2_link *link)
{
    return link->l2;
}
