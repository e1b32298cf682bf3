#include "link_peer.h"
#include "machine/ids.h"

#include <stdio.h>
#include <string.h>

static const uint8_t ssl_request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};

/* --- what a server says ----------------------------------------------------------------------- */

static void expect_startup(struct peer *peer)
{
    static uint8_t bytes[WIRE_STARTUP_MAX];
    static const struct link_accept plain = {.tls_mode = TLS_MODE_DISABLE};
    struct wire_startup startup;
    ck_assert_int_eq(link_read_startup(&peer->stream, &plain, bytes, &startup, soon()), OK);
    ck_assert_int_eq(startup.kind, WIRE_STARTUP);
    ck_assert(span_is(wire_find_parameter(startup.parameters, "user"), "joe"));
    ck_assert(span_is(wire_find_parameter(startup.parameters, "database"), "app"));
    ck_assert(span_is(wire_find_parameter(startup.parameters, "application_name"), "unit"));
}

static void put_ok(struct peer *peer)
{
    wire_put_authentication(&peer->out, WIRE_AUTH_OK, SPAN_NONE);
}

static void put_reported(struct peer *peer)
{
    wire_put_parameter_status(&peer->out, SPAN("server_version"), SPAN("15.5"));
    wire_put_parameter_status(&peer->out, SPAN("in_hot_standby"), SPAN("on"));
    wire_put_backend_key(&peer->out, 4711, SPAN("\xde\xad\xbe\xef"));
    wire_put_ready(&peer->out, WIRE_TX_IDLE);
}

static void welcome(struct peer *peer)
{
    put_ok(peer);
    put_reported(peer);
    peer_send(peer);
}

static void put_error(struct peer *peer, const char *sqlstate, const char *message)
{
    wire_put_report(&peer->out, &(struct wire_report){"FATAL", sqlstate, message, NULL, NULL});
}

static void expect_password(struct peer *peer, const char *text)
{
    struct buffer bytes = BUFFER_INIT(1000);
    struct wire_frame frame;
    ck_assert_int_eq(link_read_message(&peer->stream, &bytes, 1000, &frame, soon()), OK);
    ck_assert_int_eq(frame.type, WIRE_PASSWORD);
    ck_assert_uint_eq(frame.body.size, strlen(text) + 1);
    ck_assert_str_eq((const char *)frame.body.at, text);
    buffer_fini(&bytes);
}

/* --- how a test logs in ----------------------------------------------------------------------- */

struct attempt {
    struct stream stream;
    struct link_target target;
    struct link_secret secret;
    struct link_login login;
    struct link_reported reported;
};

static fault log_in(struct attempt *attempt, const struct peer *peer)
{
    attempt->stream = STREAM_INIT;
    attempt->target.address = peer->address;
    attempt->target.socket.nodelay = true;
    attempt->login = (struct link_login){
        .target = &attempt->target,
        .user = SPAN("joe"),
        .database = SPAN("app"),
        .parameters = SPAN("application_name\0unit\0"),
        .secret = &attempt->secret,
    };
    return link_login(&attempt->stream, &attempt->login, &attempt->reported, soon());
}

static void log_in_well(struct attempt *attempt, struct peer *peer)
{
    ck_assert_int_eq(log_in(attempt, peer), OK);
    ck_assert(stream_open(&attempt->stream));
    ck_assert_uint_eq(attempt->reported.pid, 4711);
    ck_assert(span_is(wire_secret_span(&attempt->reported.secret), "\xde\xad\xbe\xef"));
    ck_assert(attempt->reported.in_hot_standby);
    struct span version =
        wire_find_parameter(buffer_span(&attempt->reported.parameters), "server_version");
    ck_assert(span_is(version, "15.5"));
    stream_close(&attempt->stream);
    buffer_fini(&attempt->reported.parameters);
}

static void log_in_badly(struct attempt *attempt, struct peer *peer, fault expected,
                         const char *detail)
{
    ck_assert_int_eq(log_in(attempt, peer), expected);
    const char *told = fault_detail(expected);
    ck_assert_msg(strstr(told, detail) != NULL, "story: %s", told);
    ck_assert(!stream_open(&attempt->stream));
}

/* --- a plain login ---------------------------------------------------------------------------- */

static void trusting_in_fragments(struct peer *peer)
{
    expect_startup(peer);
    wire_put_report(&peer->out, &(struct wire_report){"NOTICE", "00000", "welcome", NULL, NULL});
    put_ok(peer);
    wire_put_report(&peer->out, &(struct wire_report){"WARNING", "01000", "mind", NULL, NULL});
    put_reported(peer);
    for (size_t i = 0; i < peer->out.size; i++) {
        ck_assert_int_eq(stream_write(&peer->stream, span_of(peer->out.at + i, 1), soon()), OK);
        co_yield ();
    }
    buffer_clear(&peer->out);
    peer_expect_end(peer);
}

BODY(a_login_keeps_what_the_server_says_of_itself_and_skips_notices)
{
    struct peer peer;
    struct attempt attempt = {0};
    peer_start(&peer, trusting_in_fragments, 1);
    log_in_well(&attempt, &peer);
    peer_finish(&peer);
}

static void going_on_unasked(struct peer *peer)
{
    expect_startup(peer);
    put_ok(peer);
    put_reported(peer);
    wire_put_parameter_status(&peer->out, SPAN("late"), SPAN("news"));
    wire_put_report(&peer->out, &(struct wire_report){"NOTICE", "00000", "mind", NULL, NULL});
    peer_send(peer);
    peer_expect_end(peer);
}

BODY(what_comes_unasked_right_behind_a_login_is_kept_as_well)
{
    struct peer peer;
    struct attempt attempt = {0};
    peer_start(&peer, going_on_unasked, 1);
    ck_assert_int_eq(log_in(&attempt, &peer), OK);
    struct span late = wire_find_parameter(buffer_span(&attempt.reported.parameters), "late");
    ck_assert(span_is(late, "news"));
    stream_close(&attempt.stream);
    buffer_fini(&attempt.reported.parameters);
    peer_finish(&peer);
}

static void told_to_end(struct peer *peer)
{
    expect_startup(peer);
    put_ok(peer);
    put_reported(peer);
    put_error(peer, "57P01", "terminating connection due to administrator command");
    peer_send(peer);
    peer_expect_end(peer);
}

BODY(a_server_that_is_told_to_end_right_behind_its_login_has_closed_it)
{
    struct peer peer;
    struct attempt attempt = {0};
    peer_start(&peer, told_to_end, 1);
    log_in_badly(&attempt, &peer, FAULT_REFUSED, "closed the connection during the login");
    peer_finish(&peer);
}

static void asking_for_clear_text(struct peer *peer)
{
    expect_startup(peer);
    wire_put_authentication(&peer->out, WIRE_AUTH_PASSWORD, SPAN_NONE);
    peer_send(peer);
    expect_password(peer, "secret");
    welcome(peer);
}

BODY(a_password_is_sent_when_asked_for)
{
    struct peer peer;
    struct attempt attempt = {.secret.password = SPAN("secret")};
    peer_start(&peer, asking_for_clear_text, 1);
    log_in_well(&attempt, &peer);
    peer_finish(&peer);
}

static void asking_for_md5(struct peer *peer)
{
    char stored[MD5_TEXT], answer[MD5_TEXT];
    expect_startup(peer);
    wire_put_authentication(&peer->out, WIRE_AUTH_MD5, SPAN("salt"));
    peer_send(peer);
    md5_secret(SPAN("secret"), SPAN("joe"), stored);
    md5_answer(stored, (const uint8_t *)"salt", answer);
    expect_password(peer, answer);
    welcome(peer);
}

BODY(md5_is_answered_from_the_password_or_from_its_stored_form)
{
    struct peer peer;
    struct attempt plain = {.secret.password = SPAN("secret")};
    struct attempt stored = {0};
    md5_secret(SPAN("secret"), SPAN("joe"), stored.secret.md5);
    peer_start(&peer, asking_for_md5, 2);
    log_in_well(&plain, &peer);
    log_in_well(&stored, &peer);
    peer_finish(&peer);
}

static void asking_for_anything(struct peer *peer)
{
    static const uint32_t kinds[] = {WIRE_AUTH_PASSWORD, WIRE_AUTH_MD5, WIRE_AUTH_SASL};
    static const struct span rests[] = {SPAN_NONE, SPAN("salt"), SPAN("SCRAM-SHA-256\0\0")};
    int kind = peer->accepted - 1;
    expect_startup(peer);
    wire_put_authentication(&peer->out, kinds[kind], rests[kind]);
    peer_send(peer);
    peer_expect_end(peer);
}

BODY(a_login_without_a_secret_says_what_is_missing)
{
    struct peer peer;
    struct attempt attempt = {0};
    peer_start(&peer, asking_for_anything, 3);
    log_in_badly(&attempt, &peer, FAULT_AUTH,
                 "requests a plain password, but there is none for user \"joe\"");
    log_in_badly(&attempt, &peer, FAULT_AUTH, "requests a plain or md5 password");
    log_in_badly(&attempt, &peer, FAULT_AUTH, "requests SCRAM-SHA-256");
    peer_finish(&peer);
}

static void asking_for_what_we_lack(struct peer *peer)
{
    expect_startup(peer);
    if (peer->accepted == 1)
        wire_put_authentication(&peer->out, 7, SPAN_NONE);
    else
        wire_put_authentication(&peer->out, WIRE_AUTH_SASL, SPAN("SCRAM-SHA-256-PLUS\0\0"));
    peer_send(peer);
    peer_expect_end(peer);
}

BODY(an_unknown_method_is_named)
{
    struct peer peer;
    struct attempt attempt = {.secret.password = SPAN("secret")};
    peer_start(&peer, asking_for_what_we_lack, 2);
    log_in_badly(&attempt, &peer, FAULT_UNSUPPORTED, "method 7 (GSSAPI)");
    log_in_badly(&attempt, &peer, FAULT_UNSUPPORTED, "\"SCRAM-SHA-256-PLUS\"");
    peer_finish(&peer);
}

/* --- SCRAM ------------------------------------------------------------------------------------ */

/* The server's verifier, of the password "secret". */
static struct scram_verifier verifier_of(struct scram_keys *keys)
{
    struct scram_verifier verifier;
    scram_derive(SPAN("secret"), (const uint8_t *)"0123456789abcdef", SCRAM_SALT, 4096, keys);
    scram_verifier_of(keys, &verifier);
    return verifier;
}

static struct span expect_sasl_first(struct peer *peer, struct buffer *bytes)
{
    struct wire_frame frame;
    ck_assert_int_eq(link_read_message(&peer->stream, bytes, 2000, &frame, soon()), OK);
    ck_assert_int_eq(frame.type, WIRE_PASSWORD);
    struct wire_reader in = wire_reader_over(frame.body);
    ck_assert(span_is(wire_get_string(&in), "SCRAM-SHA-256"));
    uint32_t size = wire_get_u32(&in);
    struct span first = wire_get_bytes(&in, size);
    ck_assert_int_eq(wire_done(&in), OK);
    return first;
}

enum scram_play { SCRAM_HONEST, SCRAM_WITHOUT_CHALLENGE, SCRAM_WITHOUT_PROOF, SCRAM_FORGED };
static enum scram_play scram_play;

static void scram_challenge(struct peer *peer, struct scram_server *scram,
                            const struct scram_verifier *verifier, struct buffer *bytes)
{
    uint8_t random[SCRAM_NONCE] = {7};
    struct buffer text = BUFFER_INIT(SCRAM_MESSAGE_MAX);
    struct span first = expect_sasl_first(peer, bytes);
    ck_assert_int_eq(scram_server_first(scram, first, verifier, random, &text), OK);
    wire_put_authentication(&peer->out, WIRE_AUTH_SASL_CONTINUE, buffer_span(&text));
    peer_send(peer);
    buffer_fini(&text);
}

static void scram_finish(struct peer *peer, struct scram_server *scram,
                         const struct scram_verifier *verifier, struct buffer *bytes)
{
    struct wire_frame frame;
    struct buffer text = BUFFER_INIT(SCRAM_MESSAGE_MAX);
    ck_assert_int_eq(link_read_message(&peer->stream, bytes, 2000, &frame, soon()), OK);
    ck_assert_int_eq(scram_server_final(scram, frame.body, verifier, &text), OK);
    if (scram_play == SCRAM_FORGED)
        text.at[10] = text.at[10] == 'A' ? 'B' : 'A';
    if (scram_play != SCRAM_WITHOUT_PROOF)
        wire_put_authentication(&peer->out, WIRE_AUTH_SASL_FINAL, buffer_span(&text));
    buffer_fini(&text);
}

static void asking_for_scram(struct peer *peer)
{
    struct scram_keys keys;
    struct scram_server scram;
    struct scram_verifier verifier = verifier_of(&keys);
    struct buffer bytes = BUFFER_INIT(4000);
    expect_startup(peer);
    wire_put_authentication(&peer->out, WIRE_AUTH_SASL,
                            SPAN("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"));
    peer_send(peer);
    if (scram_play == SCRAM_WITHOUT_CHALLENGE) {
        (void)expect_sasl_first(peer, &bytes);
    } else {
        scram_challenge(peer, &scram, &verifier, &bytes);
        scram_finish(peer, &scram, &verifier, &bytes);
    }
    put_ok(peer);
    put_reported(peer);
    peer_send(peer);
    peer_expect_end(peer);
    buffer_fini(&bytes);
}

BODY(scram_keys_are_derived_once_and_kept)
{
    struct peer peer;
    struct scram_keys keys;
    struct attempt attempt = {.secret.password = SPAN("secret")};
    (void)verifier_of(&keys);
    scram_play = SCRAM_HONEST;
    peer_start(&peer, asking_for_scram, 2);
    log_in_well(&attempt, &peer);
    ck_assert(attempt.secret.have_keys);
    ck_assert_mem_eq(attempt.secret.keys.client_key, keys.client_key, SCRAM_KEY);
    attempt.secret.password = SPAN_NONE;
    log_in_well(&attempt, &peer);
    peer_finish(&peer);
}

static void asking_for_scram_in_vain(struct peer *peer)
{
    struct scram_keys keys;
    struct scram_server scram;
    struct scram_verifier verifier = verifier_of(&keys);
    struct buffer bytes = BUFFER_INIT(4000);
    expect_startup(peer);
    wire_put_authentication(&peer->out, WIRE_AUTH_SASL, SPAN("SCRAM-SHA-256\0\0"));
    peer_send(peer);
    scram_challenge(peer, &scram, &verifier, &bytes);
    peer_expect_end(peer);
    buffer_fini(&bytes);
}

BODY(scram_keys_for_another_salt_are_not_used)
{
    struct peer peer;
    struct attempt attempt = {.secret.have_keys = true};
    (void)verifier_of(&attempt.secret.keys);
    attempt.secret.keys.salt[0] ^= 1;
    peer_start(&peer, asking_for_scram_in_vain, 1);
    log_in_badly(&attempt, &peer, FAULT_AUTH, "is not that of the known keys");
    peer_finish(&peer);
}

BODY(a_server_must_prove_that_it_knows_the_password)
{
    struct peer peer;
    struct attempt attempt = {.secret.have_keys = true};
    (void)verifier_of(&attempt.secret.keys);
    peer_start(&peer, asking_for_scram, 3);
    scram_play = SCRAM_WITHOUT_CHALLENGE;
    log_in_badly(&attempt, &peer, FAULT_AUTH, "without sending its signature");
    scram_play = SCRAM_WITHOUT_PROOF;
    log_in_badly(&attempt, &peer, FAULT_AUTH, "without sending its signature");
    scram_play = SCRAM_FORGED;
    log_in_badly(&attempt, &peer, FAULT_AUTH, "sent a wrong SCRAM signature");
    peer_finish(&peer);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void refusing(struct peer *peer)
{
    static const struct {
        const char *sqlstate;
        bool late;
    } plays[] = {{"3D000", false}, {"53300", true}, {"57P03", false}};
    expect_startup(peer);
    if (plays[peer->accepted - 1].late)
        put_ok(peer);
    put_error(peer, plays[peer->accepted - 1].sqlstate, "not you");
    peer_send(peer);
}

BODY(the_servers_own_error_is_told_with_its_sqlstate)
{
    static const char *const states[] = {"3D000", "53300", "57P03"};
    struct peer peer;
    struct attempt attempt = {0};
    peer_start(&peer, refusing, 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(log_in(&attempt, &peer), FAULT_UPSTREAM);
        ck_assert_str_eq(fault_detail(FAULT_UPSTREAM), "not you");
        ck_assert_str_eq(fault_detail_sqlstate(FAULT_UPSTREAM), states[i]);
    }
    peer_finish(&peer);
}

static void refusing_badly(struct peer *peer)
{
    static const struct span bodies[] = {
        SPAN("Mno state\0\0"),
        SPAN("C28p01\0Mlower case\0\0"),
        SPAN("C123456\0Mtoo long\0\0"),
        SPAN("Mnever ends"),
        SPAN("C28P01\0\0"),
        SPAN(""),
    };
    expect_startup(peer);
    size_t start = wire_begin(&peer->out, WIRE_ERROR);
    wire_put_bytes(&peer->out, bodies[peer->accepted - 1]);
    wire_end(&peer->out, start);
    peer_send(peer);
}

BODY(an_error_that_is_none_gets_an_sqlstate_that_is_one)
{
    static const char *const states[] = {"XX000", "XX000", "XX000", "XX000", "28P01", "XX000"};
    static const char *const stories[] = {
        "no state",
        "lower case",
        "too long",
        "the server sent an unreadable error",
        "the server sent an error without a message",
        "the server sent an unreadable error",
    };
    struct peer peer;
    struct attempt attempt = {0};
    peer_start(&peer, refusing_badly, 6);
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(log_in(&attempt, &peer), FAULT_UPSTREAM);
        ck_assert_str_eq(fault_detail(FAULT_UPSTREAM), stories[i]);
        ck_assert_str_eq(fault_detail_sqlstate(FAULT_UPSTREAM), states[i]);
    }
    peer_finish(&peer);
}

static void leaving_early(struct peer *peer)
{
    if (peer->accepted == 1)
        return;
    expect_startup(peer);
    put_ok(peer);
    put_reported(peer);
    peer->out.size -= 3;
    peer_send(peer);
}

BODY(a_server_that_closes_or_is_not_there_refuses)
{
    struct peer peer;
    struct attempt attempt = {0};
    peer_start(&peer, leaving_early, 2);
    log_in_badly(&attempt, &peer, FAULT_REFUSED, "127.0.0.1:");
    log_in_badly(&attempt, &peer, FAULT_REFUSED, "closed the connection during the login");
    peer_finish(&peer);
    log_in_badly(&attempt, &peer, FAULT_REFUSED, "refused");
}

static void saying_nothing(struct peer *peer)
{
    expect_startup(peer);
    peer_expect_end(peer);
}

BODY(a_server_that_says_nothing_is_left_at_the_deadline)
{
    struct peer peer;
    struct attempt attempt = {0};
    peer_start(&peer, saying_nothing, 1);
    attempt.target.address = peer.address;
    attempt.stream = STREAM_INIT;
    attempt.login = (struct link_login){.target = &attempt.target,
                                        .user = SPAN("joe"),
                                        .database = SPAN("app"),
                                        .parameters = SPAN("application_name\0unit\0")};
    ck_assert_int_eq(link_login(&attempt.stream, &attempt.login, &attempt.reported, after(ms(30))),
                     FAULT_TIMEOUT);
    ck_assert(!stream_open(&attempt.stream));
    peer_finish(&peer);
}

/* --- nonsense --------------------------------------------------------------------------------- */

static void talking_nonsense(struct peer *peer)
{
    expect_startup(peer);
    switch (peer->accepted) {
    case 1: /* a row before the authentication */
        wire_put_empty(&peer->out, WIRE_DATA_ROW);
        break;
    case 2: /* a row after it */
        put_ok(peer);
        wire_put_empty(&peer->out, WIRE_DATA_ROW);
        break;
    case 3: /* a length that is none */
        buffer_append(&peer->out, "R\0\0\0\3", 5);
        break;
    case 4: /* too long */
        buffer_append(&peer->out, "R\0\1\0\1", 5);
        break;
    case 5: /* more than it was asked */
        put_ok(peer);
        put_reported(peer);
        wire_put_command_complete(&peer->out, "SELECT 1");
        break;
    case 6: /* within a transaction */
        put_ok(peer);
        wire_put_ready(&peer->out, WIRE_TX_ACTIVE);
        break;
    case 7: /* a salt of three bytes */
        wire_put_authentication(&peer->out, WIRE_AUTH_MD5, SPAN("sal"));
        break;
    case 8: /* in the middle of what never began */
        wire_put_authentication(&peer->out, WIRE_AUTH_SASL_CONTINUE, SPAN("r=x,s=eA==,i=1"));
        break;
    default:
        ck_abort();
    }
    peer_send(peer);
    peer_expect_end(peer);
}

BODY(nonsense_from_a_server_is_a_protocol_fault)
{
    static const char *const stories[] = {
        "type 0x44 before the authentication",
        "type 0x44 in the login",
        "message of 3 bytes",
        "message of 65537 bytes in the login, the limit is 65536",
        "type 0x43 after the end of the login",
        "ended in a transaction",
        "malformed authentication request",
        "AuthenticationSASLContinue without AuthenticationSASL",
    };
    struct peer peer;
    struct attempt attempt = {.secret.password = SPAN("secret")};
    peer_start(&peer, talking_nonsense, 8);
    for (int i = 0; i < 8; i++)
        log_in_badly(&attempt, &peer, FAULT_PROTOCOL, stories[i]);
    peer_finish(&peer);
}

static void talking_without_end(struct peer *peer)
{
    static uint8_t value[30000];
    memset(value, 'x', sizeof(value));
    expect_startup(peer);
    put_ok(peer);
    for (int i = 0; i < 3; i++)
        wire_put_parameter_status(&peer->out, SPAN("long"), span_of(value, sizeof(value)));
    peer_send(peer);
    peer_expect_end(peer);
}

BODY(parameters_without_end_are_refused)
{
    struct peer peer;
    struct attempt attempt = {0};
    peer_start(&peer, talking_without_end, 1);
    log_in_badly(&attempt, &peer, FAULT_LIMIT, "parameters take more than 65536 bytes");
    peer_finish(&peer);
}

static void accepting_nobody(struct peer *peer)
{
    peer_expect_end(peer);
}

BODY(a_startup_packet_that_no_server_takes_is_not_sent)
{
    static uint8_t parameters[WIRE_STARTUP_MAX];
    struct peer peer;
    struct attempt attempt = {0};
    memset(parameters, 'x', sizeof(parameters));
    parameters[10] = parameters[sizeof(parameters) - 1] = 0;
    peer_start(&peer, accepting_nobody, 1);
    attempt.target.address = peer.address;
    attempt.stream = STREAM_INIT;
    attempt.login = (struct link_login){.target = &attempt.target,
                                        .user = SPAN("joe"),
                                        .database = SPAN("app"),
                                        .parameters = span_of(parameters, sizeof(parameters))};
    ck_assert_int_eq(link_login(&attempt.stream, &attempt.login, &attempt.reported, soon()),
                     FAULT_LIMIT);
    peer_finish(&peer);
}

/* --- asking for TLS --------------------------------------------------------------------------- */

static void expect_ssl_request(struct peer *peer)
{
    uint8_t bytes[8];
    ck_assert_int_eq(stream_read_all(&peer->stream, bytes, sizeof(bytes), soon()), OK);
    ck_assert_mem_eq(bytes, ssl_request, sizeof(bytes));
}

static struct tls_context *client_context(enum tls_mode mode)
{
    struct tls_context *context = NULL;
    struct tls_settings settings = {.mode = mode};
    ck_assert_int_eq(tls_context_new(&settings, &context), OK);
    return context;
}

static void without_tls(struct peer *peer)
{
    expect_ssl_request(peer);
    peer_send_bytes(peer, "N", 1);
    if (peer->accepted == 1) {
        expect_startup(peer);
        welcome(peer);
    }
    peer_expect_end(peer);
}

BODY(a_server_without_tls_is_good_enough_for_prefer_only)
{
    struct peer peer;
    struct attempt attempt = {.target.tls_mode = TLS_MODE_PREFER};
    attempt.target.tls = client_context(TLS_MODE_PREFER);
    peer_start(&peer, without_tls, 2);
    log_in_well(&attempt, &peer);
    attempt.target.tls_mode = TLS_MODE_REQUIRE;
    log_in_badly(&attempt, &peer, FAULT_TLS, "does not support TLS, which is required");
    tls_context_unref(&attempt.target.tls);
    peer_finish(&peer);
}

static void failing_the_handshake(struct peer *peer)
{
    if (peer->accepted == 2) {
        expect_startup(peer);
        welcome(peer);
        return;
    }
    expect_ssl_request(peer);
    peer_send_bytes(peer, "S", 1);
    uint8_t hello[16];
    ck_assert_int_eq(stream_read_all(&peer->stream, hello, sizeof(hello), soon()), OK);
    peer_send_bytes(peer, "this is no handshake", 20);
    peer_drain(peer);
}

BODY(prefer_goes_on_in_plain_when_the_handshake_fails)
{
    struct peer peer;
    struct attempt attempt = {.target.tls_mode = TLS_MODE_PREFER};
    attempt.target.tls = client_context(TLS_MODE_PREFER);
    peer_start(&peer, failing_the_handshake, 3);
    log_in_well(&attempt, &peer);
    attempt.target.tls_mode = TLS_MODE_REQUIRE;
    log_in_badly(&attempt, &peer, FAULT_TLS, "");
    tls_context_unref(&attempt.target.tls);
    peer_finish(&peer);
}

static void answering_strangely(struct peer *peer)
{
    expect_ssl_request(peer);
    switch (peer->accepted) {
    case 1:
        put_error(peer, "53300", "sorry, too many clients already");
        peer_send(peer);
        break;
    case 2:
        peer_send_bytes(peer, "Ecould not fork new process", 27);
        break;
    case 3:
        peer_send_bytes(peer, "X", 1);
        break;
    case 4:
        peer_send_bytes(peer, "Sinjected", 9);
        peer_expect_end(peer);
        break;
    default:
        break;
    }
}

BODY(strange_answers_to_an_ssl_request_are_told)
{
    struct peer peer;
    struct attempt attempt = {.target.tls_mode = TLS_MODE_REQUIRE};
    attempt.target.tls = client_context(TLS_MODE_REQUIRE);
    peer_start(&peer, answering_strangely, 5);
    log_in_badly(&attempt, &peer, FAULT_UPSTREAM, "sorry, too many clients already");
    ck_assert_str_eq(fault_detail_sqlstate(FAULT_UPSTREAM), "53300");
    log_in_badly(&attempt, &peer, FAULT_PROTOCOL, "in answer to an SSLRequest, the limit is 65536");
    log_in_badly(&attempt, &peer, FAULT_PROTOCOL, "byte 0x58 in answer to an SSLRequest");
    log_in_badly(&attempt, &peer, FAULT_PROTOCOL, "unencrypted bytes after");
    log_in_badly(&attempt, &peer, FAULT_REFUSED, "closed the connection during the login");
    tls_context_unref(&attempt.target.tls);
    peer_finish(&peer);
}

/* --- cancelling ------------------------------------------------------------------------------- */

static bool cancel_ended;

static void expecting_a_cancel(struct peer *peer)
{
    static uint8_t bytes[WIRE_STARTUP_MAX];
    static const struct link_accept plain = {.tls_mode = TLS_MODE_DISABLE};
    struct wire_startup packet;
    ck_assert_int_eq(link_read_startup(&peer->stream, &plain, bytes, &packet, soon()), OK);
    ck_assert_int_eq(packet.kind, WIRE_STARTUP_CANCEL);
    ck_assert_uint_eq(packet.cancel.pid, 4711);
    ck_assert_uint_eq(packet.cancel.secret.size, 4);
    ck_assert_uint_eq(wire_u32(packet.cancel.secret.at), 0xdeadbeef);
    for (int i = 0; i < 5; i++)
        co_yield ();
    ck_assert(!cancel_ended);
}

BODY(a_cancel_request_waits_until_the_server_closes)
{
    struct peer peer;
    struct link_target target = {0};
    peer_start(&peer, expecting_a_cancel, 1);
    target.address = peer.address;
    ck_assert_int_eq(link_cancel(&target, 4711, SPAN("\xde\xad\xbe\xef"), soon()), OK);
    cancel_ended = true;
    peer_finish(&peer);
}

BODY(a_cancel_request_is_bounded_by_its_deadline)
{
    struct peer peer;
    struct link_target target = {0};
    peer_start(&peer, accepting_nobody, 0);
    target.address = peer.address;
    ck_assert_int_eq(link_cancel(&target, 1, SPAN("abcd"), after(ms(30))), FAULT_TIMEOUT);
    peer_finish(&peer);
}

TESTS("link", a_login_keeps_what_the_server_says_of_itself_and_skips_notices,
      what_comes_unasked_right_behind_a_login_is_kept_as_well,
      a_server_that_is_told_to_end_right_behind_its_login_has_closed_it,
      a_password_is_sent_when_asked_for, md5_is_answered_from_the_password_or_from_its_stored_form,
      a_login_without_a_secret_says_what_is_missing, an_unknown_method_is_named,
      scram_keys_are_derived_once_and_kept, scram_keys_for_another_salt_are_not_used,
      a_server_must_prove_that_it_knows_the_password,
      the_servers_own_error_is_told_with_its_sqlstate,
      an_error_that_is_none_gets_an_sqlstate_that_is_one,
      a_server_that_closes_or_is_not_there_refuses,
      a_server_that_says_nothing_is_left_at_the_deadline,
      nonsense_from_a_server_is_a_protocol_fault, parameters_without_end_are_refused,
      a_startup_packet_that_no_server_takes_is_not_sent,
      a_server_without_tls_is_good_enough_for_prefer_only,
      prefer_goes_on_in_plain_when_the_handshake_fails, strange_answers_to_an_ssl_request_are_told,
      a_cancel_request_waits_until_the_server_closes, a_cancel_request_is_bounded_by_its_deadline)
