#include "machine/os_linux_dns.h"

#include "base/check.h"
#include "machine/os_linux_parts.h"
#include "machine/stream.h"

#include <ares.h>
#include <ares_nameser.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* Age in microseconds after which an idle channel is recreated: the one of the system's servers
 * then reads resolv.conf again. */
#define CHANNEL_AGE_MAX 30000000
/* Channels of one poller; more name servers at a time are refused with -EMFILE. */
#define CHANNELS_MAX 128u
/* Size of answers by UDP that we announce: they pass every network without being cut in parts. */
#define UDP_SIZE 1232

/* c-ares for one name server, or for those of resolv.conf: c-ares does not report which of several
 * servers failed, nor how. */
struct channel {
    struct channel *next;
    struct resolver *resolver;
    struct address server; /* ADDRESS_NONE: those of resolv.conf */
    duration timeout;
    ares_channel ares; /* owned; NULL: closed */
    uint32_t pending;  /* queries under way */
    int64_t made_at;
};

/* The channels of one poller, which watches their sockets and handles their timeouts. */
struct resolver {
    struct os_linux_source source;
    int poller;
    struct channel *channels; /* owned */
    uint32_t count;
    bool closing; /* the poller is being freed: watch no sockets */
};

/* A query under way. */
struct question {
    struct channel *channel;
    void (*done)(void *argument, int status, const uint8_t *answer, size_t size);
    void *argument;
};

static const char *resolver_servers; /* set before the first machine */
static int resolver_timeout_ms = 2000;
static pthread_once_t resolver_once = PTHREAD_ONCE_INIT;

void os_linux_dns_set(const char *servers, int timeout_ms)
{
    resolver_servers = servers;
    resolver_timeout_ms = timeout_ms;
}

static void prepare_library(void)
{
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    invariant(status == ARES_SUCCESS);
}

static int errno_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENOTFOUND:
        return -ENOENT;
    case ARES_ENODATA:
        return -ENODATA;
    case ARES_ETIMEOUT:
        return -ETIMEDOUT;
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
    case ARES_ECONNREFUSED:
        return -ECONNREFUSED;
    case ARES_EBADNAME:
        return -EINVAL;
    case ARES_ENOMEM:
        return -ENOMEM;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        return -ECANCELED;
    default:
        return -EBADMSG;
    }
}

/* Sets the source's `due_at` to the next timeout of c-ares. */
static void resolver_set_due(struct resolver *resolver)
{
    struct timeval wait;
    int64_t now = os_linux.monotonic_us();
    resolver->source.due_at = INT64_MAX;
    for (const struct channel *it = resolver->channels; it != NULL; it = it->next) {
        if (it->ares == NULL || ares_timeout(it->ares, NULL, &wait) == NULL)
            continue;
        int64_t due_at = now + (int64_t)wait.tv_sec * 1000000 + wait.tv_usec;
        resolver->source.due_at = MIN_OF(resolver->source.due_at, due_at);
    }
}

/* Lets all channels handle their timeouts, and the one that owns a descriptor its events. */
static void resolver_process(struct resolver *resolver, ares_socket_t readable,
                             ares_socket_t writable)
{
    for (const struct channel *it = resolver->channels; it != NULL; it = it->next)
        if (it->ares != NULL)
            ares_process_fd(it->ares, readable, writable);
    resolver_set_due(resolver);
}

static void resolver_ready(struct os_linux_source *source, int descriptor, uint32_t what)
{
    struct resolver *resolver = CONTAINER_OF(source, struct resolver, source);
    resolver_process(resolver, what & (POLL_READ | POLL_HANGUP) ? descriptor : ARES_SOCKET_BAD,
                     what & POLL_WRITE ? descriptor : ARES_SOCKET_BAD);
}

static void resolver_due(struct os_linux_source *source)
{
    struct resolver *resolver = CONTAINER_OF(source, struct resolver, source);
    resolver_process(resolver, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void channel_watch(void *argument, ares_socket_t descriptor, int readable, int writable)
{
    const struct channel *channel = argument;
    uint32_t what = (readable ? POLL_READ : 0) | (writable ? POLL_WRITE : 0);
    /* Ignores failures: the query then times out, which c-ares handles. */
    if (!channel->resolver->closing)
        (void)os_linux_source_watch(channel->resolver->poller, descriptor, what);
}

/* --- channels --------------------------------------------------------------------------------- */

static int channel_open_system(struct channel *channel)
{
    struct ares_options options = {.timeout = resolver_timeout_ms,
                                   .tries = 2,
                                   .sock_state_cb = channel_watch,
                                   .sock_state_cb_data = channel};
    int status = ares_init_options(&channel->ares, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        channel->ares = NULL;
        return errno_of(status);
    }
    if (resolver_servers == NULL)
        return 0;
    return errno_of(ares_set_servers_ports_csv(channel->ares, resolver_servers));
}

static int channel_set_server(struct channel *channel)
{
    const struct address *server = &channel->server;
    struct ares_addr_port_node node = {.udp_port = server->port, .tcp_port = server->port};
    node.family = server->family == ADDRESS_IPV6 ? AF_INET6 : AF_INET;
    if (server->family == ADDRESS_IPV6)
        memcpy(&node.addr.addr6, server->bytes, 16);
    else
        memcpy(&node.addr.addr4, server->bytes, 4);
    return errno_of(ares_set_servers_ports(channel->ares, &node));
}

/* Opens a channel for one server.  NOCHECKRESP hands out answers whatever their response code.  The
 * second try waits twice as long as the first, so that both take the timeout. */
static int channel_open_server(struct channel *channel)
{
    struct ares_options options = {.flags = ARES_FLAG_EDNS | ARES_FLAG_NOCHECKRESP,
                                   .timeout = (int)(channel->timeout.us / 3000),
                                   .tries = 2,
                                   .ednspsz = UDP_SIZE,
                                   .sock_state_cb = channel_watch,
                                   .sock_state_cb_data = channel};
    options.timeout = MAX_OF(options.timeout, 1);
    int status = ares_init_options(&channel->ares, &options,
                                   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                       ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        channel->ares = NULL;
        return errno_of(status);
    }
    return channel_set_server(channel);
}

static void channel_close(struct channel *channel)
{
    if (channel->ares != NULL)
        ares_destroy(channel->ares);
    channel->ares = NULL;
    invariant(channel->pending == 0);
}

static int channel_open(struct channel *channel)
{
    if (channel->ares != NULL)
        return 0;
    channel->made_at = os_linux.monotonic_us();
    int result = channel->server.family == ADDRESS_NONE ? channel_open_system(channel)
                                                        : channel_open_server(channel);
    if (result != 0)
        channel_close(channel);
    return result;
}

static bool channel_is_old(const struct channel *channel)
{
    return channel->pending == 0 && os_linux.monotonic_us() - channel->made_at > CHANNEL_AGE_MAX;
}

/* Closes and frees the idle channels that are old. */
static void resolver_sweep(struct resolver *resolver)
{
    struct channel **at = &resolver->channels;
    while (*at != NULL) {
        struct channel *channel = *at;
        if (!channel_is_old(channel)) {
            at = &channel->next;
            continue;
        }
        *at = channel->next;
        resolver->count -= 1;
        channel_close(channel);
        free(channel);
    }
}

static struct channel *channel_find(const struct resolver *resolver, const struct address *server,
                                    duration timeout)
{
    struct channel *it = resolver->channels;
    while (it != NULL && (it->timeout.us != timeout.us || !address_equal(&it->server, server)))
        it = it->next;
    return it;
}

/* Finds the channel of a server, or makes it; opened.  Returns 0 or -errno. */
static int resolver_channel(struct resolver *resolver, const struct address *server,
                            duration timeout, struct channel **ret)
{
    resolver_sweep(resolver);
    struct channel *channel = channel_find(resolver, server, timeout);
    if (channel == NULL) {
        if (resolver->count >= CHANNELS_MAX)
            return -EMFILE;
        channel = calloc(1, sizeof(*channel));
        if (channel == NULL)
            return -ENOMEM;
        *channel = (struct channel){.next = resolver->channels,
                                    .resolver = resolver,
                                    .server = *server,
                                    .timeout = timeout};
        resolver->channels = channel;
        resolver->count += 1;
    }
    *ret = channel;
    return channel_open(channel);
}

/* --- the resolver of a poller ----------------------------------------------------------------- */

static void resolver_free(struct os_linux_source *source)
{
    struct resolver *resolver = CONTAINER_OF(source, struct resolver, source);
    resolver->closing = true;
    while (resolver->channels != NULL) {
        struct channel *channel = resolver->channels;
        channel_close(channel);
        resolver->channels = channel->next;
        free(channel);
    }
    free(resolver);
}

/* Returns the poller's resolver; NULL: no memory. */
static struct resolver *resolver_of(int poller)
{
    struct os_linux_source *source = os_linux_source(poller);
    pthread_once(&resolver_once, prepare_library);
    if (source != NULL)
        return CONTAINER_OF(source, struct resolver, source);
    struct resolver *resolver = calloc(1, sizeof(*resolver));
    if (resolver == NULL)
        return NULL;
    resolver->source = (struct os_linux_source){
        .ready = resolver_ready, .due = resolver_due, .free = resolver_free, .due_at = INT64_MAX};
    resolver->poller = poller;
    os_linux_source_set(poller, &resolver->source);
    return resolver;
}

/* --- queries ---------------------------------------------------------------------------------- */

static void question_done(void *argument, int status, int timeouts, unsigned char *answer, int size)
{
    struct question *question = argument;
    invariant(question->channel->pending > 0);
    question->channel->pending -= 1;
    status = errno_of(status);
    if (status != 0 || answer == NULL)
        size = 0;
    question->done(question->argument, status, answer, (size_t)size);
    free(question);
}

/* Makes a question on the opened channel of a server.  Returns 0 or -errno. */
static int question_new(int poller, const struct address *server, duration timeout,
                        struct question **ret)
{
    struct resolver *resolver = resolver_of(poller);
    struct channel *channel;
    if (resolver == NULL)
        return -ENOMEM;
    int result = resolver_channel(resolver, server, timeout, &channel);
    if (result != 0)
        return result;
    struct question *question = calloc(1, sizeof(*question));
    if (question == NULL)
        return -ENOMEM;
    question->channel = channel;
    *ret = question;
    return 0;
}

int os_linux_dns_query(int poller, const char *name, int type,
                       void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                       void *argument)
{
    struct question *question;
    int result = question_new(poller, &(struct address){0}, NO_LIMIT, &question);
    if (result != 0)
        return result;
    struct channel *channel = question->channel;
    question->done = done;
    question->argument = argument;
    channel->pending += 1;
    /* Uses the search domains of resolv.conf, as the C library does. */
    ares_search(channel->ares, name, C_IN, type, question_done, question);
    resolver_set_due(channel->resolver);
    return 0;
}

int os_linux_dns_ask(int poller, const struct address *server, const char *name, int type,
                     duration timeout,
                     void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                     void *argument)
{
    struct question *question;
    unsigned char *query;
    uint16_t number;
    int size;
    os_linux.random(&number, sizeof(number));
    int result = errno_of(
        ares_create_query(name, C_IN, type, number, 1 /* recursion */, &query, &size, UDP_SIZE));
    if (result != 0)
        return result;
    result = question_new(poller, server, timeout, &question);
    if (result == 0) {
        struct channel *channel = question->channel;
        question->done = done;
        question->argument = argument;
        channel->pending += 1;
        ares_send(channel->ares, query, size, question_done, question);
        resolver_set_due(channel->resolver);
    }
    ares_free_string(query);
    return result;
}
