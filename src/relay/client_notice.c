/* client_notice.c - the NOTICE for a client whose claim waits for long. */
#include "pool/local_pool.h"
#include "relay/client.h"
#include "relay/turn/turn.h"

#include <sys/uio.h>

/* Sends the NOTICE to a queued client, which has no coroutine.  If the socket takes only a part, a
 * turn sends the rest: the client could not read on after a message that was cut. */
static void notice_queued(struct client *client)
{
    struct buffer out = BUFFER_INIT(1024);
    size_t sent = 0;
    claim_put_notice(client->pool, &client->claim, &out);
    struct iovec part = {out.at, out.size};
    fault wrote = buffer_fault(&out) == OK ? stream_write_some(&client->stream, &part, 1, &sent)
                                           : FAULT_MEMORY;
    if (wrote == OK)
        wrote = stream_flush_some(&client->stream);
    buffer_consume(&out, sent);
    if (sent > 0 && (out.size > 0 || wrote == FAULT_AGAIN))
        turn_start_notice(client, &out);
    else
        buffer_fini(&out);
}

void client_notice(struct claim *claim)
{
    struct client *client = CONTAINER_OF(claim, struct client, claim);
    if (client->state == CLIENT_QUEUED) {
        notice_queued(client);
    } else if (client->state == CLIENT_TURN) {
        client->claim.tell = true;
        client->claim.waker->wake(client->claim.waker);
    }
}
