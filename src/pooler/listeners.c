#include "pooler/listeners.h"

#include "machine/acceptor.h"
#include "machine/clock.h"
#include "machine/dns.h"
#include "machine/inherited.h"
#include "machine/log.h"
#include "machine/stream.h"
#include "pooler/pooler.h"
#include "relay/relay_accept.h"

#include <stdlib.h>

#define LISTENERS_MAX 64

struct bound_listener {
    struct node node; /* in listeners->all */
    struct listener listener;
    struct pooler *pooler;
    uint32_t listen; /* the number of its listener */
    uint32_t next;   /* the number in the version that is being prepared */
    bool wanted;     /* the version that is being prepared has it */
    bool open;       /* the relays accept from it */
    bool shared;     /* each relay was given a handle of it */
    bool passed;     /* inherited from the service manager */
};

struct listeners {
    struct pooler *pooler;
    struct config *config; /* the version committed last; counted; NULL before the first */
    struct list all;
    uint32_t numbers; /* listeners numbered so far */
};

/* --- accepting -------------------------------------------------------------------------------- */

/* A visit of all relays about one listener. */
struct bound_visit {
    const struct bound_listener *bound;
    fault result;
    struct fault_detail detail; /* of `result`: each thread has its own */
};

static void bound_listen_on(struct relay *relay, void *argument)
{
    struct bound_visit *visit = argument;
    if (relay == NULL || visit->result != OK)
        return;
    visit->result = relay_listen(relay, &visit->bound->listener, visit->bound->listen);
    visit->detail = fault_detail_save();
}

static void bound_unlisten_on(struct relay *relay, void *argument)
{
    const struct bound_visit *visit = argument;
    if (relay != NULL)
        relay_unlisten(relay, &visit->bound->listener);
}

/* Has all relays accept from the listener, or change its number. */
static fault bound_listen(struct bound_listener *bound)
{
    struct bound_visit visit = {.bound = bound, .result = OK};
    for (uint32_t i = 0; i < pooler_relays(bound->pooler) && !bound->shared; i++)
        visit.result = visit.result == OK ? listener_give(&bound->listener) : visit.result;
    visit.detail = fault_detail_save();
    pooler_look(bound->pooler, bound_listen_on, &visit);
    bound->shared = visit.result == OK;
    listener_take_back();
    if (visit.result != OK)
        fault_detail_restore(&visit.detail);
    return visit.result;
}

static void bound_close(struct listeners *listeners, struct bound_listener *bound)
{
    char at[ADDRESS_TEXT_SIZE];
    struct bound_visit visit = {.bound = bound};
    /* Each relay answers, so that no connection is on its way afterwards. */
    pooler_look(bound->pooler, bound_unlisten_on, &visit);
    if (bound->open && !pooler_stopping(listeners->pooler))
        log_event(LOG_NOTICE, "listener.closed",
                  log_text("address", address_text(&bound->listener.address, at, sizeof(at))));
    listener_close(&bound->listener);
    list_remove(&listeners->all, &bound->node);
    free(bound);
}

/* --- binding ---------------------------------------------------------------------------------- */

/* NULL: no memory, or too many. */
static struct bound_listener *bound_new(struct listeners *listeners,
                                        const struct listen_config *config)
{
    struct bound_listener *bound =
        listeners->all.count < LISTENERS_MAX ? calloc(1, sizeof(*bound)) : NULL;
    if (bound == NULL)
        return NULL;
    bound->pooler = listeners->pooler;
    bound->next = config->number;
    bound->wanted = true;
    return bound;
}

static fault bound_none(const struct listeners *listeners)
{
    if (listeners->all.count < LISTENERS_MAX)
        return FAULT_MEMORY;
    return fault_raise(FAULT_LIMIT, "more than %d addresses to listen on", LISTENERS_MAX);
}

static fault bound_keep(struct listeners *listeners, struct bound_listener *bound, fault opened)
{
    if (opened == OK)
        list_push(&listeners->all, &bound->node);
    else
        free(bound);
    return opened;
}

static fault bound_open(struct listeners *listeners, const struct address *at,
                        const struct listen_config *config)
{
    int handle = inherited_take(at);
    if (handle == INHERITED_COVERED)
        return OK;
    struct bound_listener *bound = bound_new(listeners, config);
    if (bound == NULL) {
        if (handle >= 0)
            os->close(handle);
        return bound_none(listeners);
    }
    bound->passed = handle >= 0;
    if (handle >= 0)
        return bound_keep(listeners, bound,
                          listener_adopt(&bound->listener, handle, at, config->backlog));
    fault opened = listener_open(&bound->listener, at, config->backlog, config->unix_mode);
    if (opened == OK) /* while we still have the privileges for it */
        opened = listener_tune(&bound->listener, config->unix_group_number, config->defer_accept);
    if (opened != OK)
        listener_close(&bound->listener);
    return bound_keep(listeners, bound, opened);
}

/* Takes over the inherited sockets with the listener's `socket` name.  *ret: there was one. */
static fault listeners_adopt_named(struct listeners *listeners, const struct listen_config *config,
                                   bool *ret)
{
    struct address at;
    int handle;
    *ret = false;
    while ((handle = inherited_take_named(config->socket, &at)) >= 0) {
        struct bound_listener *bound = bound_new(listeners, config);
        if (bound == NULL) {
            os->close(handle);
            return bound_none(listeners);
        }
        bound->passed = true;
        TRY(bound_keep(listeners, bound,
                       listener_adopt(&bound->listener, handle, &at, config->backlog)));
        *ret = true;
    }
    return OK;
}

static struct bound_listener *bound_find(struct listeners *listeners, const struct address *at)
{
    LIST_EACH (&listeners->all, it) {
        struct bound_listener *bound = LIST_ENTRY(it, struct bound_listener, node);
        if (address_equal(&bound->listener.address, at))
            return bound;
    }
    return NULL;
}

/* Keeps the open sockets of a listener.  `passed_only`: only inherited ones.  False: none open. */
static bool listeners_keep(struct listeners *listeners, uint32_t number, bool passed_only)
{
    bool kept = false;
    LIST_EACH (&listeners->all, it) {
        struct bound_listener *bound = LIST_ENTRY(it, struct bound_listener, node);
        if (!bound->open || bound->listen != number || (passed_only && !bound->passed))
            continue;
        bound->wanted = kept = true;
        bound->next = number;
    }
    return kept;
}

static fault listeners_prepare_one(struct listeners *listeners, const struct listen_config *config)
{
    struct dns_answer answer;
    bool adopted = false;
    if (config->socket != NULL)
        TRY(listeners_adopt_named(listeners, config, &adopted));
    if (adopted || (config->socket != NULL && listeners_keep(listeners, config->number, true)))
        return OK;
    fault found = dns_resolve(config->host, config->port, &answer, after(sec(10)));
    if (found != OK) {
        if (found == FAULT_CANCELLED || !listeners_keep(listeners, config->number, false))
            return found;
        log_event(LOG_WARNING, "listener.unresolved", log_text("host", config->host),
                  log_quote("reason", fault_detail(found)));
        return OK;
    }
    for (size_t i = 0; i < answer.count; i++) {
        struct bound_listener *bound = bound_find(listeners, &answer.addresses[i]);
        if (bound == NULL) {
            TRY(bound_open(listeners, &answer.addresses[i], config));
        } else if (!bound->wanted) {
            bound->wanted = true;
            bound->next = config->number;
        }
    }
    return OK;
}

/* --- versions --------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static uint32_t listeners_number(struct listeners *listeners, const struct listen_config *listen)
{
    const struct config *old = listeners->config;
    for (size_t i = 0; old != NULL && i < old->listen_count; i++) {
        const struct listen_config *known = &old->listens[i];
        if (known->port == listen->port && strcmp(known->host, listen->host) == 0 &&
            same_text(known->socket, listen->socket))
            return known->number;
    }
    return listeners->numbers++;
}

static void listeners_drop_unwanted_passed(void)
{
    char name[INHERITED_NAME_MAX + 1], text[ADDRESS_TEXT_SIZE];
    struct address at;
    while (inherited_drop(name, &at))
        log_event(LOG_WARNING, "listener.not_wanted", log_text("socket", name),
                  log_text("address", address_text(&at, text, sizeof(text))),
                  log_quote("reason", "no listener has this name or address"));
}

fault listeners_prepare(struct listeners *listeners, struct config *config)
{
    fault result = OK;
    for (size_t i = 0; i < config->listen_count; i++)
        config->listens[i].number = listeners_number(listeners, &config->listens[i]);
    LIST_EACH (&listeners->all, it)
        LIST_ENTRY(it, struct bound_listener, node)->wanted = false;
    for (size_t i = 0; result == OK && i < config->listen_count; i++)
        result = listeners_prepare_one(listeners, &config->listens[i]);
    if (result != OK)
        listeners_abort(listeners);
    else
        listeners_drop_unwanted_passed();
    return result;
}

static const struct listen_config *listen_of(const struct config *config, uint32_t number)
{
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listens[i].number == number)
            return &config->listens[i];
    return NULL;
}

/* Applies a new version to a socket: changes the settings of an open one, starts to accept from a
 * new one. */
static fault bound_apply(struct bound_listener *bound, const struct config *config)
{
    const struct listen_config *listen = listen_of(config, bound->next);
    char at[ADDRESS_TEXT_SIZE];
    invariant(listen != NULL);
    bound->listen = bound->next;
    stream_set_options(&bound->listener.stream, &config->client_socket); /* inherited on accept */
    if (bound->open) {
        listener_change(&bound->listener, listen->backlog, bound->passed ? -1 : listen->unix_mode);
        if (listener_tune(&bound->listener, listen->unix_group_number, listen->defer_accept) != OK)
            log_event(LOG_WARNING, "listener.unchanged",
                      log_text("address", address_text(&bound->listener.address, at, sizeof(at))),
                      log_quote("reason", fault_detail(FAULT_SYSTEM)));
        return bound_listen(bound);
    }
    bound->open = true; /* from the first relay on */
    TRY(bound_listen(bound));
    log_event(LOG_NOTICE, "listening",
              log_text("address", address_text(&bound->listener.address, at, sizeof(at))),
              bound->passed ? log_text("passed", "yes") : log_nothing());
    return OK;
}

fault listeners_commit(struct listeners *listeners, const struct config *config)
{
    fault result = OK;
    LIST_EACH_SAFE (&listeners->all, it) {
        struct bound_listener *bound = LIST_ENTRY(it, struct bound_listener, node);
        if (!bound->wanted)
            bound_close(listeners, bound);
        else if (result == OK)
            result = bound_apply(bound, config);
    }
    config_unref(&listeners->config);
    listeners->config = config_ref((struct config *)(uintptr_t)config);
    return result;
}

void listeners_abort(struct listeners *listeners)
{
    LIST_EACH_SAFE (&listeners->all, it) {
        struct bound_listener *bound = LIST_ENTRY(it, struct bound_listener, node);
        if (!bound->open)
            bound_close(listeners, bound);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

struct listeners *listeners_new(struct pooler *pooler)
{
    struct listeners *listeners = calloc(1, sizeof(*listeners));
    if (listeners == NULL)
        return NULL;
    listeners->pooler = pooler;
    list_init(&listeners->all);
    return listeners;
}

void listeners_close(struct listeners *listeners)
{
    if (listeners == NULL)
        return;
    LIST_EACH_SAFE (&listeners->all, it)
        bound_close(listeners, LIST_ENTRY(it, struct bound_listener, node));
}

void listeners_free(struct listeners **listeners)
{
    struct listeners *gone = TAKE(*listeners);
    if (gone == NULL)
        return;
    invariant(list_empty(&gone->all));
    config_unref(&gone->config);
    free(gone);
}
