#include "link_peer.h"
#include "tls_test_pki.h"

#include <string.h>

static struct pki pki;
static struct link_accept accepting;
static struct link_target target;

static struct tls_context *context_of(bool server, enum tls_mode mode)
{
    struct tls_context *context = NULL;
    struct tls_settings settings = {.mode = mode, .server = server, .authorities = pki.ca};
    if (server) {
        settings.certificate = pki.server;
        settings.key = pki.server_key;
    }
    ck_assert_int_eq(tls_context_new(&settings, &context), OK);
    return context;
}

static void begin(struct peer *peer, enum tls_mode mode, void (*script)(struct peer *),
                  int connections)
{
    pki_init(&pki);
    accepting =
        (struct link_accept){.tls_mode = TLS_MODE_ALLOW, .tls = context_of(true, TLS_MODE_ALLOW)};
    target =
        (struct link_target){.host = "db.test", .tls_mode = mode, .tls = context_of(false, mode)};
    peer_start(peer, script, connections);
    target.address = peer->address;
}

static void finish(struct peer *peer)
{
    peer_finish(peer);
    tls_context_unref(&accepting.tls);
    tls_context_unref(&target.tls);
    pki_fini(&pki);
}

static fault accept_startup(struct peer *peer, struct wire_startup *packet)
{
    static uint8_t bytes[WIRE_STARTUP_MAX];
    return link_read_startup(&peer->stream, &accepting, bytes, packet, soon());
}

static void welcome(struct peer *peer)
{
    wire_put_authentication(&peer->out, WIRE_AUTH_OK, SPAN_NONE);
    wire_put_backend_key(&peer->out, 1, SPAN("abcd"));
    wire_put_ready(&peer->out, WIRE_TX_IDLE);
    peer_send(peer);
    peer_drain(peer);
}

static fault log_in(bool *ret_encrypted)
{
    struct stream stream = STREAM_INIT;
    struct link_reported reported;
    struct link_login login = {.target = &target, .user = SPAN("joe"), .database = SPAN("app")};
    fault what = link_login(&stream, &login, &reported, soon());
    if (what != OK)
        return what;
    *ret_encrypted = stream.tls != NULL;
    stream_close(&stream);
    buffer_fini(&reported.parameters);
    return OK;
}

/* --- both ends speak TLS ---------------------------------------------------------------------- */

static void encrypting(struct peer *peer)
{
    struct wire_startup packet;
    ck_assert_int_eq(accept_startup(peer, &packet), OK);
    ck_assert_ptr_nonnull(peer->stream.tls);
    ck_assert(span_is(wire_find_parameter(packet.parameters, "user"), "joe"));
    welcome(peer);
}

BODY(a_verified_login_is_encrypted)
{
    struct peer peer;
    bool encrypted = false;
    begin(&peer, TLS_MODE_VERIFY_FULL, encrypting, 1);
    accepting.tls_mode = TLS_MODE_REQUIRE;
    ck_assert_int_eq(log_in(&encrypted), OK);
    ck_assert(encrypted);
    finish(&peer);
}

static void failing_to_be_verified(struct peer *peer)
{
    struct wire_startup packet;
    ck_assert_int_ne(accept_startup(peer, &packet), OK);
}

BODY(a_server_with_another_name_is_refused)
{
    struct peer peer;
    bool encrypted;
    begin(&peer, TLS_MODE_VERIFY_FULL, failing_to_be_verified, 1);
    target.host = "other.test";
    ck_assert_int_eq(log_in(&encrypted), FAULT_TLS);
    finish(&peer);
}

/* --- a server that wants no encryption -------------------------------------------------------- */

static void refusing_encryption(struct peer *peer)
{
    static const struct wire_report refusal = {"FATAL", "28000", "no pg_hba.conf entry", NULL,
                                               NULL};
    struct wire_startup packet;
    ck_assert_int_eq(accept_startup(peer, &packet), OK);
    if (peer->stream.tls == NULL) {
        welcome(peer);
        return;
    }
    wire_put_report(&peer->out, &refusal);
    peer_send(peer);
    peer_drain(peer);
}

BODY(prefer_goes_on_in_plain_when_the_server_wants_no_encryption)
{
    struct peer peer;
    bool encrypted = true;
    begin(&peer, TLS_MODE_PREFER, refusing_encryption, 2);
    ck_assert_int_eq(log_in(&encrypted), OK);
    ck_assert(!encrypted);
    finish(&peer);
}

BODY(require_does_not_go_on_in_plain)
{
    struct peer peer;
    bool encrypted;
    begin(&peer, TLS_MODE_REQUIRE, refusing_encryption, 1);
    ck_assert_int_eq(log_in(&encrypted), FAULT_UPSTREAM);
    ck_assert_str_eq(fault_detail_sqlstate(FAULT_UPSTREAM), "28000");
    finish(&peer);
}

/* --- cancelling and asking twice -------------------------------------------------------------- */

static void expecting_a_cancel(struct peer *peer)
{
    struct wire_startup packet;
    ck_assert_int_eq(accept_startup(peer, &packet), OK);
    ck_assert_ptr_nonnull(peer->stream.tls);
    ck_assert_int_eq(packet.kind, WIRE_STARTUP_CANCEL);
    ck_assert_uint_eq(packet.cancel.pid, 4711);
}

BODY(a_cancel_request_is_encrypted_like_its_session)
{
    struct peer peer;
    begin(&peer, TLS_MODE_REQUIRE, expecting_a_cancel, 1);
    ck_assert_int_eq(link_cancel(&target, 4711, SPAN("abcd"), soon()), OK);
    finish(&peer);
}

static void expecting_tls_once(struct peer *peer)
{
    struct wire_startup packet;
    ck_assert_int_eq(accept_startup(peer, &packet), FAULT_PROTOCOL);
    ck_assert_str_eq(fault_detail(FAULT_PROTOCOL), "an SSLRequest inside TLS");
}

BODY(an_ssl_request_inside_tls_is_refused)
{
    static const uint8_t request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
    struct span bytes = span_of(request, sizeof(request));
    struct stream stream = STREAM_INIT;
    struct peer peer;
    uint8_t answer;
    begin(&peer, TLS_MODE_REQUIRE, expecting_tls_once, 1);
    ck_assert_int_eq(stream_connect(&stream, &target.address, NULL, soon()), OK);
    ck_assert_int_eq(stream_write(&stream, bytes, soon()), OK);
    ck_assert_int_eq(stream_read_all(&stream, &answer, 1, soon()), OK);
    ck_assert_int_eq(answer, 'S');
    ck_assert_int_eq(stream_tls_connect(&stream, target.tls, NULL, soon()), OK);
    ck_assert_int_eq(stream_write(&stream, bytes, soon()), OK);
    ck_assert_int_eq(stream_read_all(&stream, &answer, 1, soon()), FAULT_CLOSED);
    stream_close(&stream);
    finish(&peer);
}

TESTS("link_tls", a_verified_login_is_encrypted, a_server_with_another_name_is_refused,
      prefer_goes_on_in_plain_when_the_server_wants_no_encryption, require_does_not_go_on_in_plain,
      a_cancel_request_is_encrypted_like_its_session, an_ssl_request_inside_tls_is_refused)
