#include "machine/acceptor.h"

#include "machine/clock.h"
#include "machine/log.h"
#include "machine/loop_parts.h"

#include <errno.h>
#include <string.h>

/* One connection is accepted for so many events of a round of the loop, and one more: a busy
 * machine comes back to the listener only after all its other events. */
#define ROUND_PART 4

static void acceptor_log(const struct acceptor *acceptor, const char *reason)
{
    char at[ADDRESS_TEXT_SIZE];
    log_event(LOG_ERR, "listener.accept_failed",
              log_text("address", address_text(&acceptor->address, at, sizeof(at))),
              log_quote("reason", reason));
}

/* Accepts one connection.  False: there is none, or the acceptor has been paused. */
static bool acceptor_accept(struct acceptor *acceptor)
{
    struct address peer;
    int handle = os->accept(acceptor->stream.handle, &peer);
    if (handle >= 0) {
        acceptor->take(acceptor, handle, &peer);
    } else if (listener_is_exhausted(handle)) {
        acceptor_log(acceptor, strerrordesc_np(-handle));
        acceptor_pause(acceptor);
        timer_set(&acceptor->rest, after(LISTENER_REST));
    }
    return handle != -EAGAIN && acceptor->stream.machine != NULL;
}

static void acceptor_event(struct waker *waker)
{
    struct acceptor *acceptor = CONTAINER_OF(waker, struct acceptor, waker);
    uint32_t left = 1 + machine_current->round / ROUND_PART;
    /* The poller reports it again while connections wait. */
    acceptor->stream.ready &= (uint8_t)~POLL_READ;
    while (left-- > 0 && acceptor_accept(acceptor))
        ;
}

static void acceptor_rested(struct waker *waker)
{
    acceptor_resume(CONTAINER_OF(waker, struct acceptor, rested));
}

static int acceptor_register(struct acceptor *acceptor)
{
    acceptor->stream.ready = 0;
    return registration_add_shared(&acceptor->stream);
}

static fault acceptor_unshared(int error)
{
    return fault_raise(FAULT_SYSTEM, "cannot share a listening socket: %s", strerrordesc_np(error));
}

fault listener_give(const struct listener *listener)
{
    invariant(listener->stream.table == os->table());
    int status = os->handle_give(listener->stream.handle);
    return status == 0 ? OK : acceptor_unshared(-status);
}

void listener_take_back(void)
{
    int handle;
    while ((handle = os->handle_take()) >= 0)
        os->close(handle);
}

fault acceptor_open(struct acceptor *acceptor, const struct listener *listener,
                    void (*take)(struct acceptor *acceptor, int handle, const struct address *peer))
{
    *acceptor = (struct acceptor){.stream = STREAM_INIT,
                                  .waker.wake = acceptor_event,
                                  .rested.wake = acceptor_rested,
                                  .address = listener->address,
                                  .take = take};
    acceptor->rest = TIMER_INIT(&acceptor->rested);
    int handle = os->handle_take();
    if (handle < 0)
        return acceptor_unshared(-handle);
    acceptor->stream.handle = handle;
    acceptor->stream.table = os->table();
    acceptor->stream.is_unix = listener->stream.is_unix;
    acceptor->stream.waker = &acceptor->waker;
    int status = acceptor_register(acceptor);
    if (status == 0)
        return OK;
    acceptor_close(acceptor);
    return fault_raise(FAULT_SYSTEM, "cannot poll a listening socket: %s",
                       strerrordesc_np(-status));
}

void acceptor_pause(struct acceptor *acceptor)
{
    timer_disarm(&acceptor->rest);
    if (acceptor->stream.machine != NULL)
        registration_remove(&acceptor->stream, REGISTRATION_MOVES);
}

void acceptor_resume(struct acceptor *acceptor)
{
    if (acceptor->stream.machine != NULL)
        return;
    int status = acceptor_register(acceptor);
    if (status == 0)
        return;
    acceptor_log(acceptor, strerrordesc_np(-status));
    timer_set(&acceptor->rest, after(LISTENER_REST));
}

void acceptor_close(struct acceptor *acceptor)
{
    /* Closing one of several handles of a socket does not remove it from the poller. */
    acceptor_pause(acceptor);
    stream_close(&acceptor->stream);
}
