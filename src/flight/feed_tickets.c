#include "flight/feed_tickets.h"

void feed_tickets_init(struct feed_tickets *tickets)
{
    list_init(&tickets->arrived);
    list_init(&tickets->sent);
    list_init(&tickets->passing);
}

static void answer(struct list *list, struct feed_ticket *ticket, enum feed_verdict verdict)
{
    list_remove(list, &ticket->node);
    ticket->verdict = verdict;
    ticket->answered(ticket);
}

void feed_tickets_arrive(struct feed_tickets *tickets, struct feed_ticket *ticket)
{
    ticket->node = (struct node){NULL, NULL};
    list_push(&tickets->arrived, &ticket->node);
}

void feed_tickets_send(struct feed_tickets *tickets)
{
    invariant(list_empty(&tickets->sent));
    for (struct node *node; (node = list_pop(&tickets->arrived)) != NULL;)
        list_push(&tickets->sent, node);
}

void feed_tickets_place(struct feed_tickets *tickets, uint64_t position)
{
    LIST_EACH (&tickets->passing, it)
        position = MAX_OF(position, LIST_ENTRY(it, struct feed_ticket, node)->position);
    for (struct node *node; (node = list_pop(&tickets->sent)) != NULL;) {
        LIST_ENTRY(node, struct feed_ticket, node)->position = position;
        list_push(&tickets->passing, node);
    }
}

uint32_t feed_tickets_pass(struct feed_tickets *tickets, uint64_t passed, uint64_t epoch)
{
    uint32_t answered = 0;
    for (struct node *node; (node = list_first(&tickets->passing)) != NULL; answered++) {
        struct feed_ticket *ticket = LIST_ENTRY(node, struct feed_ticket, node);
        if (ticket->position > passed)
            break;
        ticket->epoch = epoch;
        answer(&tickets->passing, ticket, FEED_READY);
    }
    return answered;
}

/* --- time ------------------------------------------------------------------------------------- */

static deadline ticket_due(const struct node *node)
{
    const struct feed_ticket *ticket = LIST_ENTRY(node, struct feed_ticket, node);
    return later(ticket->asked, ticket->timeout);
}

static uint32_t expire(struct list *list, moment at)
{
    uint32_t answered = 0;
    LIST_EACH_SAFE (list, node) {
        if (ticket_due(node).us > at.us)
            continue;
        answer(list, LIST_ENTRY(node, struct feed_ticket, node), FEED_BYPASS);
        answered += 1;
    }
    return answered;
}

uint32_t feed_tickets_expire(struct feed_tickets *tickets, moment at)
{
    return expire(&tickets->passing, at) + expire(&tickets->sent, at) +
           expire(&tickets->arrived, at);
}

uint32_t feed_tickets_refuse(struct feed_tickets *tickets)
{
    return feed_tickets_expire(tickets, NEVER);
}

/* Tickets of one list come in about the order in which they were asked, and their timeouts differ
 * only while a reload has changed them. */
deadline feed_tickets_due(const struct feed_tickets *tickets)
{
    const struct list *lists[] = {&tickets->passing, &tickets->sent, &tickets->arrived};
    deadline due = NEVER;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        const struct node *first = list_first(lists[i]);
        if (first != NULL)
            due = earlier_of(due, ticket_due(first));
    }
    return due;
}
