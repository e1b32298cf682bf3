/* model_notify.c - LISTEN and NOTIFY: they take effect when their transaction is committed. */
#include "model_inside.h"

#include <stdio.h>

/* A channel that is listened to; or, within a transaction, a change of that. */
struct channel {
    struct node node;
    enum { CHANNEL_LISTEN, CHANNEL_UNLISTEN, CHANNEL_UNLISTEN_ALL } change;
    char name[MODEL_NAME];
};

struct notification {
    struct node node;
    uint32_t pid;
    char channel[MODEL_NAME];
    size_t size;
    char payload[];
};

static void add_channel(struct list *list, const char *name, int change)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    invariant(channel != NULL);
    channel->change = change;
    snprintf(channel->name, sizeof(channel->name), "%s", name);
    list_push(list, &channel->node);
}

static void change_channel(struct model_session *session, struct span name, int change)
{
    char text[MODEL_NAME];
    snprintf(text, sizeof(text), "%.*s", SPAN_ARG(name));
    add_channel(&session->pending_channels, text, change);
}

void model_listen(struct model_session *session, struct span channel)
{
    change_channel(session, channel, CHANNEL_LISTEN);
}

void model_unlisten(struct model_session *session, struct span channel, bool all)
{
    change_channel(session, channel, all ? CHANNEL_UNLISTEN_ALL : CHANNEL_UNLISTEN);
}

static void add_notification(struct list *list, uint32_t pid, const char *channel,
                             struct span payload)
{
    struct notification *made = calloc(1, sizeof(*made) + payload.size + 1);
    invariant(made != NULL);
    made->pid = pid;
    made->size = payload.size;
    snprintf(made->channel, sizeof(made->channel), "%s", channel);
    if (payload.size > 0)
        memcpy(made->payload, payload.at, payload.size);
    list_push(list, &made->node);
}

void model_notify(struct model_session *session, struct span channel, struct span payload)
{
    char name[MODEL_NAME];
    snprintf(name, sizeof(name), "%.*s", SPAN_ARG(channel));
    LIST_EACH (&session->pending_notifications, it) {
        struct notification *old = LIST_ENTRY(it, struct notification, node);
        if (strcmp(old->channel, name) == 0 &&
            span_equal(span_of(old->payload, old->size), payload))
            return;
    }
    add_notification(&session->pending_notifications, session->pid, name, payload);
}

/* --- the end of the transaction --------------------------------------------------------------- */

static void list_forget(struct list *list)
{
    struct node *node;
    while ((node = list_pop(list)) != NULL)
        free(LIST_ENTRY(node, struct channel, node));
}

static void list_forget_notifications(struct list *list)
{
    struct node *node;
    while ((node = list_pop(list)) != NULL)
        free(LIST_ENTRY(node, struct notification, node));
}

static struct channel *find_channel(const struct model_session *session, const char *name)
{
    LIST_EACH (&session->channels, it) {
        struct channel *channel = LIST_ENTRY(it, struct channel, node);
        if (strcmp(channel->name, name) == 0)
            return channel;
    }
    return NULL;
}

static void apply_channel(struct model_session *session, const struct channel *change)
{
    struct channel *known = find_channel(session, change->name);
    if (change->change == CHANNEL_UNLISTEN_ALL) {
        list_forget(&session->channels);
    } else if (change->change == CHANNEL_LISTEN && known == NULL) {
        add_channel(&session->channels, change->name, CHANNEL_LISTEN);
    } else if (change->change == CHANNEL_UNLISTEN && known != NULL) {
        list_remove(&session->channels, &known->node);
        free(known);
    }
}

static uint32_t deliver_to_all(struct model *model, const struct notification *notification)
{
    uint32_t listeners = 0;
    LIST_EACH (&model->sessions, it) {
        struct model_session *other = LIST_ENTRY(it, struct model_session, node);
        if (find_channel(other, notification->channel) == NULL)
            continue;
        add_notification(&other->incoming_notifications, notification->pid, notification->channel,
                         span_of(notification->payload, notification->size));
        listeners += 1;
        if (other->idle)
            co_wake(other->co);
    }
    return listeners;
}

uint32_t model_announce(struct model *model, const char *channel, const char *payload)
{
    struct list one;
    list_init(&one);
    add_notification(&one, 1, channel, span_text(payload));
    uint32_t listeners =
        deliver_to_all(model, LIST_ENTRY(list_first(&one), struct notification, node));
    list_forget_notifications(&one);
    return listeners;
}

void model_notify_end(struct model_session *session, bool commit)
{
    if (commit) {
        LIST_EACH (&session->pending_channels, it)
            apply_channel(session, LIST_ENTRY(it, struct channel, node));
        LIST_EACH (&session->pending_notifications, it)
            (void)deliver_to_all(session->model, LIST_ENTRY(it, struct notification, node));
    }
    list_forget(&session->pending_channels);
    list_forget_notifications(&session->pending_notifications);
}

void model_notify_deliver(struct model_session *session)
{
    LIST_EACH (&session->incoming_notifications, it) {
        struct notification *notification = LIST_ENTRY(it, struct notification, node);
        size_t start = wire_begin(&session->out, WIRE_NOTIFICATION);
        wire_put_u32(&session->out, notification->pid);
        wire_put_text(&session->out, notification->channel);
        wire_put_string(&session->out, span_of(notification->payload, notification->size));
        wire_end(&session->out, start);
        model_tells(session, start);
    }
    list_forget_notifications(&session->incoming_notifications);
}

void model_notify_gone(struct model_session *session)
{
    list_forget(&session->channels);
    list_forget(&session->pending_channels);
    list_forget_notifications(&session->pending_notifications);
    list_forget_notifications(&session->incoming_notifications);
}
