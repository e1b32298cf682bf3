#include "flight/l2_sentinel.h"

#include "base/number.h"
#include "flight/l2_talk.h"
#include "machine/clock.h"
#include "machine/dns.h"

#include <stdio.h>

/* The longest reply. */
#define REPLY_MAX 4096u

fault l2_address_find(const char *host, uint16_t port, struct address *ret, deadline by)
{
    if (host[0] == '/') {
        *ret = (struct address){.family = ADDRESS_UNIX};
        snprintf(ret->path, sizeof(ret->path), "%s", host);
        return OK;
    }
    struct dns_answer found;
    TRY(dns_resolve(host, port, &found, by));
    *ret = found.addresses[0];
    return OK;
}

/* Reads the answer of a Sentinel: host and port, or nothing. */
static fault read_place(const struct l2_reply *reply, struct l2_place *ret)
{
    uint64_t port = 0;
    if (reply->type == L2_REPLY_NONE)
        return fault_raise(FAULT_UPSTREAM, "the Sentinel knows no master of this name");
    bool sound = reply->type == L2_REPLY_ARRAY && reply->count == 2 &&
                 reply->items[0]->type == L2_REPLY_TEXT && reply->items[1]->type == L2_REPLY_TEXT &&
                 reply->items[0]->text.size < sizeof(ret->host) && reply->items[0]->text.size > 0 &&
                 number_read(reply->items[1]->text, 10, &port) && port > 0 && port <= UINT16_MAX;
    if (!sound)
        return fault_raise(FAULT_PROTOCOL, "the Sentinel's answer is no host and port");
    snprintf(ret->host, sizeof(ret->host), "%.*s", SPAN_ARG(reply->items[0]->text));
    ret->port = (uint16_t)port;
    return OK;
}

static fault ask(const struct l2_settings *settings, struct stream *stream,
                 struct l2_reader *reader, struct l2_place *ret, deadline by)
{
    struct l2_reply *reply = NULL;
    const struct span words[] = {SPAN("SENTINEL"), SPAN("get-master-addr-by-name"),
                                 span_text(settings->master)};
    if (settings->sentinel_password != NULL)
        TRY(l2_talk(stream, reader,
                    (struct span[]){SPAN("AUTH"), span_text(settings->sentinel_password)}, 2, NULL,
                    by));
    TRY(l2_talk(stream, reader, words, ARRAY_SIZE(words), &reply, by));
    fault read = read_place(reply, ret);
    l2_reply_free(&reply);
    return read;
}

static fault ask_at(const struct l2_settings *settings, const struct l2_sentinel *sentinel,
                    struct l2_place *ret, deadline by)
{
    const struct socket_options options = {.nodelay = true};
    struct stream stream = STREAM_INIT;
    struct address address;
    TRY(l2_address_find(sentinel->host, sentinel->port, &address, by));
    struct l2_reader *reader = l2_reader_new(REPLY_MAX);
    if (reader == NULL)
        return FAULT_MEMORY;
    fault asked = stream_connect(&stream, &address, &options, by);
    if (asked == OK && settings->tls_mode != TLS_MODE_DISABLE)
        asked = stream_tls_connect(&stream, settings->tls, sentinel->host, by);
    if (asked == OK)
        asked = ask(settings, &stream, reader, ret, by);
    stream_close(&stream);
    l2_reader_free(&reader);
    return asked;
}

fault l2_sentinel_find(const struct l2_settings *settings, struct l2_place *ret, deadline by)
{
    fault asked = FAULT_UPSTREAM;
    for (uint32_t i = 0; i < settings->sentinel_count; i++) {
        int64_t left = between(now(), by).us / (settings->sentinel_count - i);
        asked = ask_at(settings, &settings->sentinels[i], ret, after((duration){.us = left}));
        if (asked == OK || asked == FAULT_CANCELLED)
            return asked;
    }
    return asked;
}
