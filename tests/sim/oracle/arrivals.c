#include "oracle/arrivals.h"

#include "machine/clock.h"
#include "oracle/oracle.h"
#include "stage/stage.h"

#include <stdlib.h>
#include <string.h>

#define TOLD_TO_NOBODY 4096u /* the latest of them are remembered */

/* A message that was told, and not heard. */
struct arrival {
    struct arrival *next;
    uint8_t type;
    bool due; /* with a ReadyForQuery that was written behind it */
    deadline told;
    size_t size;
    uint8_t body[];
};

struct arrivals {
    struct arrival *first;
    struct arrival *last;
    uint32_t count;
};

static struct arrivals *by_login;
static struct arrivals to_nobody;

void arrivals_init(void)
{
    by_login = calloc(ORACLE_LOGINS_MAX, sizeof(*by_login));
    PROVE(by_login != NULL);
    to_nobody = (struct arrivals){.count = 0};
}

static void arrivals_push(struct arrivals *list, uint8_t type, struct span body)
{
    struct arrival *made = calloc(1, sizeof(*made) + body.size);
    PROVE(made != NULL);
    made->type = type;
    made->told = now();
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
static void arrivals_take(struct arrivals *list, struct arrival **at, struct arrival *before)
{
    struct arrival *taken = *at;
    *at = taken->next;
    if (list->last == taken)
        list->last = before;
    list->count -= 1;
    free(taken);
}

static void arrivals_clear(struct arrivals *list)
{
    while (list->first != NULL)
        arrivals_take(list, &list->first, NULL);
}

void arrivals_fini(void)
{
    for (uint32_t i = 0; i < ORACLE_LOGINS_MAX; i++)
        arrivals_clear(&by_login[i]);
    arrivals_clear(&to_nobody);
    free(by_login);
    by_login = NULL;
}

void arrivals_forget(uint32_t login)
{
    arrivals_clear(&by_login[login]);
}

static bool arrival_is(const struct arrival *arrival, uint8_t type, struct span body)
{
    return arrival->type == type && span_equal(span_of(arrival->body, arrival->size), body);
}

/* --- what the server says --------------------------------------------------------------------- */

void arrivals_told(uint32_t login, uint8_t type, struct span body)
{
    struct arrivals *list = login != 0 ? &by_login[login] : &to_nobody;
    arrivals_push(list, type, body);
    if (login == 0 && list->count > TOLD_TO_NOBODY)
        arrivals_take(list, &list->first, NULL);
}

void arrivals_are_due(uint32_t login)
{
    for (struct arrival *it = by_login[login].first; it != NULL; it = it->next)
        it->due = true;
}

/* --- what the client reads -------------------------------------------------------------------- */

/* It waits for a server, and is told so by the pooler. */
static bool is_claim_notice(const struct wire_frame *frame)
{
    static const char begins[] = "waiting for a server of pool";
    return frame->type == WIRE_NOTICE &&
           memmem(frame->body.at, frame->body.size, begins, sizeof(begins) - 1) != NULL;
}

static bool was_told_to_nobody(const struct wire_frame *frame)
{
    struct arrival *before = NULL;
    for (struct arrival **at = &to_nobody.first; *at != NULL; at = &(*at)->next) {
        if (arrival_is(*at, frame->type, frame->body)) {
            arrivals_take(&to_nobody, at, before);
            return true;
        }
        before = *at;
    }
    return false;
}

void arrivals_heard(const struct person *person, const struct wire_frame *frame)
{
    struct arrivals *list = &by_login[person->login];
    if (list->first != NULL && arrival_is(list->first, frame->type, frame->body)) {
        arrivals_take(list, &list->first, NULL);
        stage.counts->arrivals += 1;
        return;
    }
    PROVE(is_claim_notice(frame) || was_told_to_nobody(frame),
          "client %u (login %u) hears a '%c' ('%.*s') that it was not told, or not in this order: "
          "next is a '%c' ('%.*s')",
          person->number, person->login, frame->type, SPAN_ARG(frame->body),
          list->first != NULL ? list->first->type : '-',
          list->first != NULL ? (int)list->first->size : 0,
          list->first != NULL ? (const char *)list->first->body : "");
}

void arrivals_prove_all(const struct person *person)
{
    const struct arrival *first = by_login[person->login].first;
    PROVE(first == NULL || !first->due,
          "client %u (login %u) was told a '%c' ('%.*s') that has not arrived", person->number,
          person->login, first->type, (int)first->size, (const char *)first->body);
}

void arrivals_prove_prompt(const struct person *person, duration max)
{
    const struct arrival *first = by_login[person->login].first;
    PROVE(first == NULL || between(first->told, now()).us <= max.us,
          "client %u (login %u), who waits for it, was told a '%c' ('%.*s') %lld ms ago",
          person->number, person->login, first->type, (int)first->size, (const char *)first->body,
          (long long)(between(first->told, now()).us / 1000));
}
