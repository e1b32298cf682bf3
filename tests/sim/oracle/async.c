#include "oracle/async.h"

#include "machine/clock.h"
#include "oracle/oracle.h"
#include "scenario/scenario.h"

#include <stdlib.h>
#include <string.h>

#define UNOWNED_MAX 4096u /* messages without an owner that are remembered */

/* A message that was sent, and not received. */
struct async_message {
    struct async_message *next;
    uint8_t type;
    bool due; /* a ReadyForQuery was sent after it */
    moment sent;
    size_t size;
    uint8_t body[];
};

struct async_messages {
    struct async_message *first;
    struct async_message *last;
    uint32_t count;
};

static struct async_messages *by_login;
static struct async_messages unowned;

void async_init(void)
{
    by_login = calloc(ORACLE_LOGINS_MAX, sizeof(*by_login));
    CHECK(by_login != NULL);
    unowned = (struct async_messages){.count = 0};
}

static void async_push(struct async_messages *list, uint8_t type, struct span body)
{
    struct async_message *made = calloc(1, sizeof(*made) + body.size);
    CHECK(made != NULL);
    made->type = type;
    made->sent = now();
    made->size = body.size;
    memcpy(made->body, body.at, body.size);
    if (list->first == NULL)
        list->first = made;
    else
        list->last->next = made;
    list->last = made;
    list->count += 1;
}

/* The one that `at` points to. */
static void async_take(struct async_messages *list, struct async_message **at,
                       struct async_message *before)
{
    struct async_message *taken = *at;
    *at = taken->next;
    if (list->last == taken)
        list->last = before;
    list->count -= 1;
    free(taken);
}

static void async_clear(struct async_messages *list)
{
    while (list->first != NULL)
        async_take(list, &list->first, NULL);
}

void async_fini(void)
{
    for (uint32_t i = 0; i < ORACLE_LOGINS_MAX; i++)
        async_clear(&by_login[i]);
    async_clear(&unowned);
    free(by_login);
    by_login = NULL;
}

void async_forget(uint32_t login)
{
    async_clear(&by_login[login]);
}

static bool async_equals(const struct async_message *async_message, uint8_t type, struct span body)
{
    return async_message->type == type &&
           span_equal(span_of(async_message->body, async_message->size), body);
}

/* --- messages that were sent ------------------------------------------------------------------ */

void async_sent(uint32_t login, uint8_t type, struct span body)
{
    struct async_messages *list = login != 0 ? &by_login[login] : &unowned;
    async_push(list, type, body);
    if (login == 0 && list->count > UNOWNED_MAX)
        async_take(list, &list->first, NULL);
}

void async_due(uint32_t login)
{
    for (struct async_message *it = by_login[login].first; it != NULL; it = it->next)
        it->due = true;
}

void async_lose(uint32_t login)
{
    for (struct async_message *it = by_login[login].first; it != NULL; it = it->next)
        it->due = false;
    async_forgive(login);
}

void async_forgive(uint32_t login)
{
    struct async_messages *list = &by_login[login];
    struct async_message *before = NULL, **at = &list->first;
    while (*at != NULL && (*at)->due) {
        before = *at;
        at = &(*at)->next;
    }
    while (*at != NULL) {
        async_sent(0, (*at)->type, span_of((*at)->body, (*at)->size));
        async_take(list, at, before);
    }
}

/* --- messages that were received -------------------------------------------------------------- */

/* A notice of the pooler: the client waits for a server. */
static bool is_claim_notice(const struct wire_frame *frame)
{
    static const char begins[] = "waiting for a server of pool";
    return frame->type == WIRE_NOTICE &&
           memmem(frame->body.at, frame->body.size, begins, sizeof(begins) - 1) != NULL;
}

static bool was_sent_to_no_login(const struct wire_frame *frame)
{
    struct async_message *before = NULL;
    for (struct async_message **at = &unowned.first; *at != NULL; at = &(*at)->next) {
        if (async_equals(*at, frame->type, frame->body)) {
            async_take(&unowned, at, before);
            return true;
        }
        before = *at;
    }
    return false;
}

void async_received(const struct sim_client *client, const struct wire_frame *frame)
{
    struct async_messages *list = &by_login[client->login];
    if (list->first != NULL && async_equals(list->first, frame->type, frame->body)) {
        async_take(list, &list->first, NULL);
        scenario.counts->async_messages += 1;
        return;
    }
    CHECK(is_claim_notice(frame) || was_sent_to_no_login(frame),
          "client %u (login %u) received '%c' ('%.*s'), which was not sent, or not in this order: "
          "next is a '%c' ('%.*s')",
          client->number, client->login, frame->type, SPAN_ARG(frame->body),
          list->first != NULL ? list->first->type : '-',
          list->first != NULL ? (int)list->first->size : 0,
          list->first != NULL ? (const char *)list->first->body : "");
}

void async_check_all(const struct sim_client *client)
{
    const struct async_message *first = by_login[client->login].first;
    CHECK(first == NULL || !first->due,
          "client %u (login %u) was sent '%c' ('%.*s'), which has not arrived", client->number,
          client->login, first->type, (int)first->size, (const char *)first->body);
}

void async_check_prompt(const struct sim_client *client, duration max)
{
    const struct async_message *first = by_login[client->login].first;
    CHECK(first == NULL || between(first->sent, now()).us <= max.us,
          "client %u (login %u) is idle and was sent '%c' ('%.*s') %lld ms ago", client->number,
          client->login, first->type, (int)first->size, (const char *)first->body,
          (long long)(between(first->sent, now()).us / 1000));
}
