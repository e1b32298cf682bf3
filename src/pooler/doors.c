#include "pooler/doors.h"

#include "machine/clock.h"
#include "machine/dns.h"
#include "machine/inherited.h"
#include "machine/log.h"
#include "pooler/pooler.h"

#include <stdlib.h>

#define LISTENERS_MOST 64

struct door {
    struct node node; /* in doors->all */
    struct listener listener;
    struct pooler *pooler;
    struct co_group accepting; /* its one coroutine, once it is open */
    uint32_t listen;           /* the number of its listener */
    uint32_t next;             /* the same in the version that is prepared */
    bool wanted;               /* by that version */
    bool open;                 /* accepts */
    bool passed;               /* by the service manager */
};

struct doors {
    struct pooler *pooler;
    struct config *config; /* the version that was committed last; counted, NULL before */
    struct list all;
    uint32_t numbers; /* given away so far */
};

/* --- accepting -------------------------------------------------------------------------------- */

static void door_main(void *argument)
{
    struct door *door = argument;
    char at[ADDRESS_TEXT_SIZE];
    for (;;) {
        struct address peer;
        int handle;
        fault accepted = listener_accept(&door->listener, &handle, &peer, NEVER);
        if (accepted == FAULT_CANCELLED)
            return;
        if (accepted == OK)
            pooler_take(door->pooler, handle, &peer, door->listen);
        else
            log_event(LOG_ERR, "listener.accept_failed", "address=%s reason=\"%s\"",
                      address_text(&door->listener.address, at, sizeof(at)), fault_story(accepted));
    }
}

static void door_close(struct doors *doors, struct door *door)
{
    char at[ADDRESS_TEXT_SIZE];
    co_group_cancel(&door->accepting);
    co_group_join(&door->accepting);
    if (door->open && !pooler_stopping(doors->pooler))
        log_event(LOG_NOTICE, "listener.closed", "address=%s",
                  address_text(&door->listener.address, at, sizeof(at)));
    listener_close(&door->listener);
    list_remove(&doors->all, &door->node);
    free(door);
}

/* --- binding ---------------------------------------------------------------------------------- */

/* NULL: no memory, or too many. */
static struct door *door_new(struct doors *doors, const struct listen_config *config)
{
    struct door *door = doors->all.count < LISTENERS_MOST ? calloc(1, sizeof(*door)) : NULL;
    if (door == NULL)
        return NULL;
    door->pooler = doors->pooler;
    door->next = config->number;
    door->wanted = true;
    co_group_init(&door->accepting);
    return door;
}

static fault door_none(const struct doors *doors)
{
    if (doors->all.count < LISTENERS_MOST)
        return FAULT_MEMORY;
    return fault_raise(FAULT_LIMIT, "more than %d addresses to listen on", LISTENERS_MOST);
}

static fault door_keep(struct doors *doors, struct door *door, fault opened)
{
    if (opened == OK)
        list_push(&doors->all, &door->node);
    else
        free(door);
    return opened;
}

static fault door_open(struct doors *doors, const struct address *at,
                       const struct listen_config *config)
{
    int handle = inherited_take(at);
    if (handle == INHERITED_COVERED)
        return OK;
    struct door *door = door_new(doors, config);
    if (door == NULL) {
        if (handle >= 0)
            os->close(handle);
        return door_none(doors);
    }
    door->passed = handle >= 0;
    if (handle >= 0)
        return door_keep(doors, door, listener_adopt(&door->listener, handle, at, config->backlog));
    fault opened = listener_open(&door->listener, at, config->backlog, config->unix_mode);
    if (opened == OK) /* while we still have the privileges for it */
        opened = listener_tune(&door->listener, config->unix_group_number, config->defer_accept);
    if (opened != OK)
        listener_close(&door->listener);
    return door_keep(doors, door, opened);
}

/* Those of the listener's `socket` name; false: none was passed. */
static fault doors_adopt_named(struct doors *doors, const struct listen_config *config, bool *ret)
{
    struct address at;
    int handle;
    *ret = false;
    while ((handle = inherited_take_named(config->socket, &at)) >= 0) {
        struct door *door = door_new(doors, config);
        if (door == NULL) {
            os->close(handle);
            return door_none(doors);
        }
        door->passed = true;
        TRY(door_keep(doors, door, listener_adopt(&door->listener, handle, &at, config->backlog)));
        *ret = true;
    }
    return OK;
}

static struct door *door_find(struct doors *doors, const struct address *at)
{
    LIST_EACH (&doors->all, it) {
        struct door *door = LIST_ENTRY(it, struct door, node);
        if (address_equal(&door->listener.address, at))
            return door;
    }
    return NULL;
}

/* Keeps every door of the listener as it is.  False: it has none. */
static bool doors_keep(struct doors *doors, uint32_t number, bool passed_only)
{
    bool kept = false;
    LIST_EACH (&doors->all, it) {
        struct door *door = LIST_ENTRY(it, struct door, node);
        if (!door->open || door->listen != number || (passed_only && !door->passed))
            continue;
        door->wanted = kept = true;
        door->next = number;
    }
    return kept;
}

static fault doors_prepare_one(struct doors *doors, const struct listen_config *config)
{
    struct dns_answer answer;
    bool adopted = false;
    if (config->socket != NULL)
        TRY(doors_adopt_named(doors, config, &adopted));
    if (adopted || (config->socket != NULL && doors_keep(doors, config->number, true)))
        return OK;
    fault found = dns_resolve(config->host, config->port, &answer, after(sec(10)));
    if (found != OK) {
        if (found == FAULT_CANCELLED || !doors_keep(doors, config->number, false))
            return found;
        log_event(LOG_WARNING, "listener.unresolved", "host=%s reason=\"%s\"", config->host,
                  fault_story(found));
        return OK;
    }
    for (size_t i = 0; i < answer.count; i++) {
        struct door *door = door_find(doors, &answer.addresses[i]);
        if (door == NULL) {
            TRY(door_open(doors, &answer.addresses[i], config));
        } else if (!door->wanted) {
            door->wanted = true;
            door->next = config->number;
        }
    }
    return OK;
}

/* --- versions --------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static uint32_t doors_number(struct doors *doors, const struct listen_config *listen)
{
    const struct config *old = doors->config;
    for (size_t i = 0; old != NULL && i < old->listen_count; i++) {
        const struct listen_config *known = &old->listens[i];
        if (known->port == listen->port && strcmp(known->host, listen->host) == 0 &&
            same_text(known->socket, listen->socket))
            return known->number;
    }
    return doors->numbers++;
}

static void doors_drop_unwanted_passed(void)
{
    char name[INHERITED_NAME_MOST + 1], text[ADDRESS_TEXT_SIZE];
    struct address at;
    while (inherited_drop(name, &at))
        log_event(LOG_WARNING, "listener.not_wanted",
                  "socket=%s address=%s reason=\"no listener has this name or address\"", name,
                  address_text(&at, text, sizeof(text)));
}

fault doors_prepare(struct doors *doors, struct config *config)
{
    fault result = OK;
    for (size_t i = 0; i < config->listen_count; i++)
        config->listens[i].number = doors_number(doors, &config->listens[i]);
    LIST_EACH (&doors->all, it)
        LIST_ENTRY(it, struct door, node)->wanted = false;
    for (size_t i = 0; result == OK && i < config->listen_count; i++)
        result = doors_prepare_one(doors, &config->listens[i]);
    if (result != OK)
        doors_abort(doors);
    else
        doors_drop_unwanted_passed();
    return result;
}

static const struct listen_config *listen_of(const struct config *config, uint32_t number)
{
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listens[i].number == number)
            return &config->listens[i];
    return NULL;
}

/* What can change at a door that stays. */
static fault door_apply(struct door *door, const struct config *config)
{
    const struct listen_config *listen = listen_of(config, door->next);
    char at[ADDRESS_TEXT_SIZE];
    invariant(listen != NULL);
    door->listen = door->next;
    stream_set_options(&door->listener.stream, &config->client_socket); /* its sockets get them */
    if (door->open) {
        listener_change(&door->listener, listen->backlog, door->passed ? -1 : listen->unix_mode);
        if (listener_tune(&door->listener, listen->unix_group_number, listen->defer_accept) != OK)
            log_event(LOG_WARNING, "listener.unchanged", "address=%s reason=\"%s\"",
                      address_text(&door->listener.address, at, sizeof(at)),
                      fault_story(FAULT_SYSTEM));
        return OK;
    }
    TRY(co_group_start(&door->accepting, door_main, door, CO_LARGE));
    door->open = true;
    log_event(LOG_NOTICE, "listening", "address=%s%s",
              address_text(&door->listener.address, at, sizeof(at)),
              door->passed ? " passed=yes" : "");
    return OK;
}

fault doors_commit(struct doors *doors, const struct config *config)
{
    fault result = OK;
    LIST_EACH_SAFE (&doors->all, it) {
        struct door *door = LIST_ENTRY(it, struct door, node);
        if (!door->wanted)
            door_close(doors, door);
        else if (result == OK)
            result = door_apply(door, config);
    }
    config_unref(&doors->config);
    doors->config = config_ref((struct config *)(uintptr_t)config);
    return result;
}

void doors_abort(struct doors *doors)
{
    LIST_EACH_SAFE (&doors->all, it) {
        struct door *door = LIST_ENTRY(it, struct door, node);
        if (!door->open)
            door_close(doors, door);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

struct doors *doors_new(struct pooler *pooler)
{
    struct doors *doors = calloc(1, sizeof(*doors));
    if (doors == NULL)
        return NULL;
    doors->pooler = pooler;
    list_init(&doors->all);
    return doors;
}

void doors_close(struct doors *doors)
{
    if (doors == NULL)
        return;
    LIST_EACH_SAFE (&doors->all, it)
        door_close(doors, LIST_ENTRY(it, struct door, node));
}

void doors_free(struct doors **doors)
{
    struct doors *gone = TAKE(*doors);
    if (gone == NULL)
        return;
    invariant(list_empty(&gone->all));
    config_unref(&gone->config);
    free(gone);
}
