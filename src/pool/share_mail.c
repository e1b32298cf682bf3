/* share_mail.c - what the router sends to a share, delivered on the share's relay. */
#include "pool/lease.h"
#include "pool/router.h"
#include "pool/server.h"
#include "pool/share.h"

#include <stdlib.h>

/* A lease has come: with a live server in it, or to be logged in under. */
void share_lease_came(struct mail *mail)
{
    struct lease *lease = CONTAINER_OF(mail, struct lease, to_relay);
    struct share *share = lease->share;
    struct params *startup;
    if (lease->server != NULL) {
        server_arrive(share, lease);
        return;
    }
    if (share_needs_login(share, &startup)) {
        server_login(share, lease, startup);
        return;
    }
    lease->how = LEASE_CLOSED;
    lease->end = SLOT_ENDED;
    mail_send(share->pools->env->machine, &lease->to_router);
    share_maybe_retire(share);
}

/* The router wants leases back, or has something to say about some of them. */
void share_recalled(struct mail *mail)
{
    struct share *share = CONTAINER_OF(mail, struct share, membership.recall);
    LIST_EACH (&share->idle, it)
        server_note_doom(LIST_ENTRY(it, struct server, node));
    LIST_EACH (&share->busy, it)
        server_note_doom(LIST_ENTRY(it, struct server, node));
    share_trim(share);
    share_recall(share, (uint32_t)__atomic_exchange_n(&share->told.recall, 0, __ATOMIC_ACQ_REL));
}

void share_hello(struct mail *mail)
{
    struct hello *hello = CONTAINER_OF(mail, struct hello, mail);
    share_hear(hello->share, span_of(hello->bytes, hello->size));
    free(hello);
}

void share_enrolled(struct mail *mail)
{
    struct share *share = CONTAINER_OF(mail, struct share, membership.enroll);
    share->membership.enrolling = false;
    for (int i = 0; i < CENSUSES && share->membership.census[i] != NULL; i++)
        share->census[i] = TAKE(share->membership.census[i]);
    share_entered(share);
    share_maybe_retire(share);
    pools_settled(share->pools);
}

void share_retired(struct mail *mail)
{
    struct share *share = CONTAINER_OF(mail, struct share, membership.retire);
    struct local_pools *pools = share->pools;
    share->membership.retiring = false;
    for (int i = 0; i < CENSUSES && share->membership.retired; i++)
        census_unref(&share->census[i]);
    /* What was sent behind the question may still be on its way: it is asked once more. */
    if (share->membership.retired && share_unused(share) && !share->membership.asked) {
        share_free_now(&share);
    } else {
        share_entered(share); /* clients have come meanwhile: they go on, or enroll it anew */
        share_maybe_retire(share);
    }
    pools_settled(pools);
}
