#pragma once
/*
 * outage_parts.h - the reason why no login at a service succeeds.  The router keeps it and mails it
 * to local pools.
 */
#include "base/time.h"
#include "machine/machine.h"

struct local_pool;

struct outage {
    moment since; /* first failure after the last success; 0: logins succeed */
    char sqlstate[6];
    char text[240]; /* address or host name, and the latest error */
};

/* Mail from the router to a local pool on each change. */
struct outage_news {
    struct mail mail;
    struct local_pool *local;
    struct outage outage;
};
