#include "link_peer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * Here the script is the client's, played by the test itself over `client`; the side under test is
 * the peer's, which records what link_read_startup said.
 */

static struct link_accept accepting;
static uint8_t packet_bytes[WIRE_STARTUP_MAX];
static struct wire_startup packet;
static fault outcome;
static char outcome_story[FAULT_STORY_MAX];
static const char *outcome_text; /* as fault_detail gave it */

static void reported(struct peer *peer)
{
    memset(&packet, 0, sizeof(packet));
    outcome = link_read_startup(&peer->stream, &accepting, packet_bytes, &packet, soon());
    outcome_text = fault_detail(outcome);
    snprintf(outcome_story, sizeof(outcome_story), "%s", outcome_text);
}

struct client {
    struct peer peer;
    struct stream stream;
};

static void client_start_at(struct client *client, const struct address *at, enum tls_mode mode)
{
    accepting.tls_mode = mode;
    client->stream = STREAM_INIT;
    peer_start_at(&client->peer, at, reported, 1);
    ck_assert_int_eq(stream_connect(&client->stream, &client->peer.address, NULL, soon()), OK);
}

static void client_start(struct client *client, enum tls_mode mode)
{
    struct address at = {.family = ADDRESS_IPV4, .bytes = {127, 0, 0, 1}};
    client_start_at(client, &at, mode);
}

static void client_send(struct client *client, const void *bytes, size_t size)
{
    ck_assert_int_eq(stream_write(&client->stream, span_of(bytes, size), soon()), OK);
}

static void client_expect(struct client *client, char expected)
{
    char byte;
    ck_assert_int_eq(stream_read_all(&client->stream, &byte, 1, soon()), OK);
    ck_assert_int_eq(byte, expected);
}

static void client_finish(struct client *client, fault expected, const char *detail)
{
    stream_close(&client->stream);
    peer_finish(&client->peer);
    ck_assert_msg(outcome == expected, "%s: %s", fault_name(outcome), outcome_story);
    ck_assert_msg(strstr(outcome_story, detail) != NULL, "story: %s", outcome_story);
}

/* Reads until the other side has closed, so that nothing is lost by closing first. */
static void client_await_end(struct client *client)
{
    uint8_t byte;
    size_t size;
    ck_assert_int_eq(stream_read(&client->stream, &byte, 1, &size, soon()), FAULT_CLOSED);
}

static const uint8_t startup[] = "\0\0\0\x24\0\3\0\0user\0joe\0database\0app_name\0";
static const uint8_t ssl_request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
static const uint8_t gss_request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30};
static const uint8_t cancel_request[16] = {0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e,
                                           0, 0, 0, 7,  1,    2,    3,    4};

static void expect_startup(void)
{
    ck_assert_int_eq(packet.kind, WIRE_STARTUP);
    ck_assert(span_is(wire_find_parameter(packet.parameters, "user"), "joe"));
    ck_assert(span_is(wire_find_parameter(packet.parameters, "database"), "app_name"));
}

/* --- startup and cancel packets --------------------------------------------------------------- */

BODY(a_startup_packet_may_come_byte_by_byte)
{
    struct client client;
    client_start(&client, TLS_MODE_DISABLE);
    for (size_t i = 0; i < sizeof(startup); i++) {
        client_send(&client, startup + i, 1);
        for (int turn = 0; turn < 3; turn++)
            co_yield ();
    }
    client_await_end(&client);
    client_finish(&client, OK, "");
    expect_startup();
}

BODY(nothing_behind_the_startup_packet_is_read)
{
    static const uint8_t more[3] = {'a', 'b', 'c'};
    uint8_t bytes[sizeof(startup) + sizeof(more)];
    memcpy(bytes, startup, sizeof(startup));
    memcpy(bytes + sizeof(startup), more, sizeof(more));
    struct client client;
    client_start(&client, TLS_MODE_DISABLE);
    client_send(&client, bytes, sizeof(bytes));
    client_await_end(&client); /* reset: three bytes were left */
    client_finish(&client, OK, "");
    expect_startup();
}

BODY(a_cancel_packet_is_taken_in_plain_even_where_tls_is_required)
{
    struct client client;
    client_start(&client, TLS_MODE_REQUIRE);
    client_send(&client, cancel_request, sizeof(cancel_request));
    client_await_end(&client);
    client_finish(&client, OK, "");
    ck_assert_int_eq(packet.kind, WIRE_STARTUP_CANCEL);
    ck_assert_uint_eq(packet.cancel.pid, 7);
    ck_assert_mem_eq(packet.cancel.secret.at, "\1\2\3\4", 4);
}

BODY(a_plain_startup_is_refused_where_tls_is_required)
{
    struct client client;
    client_start(&client, TLS_MODE_REQUIRE);
    client_send(&client, startup, sizeof(startup));
    client_await_end(&client);
    client_finish(&client, FAULT_AUTH, "TLS is required");
}

BODY(on_unix_sockets_there_is_no_tls_and_none_is_required)
{
    char folder[] = "/tmp/link-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    struct address at = {.family = ADDRESS_UNIX};
    snprintf(at.path, sizeof(at.path), "%s/socket", folder);
    struct client client;
    client_start_at(&client, &at, TLS_MODE_REQUIRE);
    client_send(&client, ssl_request, sizeof(ssl_request));
    client_expect(&client, 'N');
    client_send(&client, startup, sizeof(startup));
    client_await_end(&client);
    client_finish(&client, OK, "");
    expect_startup();
    ck_assert_int_eq(rmdir(folder), 0);
}

/* --- encryption is asked for ------------------------------------------------------------------ */

BODY(both_kinds_of_encryption_may_be_asked_for_once_in_any_order)
{
    struct client client;
    client_start(&client, TLS_MODE_DISABLE);
    client_send(&client, ssl_request, sizeof(ssl_request));
    client_expect(&client, 'N');
    client_send(&client, gss_request, sizeof(gss_request));
    client_expect(&client, 'N');
    client_send(&client, startup, sizeof(startup));
    client_await_end(&client);
    client_finish(&client, OK, "");
    expect_startup();
}

static void ask_twice(const uint8_t *request, const char *detail)
{
    struct client client;
    client_start(&client, TLS_MODE_DISABLE);
    client_send(&client, request, 8);
    client_expect(&client, 'N');
    client_send(&client, request, 8);
    client_await_end(&client);
    client_finish(&client, FAULT_PROTOCOL, detail);
}

BODY(a_second_ssl_request_is_refused)
{
    ask_twice(ssl_request, "a second SSLRequest");
}

BODY(a_second_gss_request_is_refused)
{
    ask_twice(gss_request, "a second GSSENCRequest");
}

BODY(plaintext_behind_an_ssl_request_is_refused)
{
    uint8_t bytes[sizeof(ssl_request) + sizeof(startup)];
    struct tls_settings settings = {.mode = TLS_MODE_ALLOW, .server = false};
    struct client client;
    ck_assert_int_eq(tls_context_new(&settings, &accepting.tls), OK);
    memcpy(bytes, ssl_request, sizeof(ssl_request));
    memcpy(bytes + sizeof(ssl_request), startup, sizeof(startup));
    client_start(&client, TLS_MODE_ALLOW);
    client_send(&client, bytes, sizeof(bytes));
    client_await_end(&client);
    client_finish(&client, FAULT_PROTOCOL, "unencrypted bytes after an SSLRequest");
    tls_context_unref(&accepting.tls);
}

/* --- what is none ----------------------------------------------------------------------------- */

static void send_nonsense(const void *bytes, size_t size, fault expected, const char *detail)
{
    struct client client;
    client_start(&client, TLS_MODE_DISABLE);
    client_send(&client, bytes, size);
    client_await_end(&client);
    client_finish(&client, expected, detail);
}

BODY(a_packet_that_is_too_short_is_refused)
{
    send_nonsense("\0\0\0\7", 4, FAULT_PROTOCOL, "packet of 7 bytes, the limits are 8 and 10000");
}

BODY(a_packet_that_is_too_long_is_refused)
{
    send_nonsense("\0\0\x27\x11", 4, FAULT_PROTOCOL, "packet of 10001 bytes");
}

BODY(a_negative_length_is_refused)
{
    send_nonsense("\xff\xff\xff\xff", 4, FAULT_PROTOCOL, "packet of 4294967295 bytes");
}

BODY(a_packet_without_an_end_is_refused)
{
    send_nonsense("\0\0\0\x0d\0\3\0\0user\0", 13, FAULT_PROTOCOL,
                  "malformed startup packet of 13 bytes");
}

BODY(another_protocol_is_refused)
{
    send_nonsense("\0\0\0\x09\0\2\0\1\0", 9, FAULT_UNSUPPORTED, "version 2.1 is not supported");
}

BODY(tls_without_a_request_is_named)
{
    send_nonsense("\x16\3\1\2", 4, FAULT_PROTOCOL, "a TLS handshake, and this listener has no TLS");
}

BODY(a_probe_has_no_story)
{
    struct client client;
    client_start(&client, TLS_MODE_DISABLE);
    client_finish(&client, FAULT_CLOSED, "");
    ck_assert_ptr_eq(outcome_text, fault_text(FAULT_CLOSED));
}

BODY(a_client_that_leaves_within_its_packet_has_a_story)
{
    struct client client;
    client_start(&client, TLS_MODE_DISABLE);
    client_send(&client, startup, 11);
    client_finish(&client, FAULT_CLOSED, "closed within its startup packet, after 11 bytes");
}

BODY(a_client_that_leaves_after_asking_has_a_story)
{
    struct client client;
    client_start(&client, TLS_MODE_DISABLE);
    client_send(&client, ssl_request, sizeof(ssl_request));
    client_expect(&client, 'N');
    client_finish(&client, FAULT_CLOSED, "closed after its SSLRequest or GSSENCRequest");
}

/* --- single messages -------------------------------------------------------------------------- */

static const struct message_play {
    const char *bytes;
    size_t size;
    fault expected;
} messages[] = {
    {"p\0\0\0\x0bsecret\0", 12, OK},
    {"p\0\0\0\4", 5, OK},
    {"p\0\0\0\3", 5, FAULT_PROTOCOL},
    {"p\0\0\0\x63", 5, FAULT_CLOSED}, /* as long as may be: its body is missing */
    {"p\0\0\0\x64", 5, FAULT_LIMIT},
    {"p\xff\xff\xff\xff", 5, FAULT_LIMIT},
    {"p\0\0", 3, FAULT_CLOSED},
};
static size_t message_at;

static void reading_a_message(struct peer *peer)
{
    const struct message_play *play = &messages[message_at];
    struct buffer bytes = BUFFER_INIT(100);
    struct wire_frame frame;
    ck_assert_int_eq(link_read_message(&peer->stream, &bytes, 100, &frame, soon()), play->expected);
    if (play->expected == OK) {
        ck_assert_int_eq(frame.type, 'p');
        ck_assert(span_equal(frame.body, span_of(play->bytes + 5, play->size - 5)));
    }
    buffer_fini(&bytes);
}

BODY(a_message_is_read_whole_and_no_longer_than_allowed)
{
    for (message_at = 0; message_at < ARRAY_SIZE(messages); message_at++) {
        struct client client = {.stream = STREAM_INIT};
        peer_start(&client.peer, reading_a_message, 1);
        ck_assert_int_eq(stream_connect(&client.stream, &client.peer.address, NULL, soon()), OK);
        client_send(&client, messages[message_at].bytes, messages[message_at].size);
        if (messages[message_at].expected == FAULT_CLOSED)
            stream_close(&client.stream);
        else
            client_await_end(&client);
        stream_close(&client.stream);
        peer_finish(&client.peer);
    }
}

TESTS("link_accept", a_startup_packet_may_come_byte_by_byte,
      nothing_behind_the_startup_packet_is_read,
      a_cancel_packet_is_taken_in_plain_even_where_tls_is_required,
      a_plain_startup_is_refused_where_tls_is_required,
      on_unix_sockets_there_is_no_tls_and_none_is_required,
      both_kinds_of_encryption_may_be_asked_for_once_in_any_order, a_second_ssl_request_is_refused,
      a_second_gss_request_is_refused, plaintext_behind_an_ssl_request_is_refused,
      a_packet_that_is_too_short_is_refused, a_packet_that_is_too_long_is_refused,
      a_negative_length_is_refused, a_packet_without_an_end_is_refused, another_protocol_is_refused,
      tls_without_a_request_is_named, a_probe_has_no_story,
      a_client_that_leaves_within_its_packet_has_a_story,
      a_client_that_leaves_after_asking_has_a_story,
      a_message_is_read_whole_and_no_longer_than_allowed)
