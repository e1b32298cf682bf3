/*
 * claim_notice.c - a client that waits for a server for long is told so, by a NOTICE.
 *
 * Never within a login, where drivers expect nothing of the kind.  A share's queue is in order of
 * arrival, so one time says who was told already; it is walked at most once in LOOK_EVERY.
 */
#include "machine/clock.h"
#include "pool/claim.h"
#include "pool/share.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>

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
        if (!claim->login)
            share->pools->does->notice(claim);
    }
}
