#include "machine/clock.h"
#include "machine/co.h"
#include "machine/stream.h"
#include "machine/tls.h"
#include "tls_test_pki.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

static struct pki pki;
static const duration patience = sec(20);

/* --- two ends on one machine ------------------------------------------------------------------ */

/* What one test is made of: contexts, connected streams, and what each side does with its own. */
struct bench {
    struct tls_context *server_context;
    struct tls_context *client_context;
    const char *host; /* that the client wants to reach */
    struct stream server;
    struct stream client;
    fault server_result; /* of the handshake */
    fault client_result;
    char server_story[256];
    char client_story[256];
    void (*server_part)(struct bench *bench);
    void (*client_part)(struct bench *bench);
};

static struct bench *running;

static struct tls_context *context(const struct tls_settings *settings)
{
    struct tls_context *made = NULL;
    fault result = tls_context_new(settings, &made);
    ck_assert_msg(result == OK, "%s", fault_detail(result));
    return made;
}

static struct tls_context *server_context(enum tls_mode mode)
{
    return context(&(struct tls_settings){.mode = mode,
                                          .certificate = pki.server,
                                          .key = pki.server_key,
                                          .authorities = pki.ca,
                                          .server = true});
}

static struct tls_context *client_context(enum tls_mode mode)
{
    return context(&(struct tls_settings){.mode = mode, .authorities = pki.ca});
}

static void server_main(void *argument)
{
    struct bench *bench = argument;
    bench->server_result =
        stream_tls_accept(&bench->server, bench->server_context, SPAN_NONE, after(patience));
    snprintf(bench->server_story, sizeof(bench->server_story), "%s",
             fault_detail(bench->server_result));
    if (bench->server_result == OK && bench->server_part != NULL)
        bench->server_part(bench);
    stream_close(&bench->server);
}

static void client_main(void *argument)
{
    struct bench *bench = argument;
    bench->client_result =
        stream_tls_connect(&bench->client, bench->client_context, bench->host, after(patience));
    snprintf(bench->client_story, sizeof(bench->client_story), "%s",
             fault_detail(bench->client_result));
    if (bench->client_result == OK && bench->client_part != NULL)
        bench->client_part(bench);
    stream_close(&bench->client);
}

static void bench_main(void *argument)
{
    struct bench *bench = argument;
    struct co_group group;
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(stream_adopt(&bench->server, ends[0], true), OK);
    ck_assert_int_eq(stream_adopt(&bench->client, ends[1], true), OK);
    co_group_init(&group);
    ck_assert_int_eq(co_group_start(&group, server_main, bench, CO_LARGE), OK);
    ck_assert_int_eq(co_group_start(&group, client_main, bench, CO_LARGE), OK);
    co_group_join(&group);
    machine_stop();
}

static void bench_run(struct bench *bench)
{
    running = bench;
    bench->server = bench->client = STREAM_INIT;
    ck_assert_int_eq(machine_run("test", bench_main, bench), OK);
    tls_context_unref(&bench->server_context);
    tls_context_unref(&bench->client_context);
}

/* Handshake only, with these modes. */
static struct bench *shaken(enum tls_mode client, const char *host)
{
    static struct bench bench;
    bench = (struct bench){.server_context = server_context(TLS_MODE_REQUIRE),
                           .client_context = client_context(client),
                           .host = host};
    bench_run(&bench);
    return &bench;
}

static void expect_closed(struct stream *stream)
{
    size_t got;
    char byte;
    ck_assert_int_eq(stream_read(stream, &byte, 1, &got, after(patience)), FAULT_CLOSED);
}

/* --- sessions --------------------------------------------------------------------------------- */

static void says_hello(struct bench *bench)
{
    char text[128];
    ck_assert_int_eq(stream_write(&bench->client, SPAN("hello"), after(patience)), OK);
    ck_assert_int_eq(stream_read_all(&bench->client, text, 5, after(patience)), OK);
    ck_assert_int_eq(memcmp(text, "HELLO", 5), 0);
    stream_tls_text(&bench->client, text, sizeof(text));
    ck_assert_str_eq(text, "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519");
    ck_assert(stream_quiet(&bench->client));
}

static void answers_hello(struct bench *bench)
{
    char text[128];
    ck_assert_int_eq(stream_read_all(&bench->server, text, 5, after(patience)), OK);
    ck_assert_int_eq(memcmp(text, "hello", 5), 0);
    ck_assert_int_eq(stream_write(&bench->server, SPAN("HELLO"), after(patience)), OK);
    expect_closed(&bench->server);
    stream_tls_text(&bench->server, text, sizeof(text));
    ck_assert_str_eq(text, "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519");
}

TEST(bytes_go_both_ways_and_the_session_says_what_it_is)
{
    struct bench bench = {.server_context = server_context(TLS_MODE_ALLOW),
                          .client_context = client_context(TLS_MODE_PREFER),
                          .server_part = answers_hello,
                          .client_part = says_hello};
    bench_run(&bench);
    ck_assert_int_eq(bench.server_result, OK);
    ck_assert_int_eq(bench.client_result, OK);
}
END_TEST

enum { BULK = 3 * 1000 * 1000 + 7 };
/* What is sent: bytes that tell where they belong. */
static uint8_t bulk[BULK];

static void sends_bulk(struct bench *bench)
{
    size_t done = 0;
    while (done < BULK) {
        /* Parts of odd sizes: empty, short, and longer than a record. */
        size_t sizes[] = {1, 0, 700, 3, 20000, 16384, 250000};
        struct iovec parts[ARRAY_SIZE(sizes)];
        size_t at = done;
        size_t sent;
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            parts[i] = (struct iovec){bulk + at, MIN_OF(sizes[i], BULK - at)};
            at += parts[i].iov_len;
        }
        fault result = stream_write_some(&bench->server, parts, ARRAY_SIZE(parts), &sent);
        if (result == FAULT_AGAIN) {
            ck_assert_int_eq(stream_wait(&bench->server, POLL_WRITE, after(patience)), OK);
            continue;
        }
        ck_assert_int_eq(result, OK);
        ck_assert_uint_gt(sent, 0);
        ck_assert_uint_le(sent, at - done);
        done += sent;
    }
    while (stream_flush_some(&bench->server) == FAULT_AGAIN) {
        ck_assert(!stream_quiet(&bench->server));
        ck_assert_int_eq(stream_wait(&bench->server, POLL_WRITE, after(patience)), OK);
    }
    ck_assert(stream_quiet(&bench->server));
    expect_closed(&bench->server);
}

static void reads_bulk(struct bench *bench)
{
    static uint8_t bytes[100000];
    size_t done = 0;
    for (size_t turn = 0; done < BULK; turn++) {
        size_t got;
        ck_assert_int_eq(stream_read(&bench->client, bytes, turn % 7 == 0 ? 1 : sizeof(bytes), &got,
                                     after(patience)),
                         OK);
        ck_assert_uint_le(got, BULK - done);
        ck_assert_int_eq(memcmp(bytes, bulk + done, got), 0);
        done += got;
    }
    ck_assert_uint_eq(done, BULK);
}

TEST(megabytes_arrive_whole_however_they_were_cut)
{
    struct bench bench = {.server_context = server_context(TLS_MODE_REQUIRE),
                          .client_context = client_context(TLS_MODE_REQUIRE),
                          .server_part = sends_bulk,
                          .client_part = reads_bulk};
    for (size_t i = 0; i < BULK; i++)
        bulk[i] = (uint8_t)((i * 2654435761u) >> 13);
    bench_run(&bench);
    ck_assert_int_eq(bench.server_result, OK);
}
END_TEST

/* --- certificates ----------------------------------------------------------------------------- */

TEST(a_certificate_is_held_against_the_name_that_was_asked_for)
{
    ck_assert_int_eq(shaken(TLS_MODE_VERIFY_FULL, "db.test")->client_result, OK);
    ck_assert_int_eq(shaken(TLS_MODE_VERIFY_FULL, "a.wild.test")->client_result, OK);
    ck_assert_int_eq(shaken(TLS_MODE_VERIFY_FULL, "127.0.0.1")->client_result, OK);
    struct bench *bench = shaken(TLS_MODE_VERIFY_FULL, "other.test");
    ck_assert_int_eq(bench->client_result, FAULT_TLS);
    ck_assert_ptr_nonnull(strstr(bench->client_story, "ostname mismatch"));
    bench = shaken(TLS_MODE_VERIFY_FULL, "127.0.0.2");
    ck_assert_int_eq(bench->client_result, FAULT_TLS);
    ck_assert_ptr_nonnull(strstr(bench->client_story, "IP address mismatch"));
    ck_assert_int_eq(shaken(TLS_MODE_VERIFY_FULL, NULL)->client_result, FAULT_TLS);
    ck_assert_int_eq(shaken(TLS_MODE_VERIFY_CA, "other.test")->client_result, OK);
    ck_assert_int_eq(shaken(TLS_MODE_REQUIRE, "other.test")->client_result, OK);
}
END_TEST

TEST(a_certificate_of_another_authority_is_refused_and_both_ends_say_why)
{
    struct pki other = {0};
    pki_init(&other);
    struct bench bench = {.server_context = server_context(TLS_MODE_REQUIRE),
                          .client_context = context(&(struct tls_settings){
                              .mode = TLS_MODE_VERIFY_CA, .authorities = other.ca})};
    bench_run(&bench);
    pki_fini(&other);
    ck_assert_int_eq(bench.client_result, FAULT_TLS);
    ck_assert_ptr_nonnull(strstr(bench.client_story, "unable to get local issuer certificate"));
    ck_assert_int_eq(bench.server_result, FAULT_TLS);
    ck_assert_ptr_nonnull(strstr(bench.server_story, "alert unknown ca"));
}
END_TEST

TEST(without_authorities_the_systems_own_are_asked)
{
    struct bench bench = {.server_context = server_context(TLS_MODE_REQUIRE),
                          .client_context =
                              context(&(struct tls_settings){.mode = TLS_MODE_VERIFY_CA})};
    bench_run(&bench);
    ck_assert_int_eq(bench.client_result, FAULT_TLS);
}
END_TEST

static void learns_its_refusal(struct bench *bench)
{
    /* In TLS 1.3 a client has finished before its certificate is judged. */
    size_t got;
    char byte;
    ck_assert_int_eq(stream_read(&bench->client, &byte, 1, &got, after(patience)), FAULT_TLS);
    ck_assert_ptr_nonnull(strstr(fault_detail(FAULT_TLS), "certificate required"));
}

TEST(a_listener_that_verifies_wants_a_certificate_of_its_authority)
{
    struct bench bench = {.server_context = server_context(TLS_MODE_VERIFY_CA),
                          .client_context = client_context(TLS_MODE_REQUIRE),
                          .client_part = learns_its_refusal};
    bench_run(&bench);
    ck_assert_int_eq(bench.server_result, FAULT_TLS);
    ck_assert_ptr_nonnull(strstr(bench.server_story, "peer did not return a certificate"));
    bench = (struct bench){
        .server_context = server_context(TLS_MODE_VERIFY_FULL),
        .client_context = context(&(struct tls_settings){
            .mode = TLS_MODE_REQUIRE, .certificate = pki.client, .key = pki.client_key}),
        .server_part = answers_hello,
        .client_part = says_hello};
    bench_run(&bench);
    ck_assert_int_eq(bench.server_result, OK);
}
END_TEST

static const char *refusal(const struct tls_settings *settings)
{
    struct tls_context *made = NULL;
    ck_assert_int_eq(tls_context_new(settings, &made), FAULT_TLS);
    ck_assert_ptr_null(made);
    return fault_detail(FAULT_TLS);
}

TEST(files_that_can_not_be_used_are_named_with_the_reason)
{
    const char *detail = refusal(&(struct tls_settings){
        .mode = TLS_MODE_REQUIRE, .certificate = "/no/such.crt", .server = true});
    ck_assert_str_eq(detail, "certificate \"/no/such.crt\": No such file or directory");
    detail = refusal(&(struct tls_settings){.mode = TLS_MODE_REQUIRE,
                                            .certificate = pki.server,
                                            .key = pki.client_key,
                                            .server = true});
    ck_assert_ptr_nonnull(strstr(detail, "client.key\": key values mismatch"));
    detail = refusal(&(struct tls_settings){
        .mode = TLS_MODE_REQUIRE, .certificate = pki.server, .key = pki.ca, .server = true});
    ck_assert_ptr_nonnull(strstr(detail, "ca.crt\": "));
    detail =
        refusal(&(struct tls_settings){.mode = TLS_MODE_VERIFY_CA, .authorities = pki.client_key});
    ck_assert_ptr_nonnull(strstr(detail, "certificate authorities \""));
    detail = refusal(&(struct tls_settings){.mode = TLS_MODE_REQUIRE, .server = true});
    ck_assert_str_eq(detail, "a TLS listener needs a certificate");
}
END_TEST

/* --- ends that do not behave ------------------------------------------------------------------ */

/* The client's end is a bare descriptor that the test plays itself, on the machine's thread. */
struct bare {
    struct tls_context *context;
    const char *bytes; /* sent instead of a ClientHello, then the end */
    fault result;
    char detail[256];
};

static void bare_main(void *argument)
{
    struct bare *bare = argument;
    struct stream stream = STREAM_INIT;
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(stream_adopt(&stream, ends[0], true), OK);
    ck_assert_int_eq(send(ends[1], bare->bytes, strlen(bare->bytes), 0),
                     (ssize_t)strlen(bare->bytes));
    if (*bare->bytes == '\0')
        close(ends[1]);
    bare->result = stream_tls_accept(&stream, bare->context, SPAN_NONE, after(patience));
    snprintf(bare->detail, sizeof(bare->detail), "%s", fault_detail(bare->result));
    if (*bare->bytes != '\0')
        close(ends[1]);
    stream_close(&stream);
    machine_stop();
}

TEST(what_is_no_handshake_is_told_apart_from_an_end)
{
    struct bare bare = {.context = server_context(TLS_MODE_REQUIRE), .bytes = "GET / HTTP/1.0\r\n"};
    ck_assert_int_eq(machine_run("test", bare_main, &bare), OK);
    ck_assert_int_eq(bare.result, FAULT_TLS);
    ck_assert_str_eq(bare.detail, "http request");
    bare.bytes = "";
    ck_assert_int_eq(machine_run("test", bare_main, &bare), OK);
    ck_assert_int_eq(bare.result, FAULT_CLOSED);
    tls_context_unref(&bare.context);
}
END_TEST

static void stalls(struct bench *bench)
{
    ck_assert_int_eq(stream_write(&bench->client, SPAN("last words"), after(patience)), OK);
    /* The end without close_notify: the socket goes, the session stays behind. */
    os->shut(bench->client.handle);
}

static void hears_the_end(struct bench *bench)
{
    char text[10];
    ck_assert_int_eq(stream_read_all(&bench->server, text, 10, after(patience)), OK);
    expect_closed(&bench->server);
    expect_closed(&bench->server);
}

TEST(an_end_without_a_goodbye_is_an_end)
{
    struct bench bench = {.server_context = server_context(TLS_MODE_REQUIRE),
                          .client_context = client_context(TLS_MODE_REQUIRE),
                          .server_part = hears_the_end,
                          .client_part = stalls};
    bench_run(&bench);
    ck_assert_int_eq(bench.server_result, OK);
}
END_TEST

static void hangs_up(struct bench *bench)
{
    os->shut(bench->server.handle);
}

/* The peer has gone, so the goodbye can't be sent; why the connection is closed is another detail.
 */
static void closes_with_a_story(struct bench *bench)
{
    while (!stream_hung_up(&bench->client))
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    (void)fault_raise_state(FAULT_UPSTREAM, "57P03", "the database system is starting up");
    stream_close(&bench->client);
    ck_assert_str_eq(fault_detail(FAULT_UPSTREAM), "the database system is starting up");
    ck_assert_str_eq(fault_detail_sqlstate(FAULT_UPSTREAM), "57P03");
}

TEST(closing_a_session_whose_peer_has_gone_keeps_the_story)
{
    struct bench bench = {.server_context = server_context(TLS_MODE_REQUIRE),
                          .client_context = client_context(TLS_MODE_REQUIRE),
                          .server_part = hangs_up,
                          .client_part = closes_with_a_story};
    bench_run(&bench);
    ck_assert_int_eq(bench.client_result, OK);
}
END_TEST

static void handshakes_with_nobody(void *argument)
{
    struct bench *bench = argument;
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(stream_adopt(&bench->client, ends[0], true), OK);
    bench->client_result =
        stream_tls_connect(&bench->client, bench->client_context, NULL, after(ms(10)));
    stream_close(&bench->client);
    close(ends[1]);
    machine_stop();
}

TEST(a_handshake_ends_at_its_deadline)
{
    struct bench bench = {.client_context = client_context(TLS_MODE_REQUIRE),
                          .client = STREAM_INIT};
    ck_assert_int_eq(machine_run("test", handshakes_with_nobody, &bench), OK);
    ck_assert_int_eq(bench.client_result, FAULT_TIMEOUT);
    tls_context_unref(&bench.client_context);
}
END_TEST

/* --- what lies between socket and session ----------------------------------------------------- */

static void sends_two_records(struct bench *bench)
{
    ck_assert_int_eq(stream_write(&bench->client, SPAN("first"), after(patience)), OK);
    ck_assert_int_eq(stream_write(&bench->client, SPAN("second"), after(patience)), OK);
    expect_closed(&bench->client);
}

static void reads_piecemeal(struct bench *bench)
{
    char text[16];
    size_t got;
    ck_assert_int_eq(stream_read(&bench->server, text, 1, &got, after(patience)), OK);
    /* Both records are in one recv's bytes, or will be: no event tells of what is inside. */
    ck_assert(stream_may_read(&bench->server));
    ck_assert(!stream_quiet(&bench->server));
    ck_assert_int_eq(stream_read_all(&bench->server, text, 10, after(patience)), OK);
    ck_assert_int_eq(memcmp(text, "irstsecond", 10), 0);
    ck_assert_int_eq(stream_read_some(&bench->server, text, 1, &got), FAULT_AGAIN);
    ck_assert(!stream_may_read(&bench->server));
    ck_assert(stream_quiet(&bench->server));
}

TEST(bytes_inside_the_session_are_seen_without_an_event)
{
    struct bench bench = {.server_context = server_context(TLS_MODE_REQUIRE),
                          .client_context = client_context(TLS_MODE_REQUIRE),
                          .server_part = reads_piecemeal,
                          .client_part = sends_two_records};
    bench_run(&bench);
    ck_assert_int_eq(bench.server_result, OK);
}
END_TEST

/* A wire between the two ends that can be held in the middle of a record. */
static const struct os *true_os;
static struct os wire_os;
static size_t wire_max = SIZE_MAX; /* bytes that the server may still receive */

static int64_t wire_recv(int handle, void *bytes, size_t size)
{
    if (handle != running->server.handle)
        return true_os->recv(handle, bytes, size);
    if (wire_max == 0)
        return -EAGAIN;
    int64_t got = true_os->recv(handle, bytes, MIN_OF(size, wire_max));
    if (got > 0 && wire_max != SIZE_MAX)
        wire_max -= (size_t)got;
    return got;
}

static void sends_when_told(struct bench *bench)
{
    char byte;
    ck_assert_int_eq(stream_read_all(&bench->client, &byte, 1, after(patience)), OK);
    sends_two_records(bench);
}

static void reads_half_a_record(struct bench *bench)
{
    char text[16];
    size_t got;
    ck_assert_int_eq(stream_read_some(&bench->server, text, sizeof(text), &got), FAULT_AGAIN);
    ck_assert_int_eq(stream_write(&bench->server, SPAN("!"), after(patience)), OK);
    wire_max = 10;
    ck_assert_int_eq(stream_wait(&bench->server, POLL_READ, after(patience)), OK);
    ck_assert_int_eq(stream_read_some(&bench->server, text, sizeof(text), &got), FAULT_AGAIN);
    ck_assert(!stream_may_read(&bench->server));
    ck_assert(!stream_quiet(&bench->server));
    wire_max = SIZE_MAX;
    bench->server.ready |= POLL_READ;
    ck_assert_int_eq(stream_read_all(&bench->server, text, 11, after(patience)), OK);
    ck_assert_int_eq(memcmp(text, "firstsecond", 11), 0);
}

TEST(half_a_record_is_neither_quiet_nor_worth_reading)
{
    struct bench bench = {.server_context = server_context(TLS_MODE_REQUIRE),
                          .client_context = client_context(TLS_MODE_REQUIRE),
                          .server_part = reads_half_a_record,
                          .client_part = sends_when_told};
    true_os = os;
    wire_os = *os;
    wire_os.recv = wire_recv;
    os = &wire_os;
    bench_run(&bench);
    os = true_os;
    ck_assert_int_eq(bench.server_result, OK);
}
END_TEST

/* --- other programs' ends --------------------------------------------------------------------- */

/* An OpenSSL client on a blocking socket and a thread of its own. */
struct foreign {
    int handle;
    int version; /* the newest it speaks */
    bool updates_key;
};

static void *foreign_main(void *argument)
{
    const struct foreign *foreign = argument;
    char text[8];
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(made);
    SSL_set_max_proto_version(ssl, foreign->version);
    SSL_set_fd(ssl, foreign->handle);
    ck_assert_int_eq(SSL_connect(ssl), 1);
    if (foreign->updates_key)
        ck_assert_int_eq(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    ck_assert_int_eq(SSL_write(ssl, "hello", 5), 5);
    ck_assert_int_eq(SSL_read(ssl, text, sizeof(text)), 5);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    SSL_CTX_free(made);
    close(foreign->handle);
    return NULL;
}

struct hosting {
    struct foreign foreign;
    struct tls_context *context;
    const char *text; /* expected */
};

static void hosting_main(void *argument)
{
    struct hosting *hosting = argument;
    struct stream stream = STREAM_INIT;
    char text[128];
    pthread_t thread;
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    hosting->foreign.handle = ends[1];
    pthread_create(&thread, NULL, foreign_main, &hosting->foreign);
    ck_assert_int_eq(stream_adopt(&stream, ends[0], true), OK);
    ck_assert_int_eq(stream_tls_accept(&stream, hosting->context, SPAN_NONE, after(patience)), OK);
    ck_assert_int_eq(stream_read_all(&stream, text, 5, after(patience)), OK);
    ck_assert_int_eq(stream_write(&stream, SPAN("HELLO"), after(patience)), OK);
    stream_tls_text(&stream, text, sizeof(text));
    ck_assert_str_eq(text, hosting->text);
    expect_closed(&stream);
    stream_close(&stream);
    pthread_join(thread, NULL);
    machine_stop();
}

TEST(keys_may_be_updated_in_mid_session)
{
    struct hosting hosting = {.foreign = {.version = TLS1_3_VERSION, .updates_key = true},
                              .context = server_context(TLS_MODE_REQUIRE),
                              .text = "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519"};
    ck_assert_int_eq(machine_run("test", hosting_main, &hosting), OK);
    tls_context_unref(&hosting.context);
}
END_TEST

TEST(tls_1_2_is_spoken_too)
{
    struct hosting hosting = {.foreign = {.version = TLS1_2_VERSION},
                              .context = server_context(TLS_MODE_REQUIRE),
                              .text = "TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384/ECDH=X25519"};
    ck_assert_int_eq(machine_run("test", hosting_main, &hosting), OK);
    tls_context_unref(&hosting.context);
}
END_TEST

/* --- memory ----------------------------------------------------------------------------------- */

enum { IDLE = 100, IDLE_BYTES_MAX = 20 * 1024 };

struct crowd {
    int listener_ends[IDLE];
    struct tls_context *context;
    struct stream streams[IDLE];
};

/* The peers of the idle sessions: another process, so that they don't count. */
static void crowd_of_clients(const int *handles)
{
    static SSL *sessions[IDLE];
    char byte;
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    for (size_t i = 0; i < IDLE; i++) {
        sessions[i] = SSL_new(made);
        SSL_set_fd(sessions[i], handles[i]);
        if (SSL_connect(sessions[i]) != 1 || SSL_write(sessions[i], "x", 1) != 1)
            _exit(1);
    }
    /* Until the other side hangs up. */
    _exit(read(handles[0], &byte, 1) >= 0 ? 0 : 1);
}

static size_t crowd_accept(struct crowd *crowd, size_t from, size_t to)
{
    size_t before = mallinfo2().uordblks;
    for (size_t i = from; i < to; i++) {
        char byte;
        fcntl(crowd->listener_ends[i], F_SETFL, O_NONBLOCK);
        crowd->streams[i] = STREAM_INIT;
        ck_assert_int_eq(stream_adopt(&crowd->streams[i], crowd->listener_ends[i], true), OK);
        ck_assert_int_eq(
            stream_tls_accept(&crowd->streams[i], crowd->context, SPAN_NONE, after(patience)), OK);
        ck_assert_int_eq(stream_read_all(&crowd->streams[i], &byte, 1, after(patience)), OK);
        ck_assert(stream_quiet(&crowd->streams[i]));
    }
    return mallinfo2().uordblks - before;
}

static void crowd_main(void *argument)
{
    struct crowd *crowd = argument;
    /* The first ones pay for what is made once. */
    (void)crowd_accept(crowd, 0, 10);
    size_t each = crowd_accept(crowd, 10, IDLE) / (IDLE - 10);
    printf("# %zu bytes of heap for an idle TLS 1.3 session\n", each);
    ck_assert_uint_le(each, IDLE_BYTES_MAX);
    for (size_t i = 0; i < IDLE; i++)
        stream_close(&crowd->streams[i]);
    machine_stop();
}

TEST(an_idle_session_keeps_no_buffers)
{
    static struct crowd crowd;
    int handles[IDLE];
    int status;
    crowd.context = server_context(TLS_MODE_REQUIRE);
    for (size_t i = 0; i < IDLE; i++) {
        int ends[2];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        crowd.listener_ends[i] = ends[0];
        handles[i] = ends[1];
    }
    pid_t child = fork();
    if (child == 0) {
        for (size_t i = 0; i < IDLE; i++)
            close(crowd.listener_ends[i]);
        crowd_of_clients(handles);
    }
    for (size_t i = 0; i < IDLE; i++)
        close(handles[i]);
    ck_assert_int_eq(machine_run("test", crowd_main, &crowd), OK);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    tls_context_unref(&crowd.context);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        bytes_go_both_ways_and_the_session_says_what_it_is,
        megabytes_arrive_whole_however_they_were_cut,
        a_certificate_is_held_against_the_name_that_was_asked_for,
        a_certificate_of_another_authority_is_refused_and_both_ends_say_why,
        without_authorities_the_systems_own_are_asked,
        a_listener_that_verifies_wants_a_certificate_of_its_authority,
        files_that_can_not_be_used_are_named_with_the_reason,
        what_is_no_handshake_is_told_apart_from_an_end,
        an_end_without_a_goodbye_is_an_end,
        closing_a_session_whose_peer_has_gone_keeps_the_story,
        a_handshake_ends_at_its_deadline,
        bytes_inside_the_session_are_seen_without_an_event,
        half_a_record_is_neither_quiet_nor_worth_reading,
        keys_may_be_updated_in_mid_session,
        tls_1_2_is_spoken_too,
        an_idle_session_keeps_no_buffers,
        NULL,
    };
    pki_init(&pki);
    int result = unit_run("tls", tests, NULL, NULL);
    pki_fini(&pki);
    return result;
}
