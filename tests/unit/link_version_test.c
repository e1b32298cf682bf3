/* Protocol 3.2 towards servers: asked for, spoken, negotiated down, or refused. */
#include "link_peer.h"

#include <string.h>

/* What the server of this test says to a startup packet of 3.2, and what comes of it. */
static const struct play {
    struct span negotiation; /* a message, or nothing */
    const char *refusal;     /* SQLSTATE of the answer to 3.2; NULL: let in */
    size_t secret;           /* bytes */
    uint32_t spoken;         /* 0: the login fails */
    const char *detail;
} plays[] = {
    {SPAN(""), NULL, 32, 0x30002, NULL},
    {SPAN(""), NULL, 4, 0x30002, NULL},
    {SPAN(""), NULL, 256, 0x30002, NULL},
    {SPAN("v\0\0\0\x0c\0\3\0\2\0\0\0\0"), NULL, 256, 0x30002, NULL},
    {SPAN("v\0\0\0\x0c\0\3\0\0\0\0\0\0"), NULL, 4, 0x30000, NULL},
    {SPAN("v\0\0\0\x0c\0\3\0\1\0\0\0\0"), NULL, 4, 0x30001, NULL},
    {SPAN(""), "0A000", 4, 0x30000, NULL},
    {SPAN(""), "08P01", 4, 0x30000, NULL},
    {SPAN("v\0\0\0\x0c\0\3\0\0\0\0\0\0"), NULL, 32, 0, "message of type 0x4b"},
    {SPAN(""), NULL, 257, 0, "message of type 0x4b"},
    {SPAN(""), NULL, 3, 0, "message of type 0x4b"},
    {SPAN("v\0\0\0\x0c\0\3\0\3\0\0\0\0"), NULL, 4, 0, "wants protocol 3.3"},
    {SPAN("v\0\0\0\x0c\0\2\0\0\0\0\0\0"), NULL, 4, 0, "wants protocol 2.0"},
    {SPAN("v\0\0\0\x0f\0\3\0\2\0\0\0\1_p\0"), NULL, 4, 0, "without 1 options"},
    {SPAN("v\0\0\0\x0c\0\3\0\2\0\0\0\1"), NULL, 4, 0, "malformed negotiation"},
};
static const struct play *playing;

static void serving(struct peer *peer)
{
    static uint8_t bytes[WIRE_STARTUP_MAX], secret[300];
    static const struct link_accept plain = {.tls_mode = TLS_MODE_DISABLE};
    struct wire_startup packet;
    ck_assert_int_eq(link_read_startup(&peer->stream, &plain, bytes, &packet, soon()), OK);
    ck_assert_uint_eq(packet.version, peer->accepted == 1 ? 0x30002 : 0x30000);
    if (playing->refusal != NULL && packet.version != 0x30000) {
        wire_put_report(&peer->out, &(struct wire_report){"FATAL", playing->refusal,
                                                          "unsupported protocol", NULL, NULL});
        peer_send(peer);
        return;
    }
    buffer_append_span(&peer->out, playing->negotiation);
    wire_put_authentication(&peer->out, WIRE_AUTH_OK, SPAN_NONE);
    memset(secret, 's', sizeof(secret));
    wire_put_backend_key(&peer->out, 4711, span_of(secret, playing->secret));
    wire_put_ready(&peer->out, WIRE_TX_IDLE);
    peer_send(peer);
    peer_drain(peer);
}

static void play(const struct play *now_playing)
{
    struct peer peer;
    struct stream stream = STREAM_INIT;
    struct link_target target = {0};
    struct link_reported reported;
    struct link_login login = {.target = &target,
                               .user = SPAN("joe"),
                               .database = SPAN("app"),
                               .version = WIRE_PROTOCOL_3_2};
    playing = now_playing;
    peer_start(&peer, serving, playing->refusal != NULL ? 2 : 1);
    target.address = peer.address;
    fault what = link_login(&stream, &login, &reported, soon());
    if (playing->spoken == 0) {
        ck_assert_int_eq(what, FAULT_PROTOCOL);
        ck_assert_msg(strstr(fault_detail(what), playing->detail) != NULL, "%s",
                      fault_detail(what));
    } else {
        ck_assert_int_eq(what, OK);
        ck_assert_uint_eq(reported.version, playing->spoken);
        ck_assert_uint_eq(reported.secret.size, playing->secret);
        stream_close(&stream);
        buffer_fini(&reported.parameters);
    }
    peer_finish(&peer);
}

static void play_body(void *argument)
{
    play(argument);
}

static void play_some(size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        ck_assert_int_eq(machine_run("test", play_body, (void *)(uintptr_t)&plays[i]), OK);
}

TEST(a_server_that_speaks_3_2_may_give_a_secret_of_4_to_256_bytes)
{
    play_some(0, 4);
}
END_TEST

TEST(an_older_server_says_what_it_speaks_or_is_asked_again)
{
    play_some(4, 4);
}
END_TEST

TEST(what_a_server_may_not_say_about_versions_is_a_protocol_fault)
{
    play_some(8, ARRAY_SIZE(plays) - 8);
}
END_TEST

TESTS("link_version", a_server_that_speaks_3_2_may_give_a_secret_of_4_to_256_bytes,
      an_older_server_says_what_it_speaks_or_is_asked_again,
      what_a_server_may_not_say_about_versions_is_a_protocol_fault)
