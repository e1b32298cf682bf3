#include "scenario/scenario.h"

#include "machine/clock.h"
#include "machine/stream.h"
#include "wire/messages.h"

#include <stdlib.h>

/*
 * A proxy in front of the daemon.  It sends a PROXY header of either version, in parts, and
 * forwards bytes until one end closes.
 */
#define PIPE_SIZE    8192
#define DIAL_MAX     sec(60)
#define CLIENTS_FROM 254 /* addresses */

static struct proxy {
    struct listener listener;
    struct co_group group;
    uint64_t chance;
    bool there;
} proxy;

/* One direction. */
struct pipe {
    struct stream *from, *to;
    uint8_t bytes[PIPE_SIZE];
    size_t at, size;
    bool ended; /* nothing more comes, or may go */
};

struct proxied {
    struct stream client, daemon;
    struct pipe up, down;
};

/* --- bytes ------------------------------------------------------------------------------------ */

/* Returns whether any byte was forwarded. */
static bool pipe_forward(struct pipe *pipe)
{
    bool moved = false;
    if (pipe->at == pipe->size && !pipe->ended) {
        pipe->at = pipe->size = 0;
        fault read = stream_read_some(pipe->from, pipe->bytes, sizeof(pipe->bytes), &pipe->size);
        pipe->ended = read != OK && read != FAULT_AGAIN;
        moved = read != FAULT_AGAIN;
    }
    while (pipe->at < pipe->size) {
        struct iovec part = {pipe->bytes + pipe->at, pipe->size - pipe->at};
        size_t sent = 0;
        fault wrote = stream_write_some(pipe->to, &part, 1, &sent);
        if (wrote == FAULT_AGAIN)
            return moved;
        moved = true;
        pipe->at += sent;
        if (wrote == OK)
            continue;
        pipe->ended = true;
        pipe->at = pipe->size;
    }
    return moved;
}

static bool pipe_is_done(const struct pipe *pipe)
{
    return pipe->ended && pipe->at == pipe->size;
}

/* --- the header ------------------------------------------------------------------------------- */

static void put_text_header(struct buffer *out, uint32_t from)
{
    buffer_printf(out, "PROXY TCP4 198.51.100.%u 127.0.0.9 %u %d\r\n", from, 1024 + from,
                  SCENARIO_PROXIED_PORT);
}

static void put_binary_header(struct buffer *out, uint32_t from)
{
    static const uint8_t begins[] = {'\r', '\n', '\r', '\n', 0,    '\r', '\n',
                                     'Q',  'U',  'I',  'T',  '\n', 0x21, 0x11};
    const uint8_t addresses[] = {198, 51, 100, (uint8_t)from, 127, 0, 0, 9};
    bool more = chance_one_in(&proxy.chance, 2);
    buffer_append(out, begins, sizeof(begins));
    wire_put_u16(out, more ? 12 + 7 : 12);
    buffer_append(out, addresses, sizeof(addresses));
    wire_put_u16(out, (uint16_t)(1024 + from));
    wire_put_u16(out, SCENARIO_PROXIED_PORT);
    if (more) /* further fields, which the daemon ignores */
        buffer_append(out, "\x04\0\x04nope", 7);
}

static fault send_header(struct stream *stream)
{
    struct buffer out = BUFFER_INIT(256);
    uint32_t from = 1 + chance_below(&proxy.chance, CLIENTS_FROM);
    if (chance_one_in(&proxy.chance, 2))
        put_text_header(&out, from);
    else
        put_binary_header(&out, from);
    size_t first = 1 + chance_below(&proxy.chance, (uint32_t)out.size - 1);
    fault sent = stream_write(stream, span_of(out.at, first), after(DIAL_MAX));
    if (sent == OK && chance_one_in(&proxy.chance, 2))
        sent = co_sleep(ms(1));
    if (sent == OK)
        sent = stream_write(stream, span_of(out.at + first, out.size - first), after(DIAL_MAX));
    buffer_fini(&out);
    return sent;
}

/* --- connections ------------------------------------------------------------------------------ */

static void proxied_run(struct proxied *one)
{
    struct pipe *up = &one->up, *down = &one->down;
    up->from = down->to = &one->client;
    up->to = down->from = &one->daemon;
    one->client.waker = one->daemon.waker = co_waker(co_self());
    while (!pipe_is_done(up) && !pipe_is_done(down)) {
        bool moved = pipe_forward(up);
        moved |= pipe_forward(down);
        if (!moved && co_wait(NEVER) != OK)
            break;
    }
    one->client.waker = one->daemon.waker = NULL;
}

static void proxied_main(void *argument)
{
    /* Ends that have gone silent are found out, as by the daemon and by clients without a proxy. */
    static const struct socket_options options = {
        .nodelay = true, .keepalive = true, .keep_idle = 10, .keep_interval = 5, .keep_count = 4};
    struct proxied *one = argument;
    const struct address to = {
        .family = ADDRESS_IPV4, .port = SCENARIO_PROXIED_PORT, .bytes = {127, 0, 0, 9}};
    stream_set_options(&one->client, &options);
    if (stream_connect(&one->daemon, &to, &options, after(DIAL_MAX)) == OK &&
        send_header(&one->daemon) == OK)
        proxied_run(one);
    stream_close(&one->daemon);
    stream_close(&one->client);
    free(one);
}

static void proxy_main(void *argument UNUSED)
{
    int handle;
    struct address from;
    while (listener_accept(&proxy.listener, &handle, &from, NEVER) == OK) {
        struct proxied *one = calloc(1, sizeof(*one));
        CHECK(one != NULL);
        one->client = one->daemon = STREAM_INIT;
        CHECK(stream_adopt(&one->client, handle, false) == OK);
        CHECK(co_group_start(&proxy.group, proxied_main, one, CO_SMALL) == OK);
    }
}

struct address proxy_address(void)
{
    return proxy.listener.address;
}

void proxy_begin(void)
{
    struct address at = {
        .family = ADDRESS_IPV4, .port = SCENARIO_PROXY_PORT, .bytes = {127, 0, 0, 1}};
    proxy = (struct proxy){.there = scenario_has(KIND_proxies)};
    if (!proxy.there)
        return;
    proxy.chance = plan_chance(scenario.plan, CHANCE_PROXY);
    CHECK(listener_open(&proxy.listener, &at, 64, 0) == OK);
    co_group_init(&proxy.group);
    CHECK(co_group_start(&proxy.group, proxy_main, NULL, CO_SMALL) == OK);
}

void proxy_end(void)
{
    if (!proxy.there)
        return;
    co_group_cancel(&proxy.group);
    co_group_join(&proxy.group);
    listener_close(&proxy.listener);
}
