#include "machine/os_linux_dns.h"

#include "base/check.h"
#include "machine/os_linux.h"

#include <ares.h>
#include <ares_nameser.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* Age in microseconds after which an idle resolver is recreated, to read resolv.conf again. */
#define RESOLVER_AGE_MAX 30000000

/* c-ares as the guest of one poller: the poller watches its sockets and handles its timeouts. */
struct resolver {
    struct os_linux_guest guest;
    ares_channel channel; /* owned */
    int poller;
    uint32_t pending; /* queries under way */
    int64_t made_at;
    bool closing; /* the poller is being freed: watch no sockets */
};

/* A query under way. */
struct question {
    struct resolver *resolver;
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

/* Sets the guest's `due_at` to the next timeout of c-ares. */
static void resolver_set_due(struct resolver *resolver)
{
    struct timeval wait;
    resolver->guest.due_at = INT64_MAX;
    if (ares_timeout(resolver->channel, NULL, &wait) != NULL)
        resolver->guest.due_at =
            os_linux.monotonic_us() + (int64_t)wait.tv_sec * 1000000 + wait.tv_usec;
}

static void resolver_ready(struct os_linux_guest *guest, int descriptor, uint32_t what)
{
    struct resolver *resolver = CONTAINER_OF(guest, struct resolver, guest);
    ares_process_fd(resolver->channel,
                    what & (POLL_READ | POLL_HANGUP) ? descriptor : ARES_SOCKET_BAD,
                    what & POLL_WRITE ? descriptor : ARES_SOCKET_BAD);
    resolver_set_due(resolver);
}

static void resolver_due(struct os_linux_guest *guest)
{
    struct resolver *resolver = CONTAINER_OF(guest, struct resolver, guest);
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver_set_due(resolver);
}

static void resolver_watch(void *argument, ares_socket_t descriptor, int readable, int writable)
{
    const struct resolver *resolver = argument;
    uint32_t what = (readable ? POLL_READ : 0) | (writable ? POLL_WRITE : 0);
    /* Ignores failures: the query then times out, which c-ares handles. */
    if (!resolver->closing)
        (void)os_linux_guest_watch(resolver->poller, descriptor, what);
}

static int resolver_open(struct resolver *resolver)
{
    struct ares_options options = {.timeout = resolver_timeout_ms,
                                   .tries = 2,
                                   .sock_state_cb = resolver_watch,
                                   .sock_state_cb_data = resolver};
    int status = ares_init_options(&resolver->channel, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    resolver->made_at = os_linux.monotonic_us();
    if (status != ARES_SUCCESS) {
        resolver->channel = NULL;
        return errno_of(status);
    }
    if (resolver_servers == NULL)
        return 0;
    return errno_of(ares_set_servers_ports_csv(resolver->channel, resolver_servers));
}

static void resolver_close(struct resolver *resolver)
{
    if (resolver->channel != NULL)
        ares_destroy(resolver->channel);
    resolver->channel = NULL;
    invariant(resolver->pending == 0);
}

static void resolver_free(struct os_linux_guest *guest)
{
    struct resolver *resolver = CONTAINER_OF(guest, struct resolver, guest);
    resolver->closing = true;
    resolver_close(resolver);
    free(resolver);
}

/* Returns the poller's resolver, opened; 0 or -errno. */
static int resolver_of(int poller, struct resolver **ret)
{
    struct os_linux_guest *guest = os_linux_guest(poller);
    struct resolver *resolver;
    pthread_once(&resolver_once, prepare_library);
    if (guest == NULL) {
        resolver = calloc(1, sizeof(*resolver));
        if (resolver == NULL)
            return -ENOMEM;
        resolver->guest = (struct os_linux_guest){.ready = resolver_ready,
                                                  .due = resolver_due,
                                                  .free = resolver_free,
                                                  .due_at = INT64_MAX};
        resolver->poller = poller;
        os_linux_guest_set(poller, &resolver->guest);
    } else {
        resolver = CONTAINER_OF(guest, struct resolver, guest);
    }
    if (resolver->channel != NULL && resolver->pending == 0 &&
        os_linux.monotonic_us() - resolver->made_at > RESOLVER_AGE_MAX)
        resolver_close(resolver);
    *ret = resolver;
    return resolver->channel != NULL ? 0 : resolver_open(resolver);
}

static void question_done(void *argument, int status, int timeouts, unsigned char *answer, int size)
{
    struct question *question = argument;
    invariant(question->resolver->pending > 0);
    question->resolver->pending -= 1;
    status = errno_of(status);
    if (status != 0 || answer == NULL)
        size = 0;
    question->done(question->argument, status, answer, (size_t)size);
    free(question);
}

int os_linux_dns_query(int poller, const char *name, int type,
                       void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                       void *argument)
{
    struct resolver *resolver;
    int result = resolver_of(poller, &resolver);
    if (result != 0)
        return result;
    struct question *question = malloc(sizeof(*question));
    if (question == NULL)
        return -ENOMEM;
    *question = (struct question){.resolver = resolver, .done = done, .argument = argument};
    resolver->pending += 1;
    /* Uses the search domains of resolv.conf, as the C library does. */
    ares_search(resolver->channel, name, C_IN, type, question_done, question);
    resolver_set_due(resolver);
    return 0;
}
