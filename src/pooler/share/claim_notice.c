/*
 * claim_notice.c - a client that waits for a server for long is told so, by a NOTICE.
 *
 * Never within a login, where drivers expect nothing of the kind.  A share's queue is in order of
 * arrival, so one time says who was told already; it is walked at most once in LOOK_EVERY.
 */
#include "machine/clock.h"
#include "pooler/client.h"
#include "pooler/share/claim.h"
#include "pooler/share/share.h"
#include "pooler/turn/turn.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/uio.h>

#define LOOK_EVERY ms(500)

deadline claim_notice_due(const struct share *share, const struct claim *oldest)
{
    deadline due = later(oldest->since, share->route->claim_notice);
    return due.us == INT64_MAX || due.us > share->notice.next.us ? due : share->notice.next;
}

void claim_put_notice(const struct share *share, const struct claim *claim, struct buffer *out)
{
    char full[120], text[400];
    share_say_full(share, full, sizeof(full));
    snprintf(text, sizeof(text),
             "waiting for a server of pool \"%s\"/\"%s\" since %" PRId64 " ms (%s)",
             share->database, share->user, between(claim->since, now()).us / 1000, full);
    wire_put_report(
        out, &(struct wire_report){.severity = "NOTICE", .sqlstate = "00000", .message = text});
}

/* One that is parked but for its claim: nothing of it is under way.  What does not fit into its
 * socket goes with a turn, for a message that is cut in two would be the end of it. */
static void notice_queued(struct client *client)
{
    struct buffer out = BUFFER_INIT(1024);
    size_t sent = 0;
    claim_put_notice(client->share, &client->claim, &out);
    struct iovec part = {out.at, out.size};
    fault wrote = buffer_fault(&out) == OK ? stream_write_some(&client->stream, &part, 1, &sent)
                                           : FAULT_MEMORY;
    if (wrote == OK)
        wrote = stream_flush_some(&client->stream);
    buffer_consume(&out, sent);
    if (sent > 0 && (out.size > 0 || wrote == FAULT_AGAIN))
        turn_start_untold(client, &out);
    else
        buffer_fini(&out);
}

static void claim_notice(struct client *client)
{
    if (client->state == CLIENT_QUEUED) {
        notice_queued(client);
    } else if (client->state == CLIENT_TURN) {
        client->claim.tell = true;
        client->claim.waker->wake(client->claim.waker);
    }
}

void claim_notices(struct share *share)
{
    const struct claim *first = list_empty(&share->claims)
                                    ? NULL
                                    : LIST_ENTRY(list_first(&share->claims), struct claim, node);
    if (first == NULL || claim_notice_due(share, first).us > now().us)
        return;
    deadline noticed = share->notice.told;
    share->notice.next = after(LOOK_EVERY);
    LIST_EACH_SAFE (&share->claims, it) {
        struct claim *claim = LIST_ENTRY(it, struct claim, node);
        if (later(claim->since, share->route->claim_notice).us > now().us)
            break;
        if (claim->since.us <= noticed.us)
            continue;
        share->notice.told = claim->since;
        claim_notice(CONTAINER_OF(claim, struct client, claim));
    }
}
