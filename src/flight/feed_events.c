/* feed_events.c - what the log is told of a feed: failures, once for each reason, and their end. */
#include "flight/feed_parts.h"

#include "machine/log.h"

#include <stdio.h>
#include <string.h>

/* Returns a failure without the connection that has met it: both connections meet some of them, and
 * either may be the first. */
static const char *failure_of(const char *reason)
{
    const char *colon = strchr(reason, ':');
    return colon == NULL ? reason : colon;
}

void feed_log_failure(struct feed *feed)
{
    const char *reason = feed->shared.view.reason;
    if (feed->logged[0] != '\0' && strcmp(failure_of(feed->logged), failure_of(reason)) == 0)
        return;
    snprintf(feed->logged, sizeof(feed->logged), "%s", reason);
    log_event(LOG_WARNING, "feed.failed", log_span("service", feed->service_name),
              log_span("database", feed->database_name), log_quote("reason", reason));
}

void feed_log_streaming(struct feed *feed)
{
    feed->logged[0] = '\0';
    log_event(LOG_NOTICE, "feed.streaming", log_span("service", feed->service_name),
              log_span("database", feed->database_name),
              log_unsigned("epoch", feed->source->epoch));
}
