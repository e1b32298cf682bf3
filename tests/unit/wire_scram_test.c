#include "unit.h"
#include "wire/base64.h"
#include "wire/scram.h"

#include <stdio.h>

static const uint8_t client_random[SCRAM_NONCE] = "the client's nonce";
static const uint8_t server_random[SCRAM_NONCE] = "the server's nonce";
static const uint8_t salt[SCRAM_SALT] = "sixteen of salt";

/* One exchange between our two sides.  Few iterations, for speed. */
struct exchange {
    struct scram_keys keys;
    struct scram_verifier verifier;
    struct scram_server server;
    struct scram_client client;
    struct buffer client_first, server_first, client_final, server_final;
};

static void exchange_init(struct exchange *all)
{
    *all = (struct exchange){
        .client_first = BUFFER_INIT(SCRAM_MESSAGE_MAX),
        .server_first = BUFFER_INIT(SCRAM_MESSAGE_MAX),
        .client_final = BUFFER_INIT(SCRAM_MESSAGE_MAX),
        .server_final = BUFFER_INIT(SCRAM_MESSAGE_MAX),
    };
    scram_derive(SPAN("secret"), salt, sizeof(salt), 2, &all->keys);
    scram_verifier_of(&all->keys, &all->verifier);
}

static void exchange_fini(struct exchange *all)
{
    buffer_fini(&all->client_first);
    buffer_fini(&all->server_first);
    buffer_fini(&all->client_final);
    buffer_fini(&all->server_final);
}

/* Up to and with client-final. */
static void exchange_answer(struct exchange *all)
{
    scram_client_first(&all->client, client_random, &all->client_first);
    ck_assert_int_eq(scram_server_first(&all->server, buffer_span(&all->client_first),
                                        &all->verifier, server_random, &all->server_first),
                     OK);
    ck_assert_int_eq(scram_client_challenge(&all->client, buffer_span(&all->server_first)), OK);
    ck_assert_int_eq(scram_client_final(&all->client, &all->keys, &all->client_final), OK);
}

static fault exchange_prove(struct exchange *all, const char *client_final)
{
    buffer_clear(&all->server_final);
    return scram_server_final(&all->server, span_text(client_final), &all->verifier,
                              &all->server_final);
}

/* --- known vectors ---------------------------------------------------------------------------- */

#define RFC_NONCE        "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_SERVER_FIRST "r=" RFC_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define RFC_CLIENT_FINAL "c=biws,r=" RFC_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define RFC_SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

TEST(the_server_side_agrees_with_rfc_7677)
{
    struct scram_client challenged = {.nonce = "rOprNGfwEbeRWgbNEkqO"};
    ck_assert_int_eq(scram_client_challenge(&challenged, SPAN(RFC_SERVER_FIRST)), OK);
    struct scram_keys keys;
    struct scram_verifier verifier;
    scram_derive(SPAN("pencil"), challenged.salt, challenged.salt_size, 4096, &keys);
    scram_verifier_of(&keys, &verifier);
    struct scram_server server = {.client_first_bare = "n=user,r=rOprNGfwEbeRWgbNEkqO",
                                  .server_first = RFC_SERVER_FIRST,
                                  .nonce = RFC_NONCE,
                                  .binding = "biws"};
    struct buffer out = BUFFER_INIT(1024);
    ck_assert_int_eq(scram_server_final(&server, SPAN(RFC_CLIENT_FINAL), &verifier, &out), OK);
    ck_assert(span_is(buffer_span(&out), RFC_SERVER_FINAL));
    ck_assert_mem_eq(server.client_key, keys.client_key, SCRAM_KEY);
    buffer_fini(&out);
}
END_TEST

TEST(the_client_side_agrees_with_rfc_7677)
{
    struct scram_client client = {.nonce = "rOprNGfwEbeRWgbNEkqO",
                                  .client_first_bare = "n=user,r=rOprNGfwEbeRWgbNEkqO"};
    snprintf(client.binding, sizeof(client.binding), "biws");
    struct scram_keys keys;
    struct buffer out = BUFFER_INIT(1024);
    ck_assert_int_eq(scram_client_challenge(&client, SPAN(RFC_SERVER_FIRST)), OK);
    ck_assert_uint_eq(client.iterations, 4096);
    ck_assert_uint_eq(client.salt_size, 16);
    scram_derive(SPAN("pencil"), client.salt, client.salt_size, client.iterations, &keys);
    ck_assert_int_eq(scram_client_final(&client, &keys, &out), OK);
    ck_assert(span_is(buffer_span(&out), RFC_CLIENT_FINAL));
    ck_assert_int_eq(scram_client_check(&client, SPAN(RFC_SERVER_FINAL)), OK);
    buffer_fini(&out);
}
END_TEST

static void assert_verifier(const char *password, const char *text)
{
    struct scram_verifier stored, made;
    struct scram_keys keys;
    char again[SCRAM_VERIFIER_MAX];
    ck_assert_int_eq(scram_read_verifier(span_text(text), &stored), OK);
    scram_derive(span_text(password), stored.salt, stored.salt_size, stored.iterations, &keys);
    scram_verifier_of(&keys, &made);
    scram_print_verifier(&made, again);
    ck_assert_str_eq(again, text);
}

TEST(verifiers_are_those_that_postgres_15_makes)
{
    assert_verifier("pencil", "SCRAM-SHA-256$4096:xoqysy08lqJgWDKC6gyX/Q==$1gm6SfpQF8eM6NKDjpZl6GO+"
                              "kMm1yV9ISNk9CMHNyrI=:rFKh1hWSLKxWJbfn6nMwg9Kb4gK7fNTE3wC8MIdth2Y=");
    /* Already as SASLprep wants it. */
    assert_verifier("p\u00e4ss",
                    "SCRAM-SHA-256$4096:22qSVEw2iyh2eSN59kjO/Q==$88joXhadRThLMXb/UBMs5R"
                    "gZagGdmS/ARrDkhG7ZKWY=:KaK36zC4S7gj1t+kYwH9gzC2SG0Wbp0h2UXHwJXCBFM"
                    "=");
}
END_TEST

TEST(passwords_that_saslprep_refuses_are_hashed_raw_as_postgres_15_does)
{
    /* A code point that Unicode 3.2 did not know; both directions; a direction mark; nothing left.
     */
    assert_verifier("a\u1f600\u20bd",
                    "SCRAM-SHA-256$4096:PnPAx6m3qMpcvSYF6e01wQ==$pCCmjhCCtBnHdapbQ"
                    "8vi+0+C9SMf7pSktl8F0JOafXA=:Qbyi6VBL9gz8cS2qw6m/Uu25nJjgb9HKw"
                    "u4j6Tb8Nb4=");
    assert_verifier("\u0627a",
                    "SCRAM-SHA-256$4096:RJCODJwB4vissosNeXB5uQ==$xrAHREQ2EwoZ9jb/J7hgiALQ"
                    "eFCsmUgKJgQBoZjzSaA=:bSPo3ZFRrls1muH50TE06WS0X8olESS/JkB/aIcTvGg=");
    assert_verifier("a\u200e\u00e4",
                    "SCRAM-SHA-256$4096:Zg5gA5u3ZBqEpc838/ssiA==$rZKJNZds2+cKcswBsu"
                    "BPqjq9fWa9tx6jD0SQJ19R18U=:S7GldOadNkikZd06VALR1DC4iXU3eHy9L0Z"
                    "1r5FwD6U=");
    assert_verifier("\u00ad",
                    "SCRAM-SHA-256$4096:NPXp72stw0g8UuV4zPbgLQ==$JGwt0tRkPHGHjPuK2D66YWLzT"
                    "tn/6TXRYhuw9g0v58g=:+3EcAbDvwjxQGZ2KBVyrUki61+pLU64SkPeSYwxGA6s=");
}
END_TEST

#ifdef WITH_LIBIDN
TEST(passwords_are_respelled_as_postgres_15_does)
{
    /* A soft hyphen vanishes; a ligature and a combining accent are composed; a wide blank is one.
     */
    assert_verifier("I\u00adX",
                    "SCRAM-SHA-256$4096:yjtsYrxQ64R9DAoP6RGbcA==$hKo3Yx0vmT3U2tUugUWehyn"
                    "P77vHxVHS8XSRifI+XSo=:QevWohin+AJAJu7jVgw7XBqOx5Gq7vv4NL7NtiXtpnk="
                    "");
    assert_verifier("\ufb01n",
                    "SCRAM-SHA-256$4096:yb2CE33mKHaokJ1kkjbjOA==$ON3flkZ1Bsh/7M1i9YnEz2Nt"
                    "kDyzPWWMImGZLBdzmoM=:xM0brp+Q5hzmHVK/1LV8MBh1ID2rsRJu7QLWto9CFkg=");
    assert_verifier("pa\u0308ss",
                    "SCRAM-SHA-256$4096:BofK0v6cUyuH5HjzSwbDSw==$bF3+rWNbsTPjwgNkKN6QU"
                    "4SQNeO+lRs2Ud66rj1l/3s=:SVb1R0HdcWlzRatoiyuyHY0yLXHD3CaFSshluTbX8"
                    "Kw=");
    assert_verifier("a\u00a0b",
                    "SCRAM-SHA-256$4096:ccIRjnNJkFWA/n1PYEejXw==$/L1GWe2uBDCyxcYFdenDFbkw"
                    "HPjPJohk9JWYeEsvT8s=:4L4qQXPxGAUOG/ak2Fj8+z1dAC1TnASxUhTrsaIo01g=");
}
END_TEST
#else
TEST(passwords_are_respelled_as_postgres_15_does)
{
    /* Not in this build: they are hashed as they were typed. */
    struct scram_keys one, other;
    scram_derive(SPAN("I\u00adX"), salt, sizeof(salt), 1, &one);
    scram_derive(SPAN("IX"), salt, sizeof(salt), 1, &other);
    ck_assert_mem_ne(one.client_key, other.client_key, SCRAM_KEY);
}
END_TEST
#endif

TEST(any_bytes_and_any_length_make_a_password)
{
    struct scram_keys keys[6];
    static uint8_t wide[9000];
    memset(wide, 0xc3, sizeof(wide));
    const struct span passwords[6] = {
        SPAN_NONE,           SPAN("\xff\xfe"),      SPAN("\xc3"),
        SPAN("a\0\xc3\xa4"), SPAN("a\xed\xa0\x80"), span_of(wide, sizeof(wide)),
    };
    for (size_t i = 0; i < 6; i++) {
        scram_derive(passwords[i], salt, sizeof(salt), 1, &keys[i]);
        for (size_t j = 0; j < i; j++)
            ck_assert_mem_ne(keys[i].client_key, keys[j].client_key, SCRAM_KEY);
    }
}
END_TEST

/* --- verifiers -------------------------------------------------------------------------------- */

#define GOOD_KEY "1gm6SfpQF8eM6NKDjpZl6GO+kMm1yV9ISNk9CMHNyrI="

TEST(a_malformed_verifier_is_refused)
{
    struct scram_verifier verifier;
    static const char *const bad[] = {
        "",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-1$4096:c2FsdA==$" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$4096:c2FsdA==$" GOOD_KEY,
        "SCRAM-SHA-256$4096:c2FsdA==$" GOOD_KEY ":",
        "SCRAM-SHA-256$4096:c2FsdA==$:" GOOD_KEY,
        "SCRAM-SHA-256$4096:$" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$4096:c2FsdA=$" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$4096:c2FsdA==$" GOOD_KEY ":" GOOD_KEY "x",
        "SCRAM-SHA-256$4096:c2FsdA==$" GOOD_KEY ":" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$4096:c2FsdA==$c2FsdA==:" GOOD_KEY,
        "SCRAM-SHA-256$0:c2FsdA==$" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$-1:c2FsdA==$" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$ 1:c2FsdA==$" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$4096x:c2FsdA==$" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$10000001:c2FsdA==$" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$4294967297:c2FsdA==$" GOOD_KEY ":" GOOD_KEY,
        "SCRAM-SHA-256$:c2FsdA==$" GOOD_KEY ":" GOOD_KEY,
        "md50098e7fab7b4d8d091067152a80b3f12",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(scram_read_verifier(span_text(bad[i]), &verifier) == FAULT_PROTOCOL, "%s",
                      bad[i]);
    ck_assert_int_eq(
        scram_read_verifier(SPAN("SCRAM-SHA-256$1:c2FsdA==$" GOOD_KEY ":" GOOD_KEY), &verifier),
        OK);
    ck_assert_uint_eq(verifier.salt_size, 4);
}
END_TEST

TEST(a_verifier_with_the_largest_salt_goes_through_its_text)
{
    struct scram_verifier verifier = {.iterations = SCRAM_ITERATIONS_MAX,
                                      .salt_size = SCRAM_SALT_MAX};
    struct scram_verifier again;
    char text[SCRAM_VERIFIER_MAX];
    memset(verifier.salt, 0xff, sizeof(verifier.salt));
    scram_print_verifier(&verifier, text);
    ck_assert_int_eq(scram_read_verifier(span_text(text), &again), OK);
    ck_assert_uint_eq(again.iterations, SCRAM_ITERATIONS_MAX);
    ck_assert_uint_eq(again.salt_size, SCRAM_SALT_MAX);
    ck_assert_mem_eq(again.salt, verifier.salt, SCRAM_SALT_MAX);
    /* One byte more than we keep. */
    char longer[512], letters[WIRE_BASE64_SIZE(SCRAM_SALT_MAX + 1) + 1];
    uint8_t bytes[SCRAM_SALT_MAX + 1] = {0};
    wire_base64_encode(span_of(bytes, sizeof(bytes)), letters);
    snprintf(longer, sizeof(longer), "SCRAM-SHA-256$1:%s$" GOOD_KEY ":" GOOD_KEY, letters);
    ck_assert_int_eq(scram_read_verifier(span_text(longer), &again), FAULT_PROTOCOL);
}
END_TEST

TEST(keys_fit_one_salt_and_one_number_of_iterations)
{
    struct scram_keys keys;
    uint8_t other[SCRAM_SALT];
    scram_derive(SPAN("x"), salt, sizeof(salt), 3, &keys);
    memcpy(other, salt, sizeof(other));
    ck_assert(scram_keys_fit(&keys, other, sizeof(other), 3));
    ck_assert(!scram_keys_fit(&keys, other, sizeof(other), 4));
    ck_assert(!scram_keys_fit(&keys, other, sizeof(other) - 1, 3));
    other[15] ^= 1;
    ck_assert(!scram_keys_fit(&keys, other, sizeof(other), 3));
    keys = (struct scram_keys){0};
    ck_assert(!scram_keys_fit(&keys, other, 0, 0));
}
END_TEST

TEST(a_user_that_does_not_exist_has_a_stable_verifier_that_looks_like_any_other)
{
    static const uint8_t secret[32] = "kept as long as the process runs";
    static const uint8_t other_secret[32] = "another process";
    struct scram_verifier one, again, other, elsewhere;
    scram_mock_verifier(secret, SPAN("nobody"), &one);
    scram_mock_verifier(secret, SPAN("nobody"), &again);
    scram_mock_verifier(secret, SPAN("nobody2"), &other);
    scram_mock_verifier(other_secret, SPAN("nobody"), &elsewhere);
    ck_assert_mem_eq(one.salt, again.salt, SCRAM_SALT);
    ck_assert_mem_eq(one.stored_key, again.stored_key, SCRAM_KEY);
    ck_assert_uint_eq(one.iterations, SCRAM_ITERATIONS);
    ck_assert_uint_eq(one.salt_size, SCRAM_SALT);
    ck_assert_mem_ne(one.salt, other.salt, SCRAM_SALT);
    ck_assert_mem_ne(one.salt, elsewhere.salt, SCRAM_SALT);
    ck_assert_mem_ne(one.stored_key, one.server_key, SCRAM_KEY);
    scram_mock_verifier(secret, SPAN_NONE, &other);
}
END_TEST

/* --- the exchange ----------------------------------------------------------------------------- */

TEST(both_sides_agree_and_the_client_key_becomes_known)
{
    struct exchange all;
    exchange_init(&all);
    exchange_answer(&all);
    ck_assert_int_eq(scram_server_final(&all.server, buffer_span(&all.client_final), &all.verifier,
                                        &all.server_final),
                     OK);
    ck_assert_int_eq(scram_client_check(&all.client, buffer_span(&all.server_final)), OK);
    ck_assert_mem_eq(all.server.client_key, all.keys.client_key, SCRAM_KEY);
    exchange_fini(&all);
}
END_TEST

TEST(keys_passed_through_log_in_to_a_server_with_the_same_verifier)
{
    struct exchange first, second;
    exchange_init(&first);
    exchange_answer(&first);
    ck_assert_int_eq(scram_server_final(&first.server, buffer_span(&first.client_final),
                                        &first.verifier, &first.server_final),
                     OK);
    exchange_init(&second);
    struct scram_keys passed = {.iterations = first.verifier.iterations,
                                .salt_size = first.verifier.salt_size};
    memcpy(passed.salt, first.verifier.salt, sizeof(passed.salt));
    memcpy(passed.client_key, first.server.client_key, SCRAM_KEY);
    memcpy(passed.server_key, first.verifier.server_key, SCRAM_KEY);
    second.keys = passed;
    /* As often as servers are made. */
    for (int i = 0; i < 3; i++) {
        buffer_clear(&second.client_first);
        buffer_clear(&second.server_first);
        buffer_clear(&second.client_final);
        buffer_clear(&second.server_final);
        exchange_answer(&second);
        ck_assert_int_eq(scram_server_final(&second.server, buffer_span(&second.client_final),
                                            &second.verifier, &second.server_final),
                         OK);
        ck_assert_int_eq(scram_client_check(&second.client, buffer_span(&second.server_final)), OK);
    }
    exchange_fini(&first);
    exchange_fini(&second);
}
END_TEST

TEST(a_wrong_password_is_told_as_one_and_leaves_no_client_key)
{
    static const uint8_t none[SCRAM_KEY];
    struct exchange all;
    exchange_init(&all);
    scram_derive(SPAN("guess"), salt, sizeof(salt), 2, &all.keys);
    exchange_answer(&all);
    ck_assert_int_eq(scram_server_final(&all.server, buffer_span(&all.client_final), &all.verifier,
                                        &all.server_final),
                     FAULT_PASSWORD);
    ck_assert_uint_eq(all.server_final.size, 0);
    ck_assert_mem_eq(all.server.client_key, none, SCRAM_KEY);
    exchange_fini(&all);
}
END_TEST

static fault first_with(const char *client_first, struct scram_server *server)
{
    struct exchange all;
    exchange_init(&all);
    fault found = scram_server_first(server, span_text(client_first), &all.verifier, server_random,
                                     &all.server_first);
    ck_assert(found == OK ? all.server_first.size > 0 : all.server_first.size == 0);
    exchange_fini(&all);
    return found;
}

TEST(a_client_may_say_that_it_could_or_could_not_bind_but_not_that_it_does)
{
    struct scram_server server;
    ck_assert_int_eq(first_with("n,,n=,r=abc", &server), OK);
    ck_assert_str_eq(server.binding, "biws");
    ck_assert_str_eq(server.client_first_bare, "n=,r=abc");
    ck_assert_int_eq(first_with("y,,n=,r=abc", &server), OK);
    ck_assert_str_eq(server.binding, "eSws");
    ck_assert_int_eq(first_with("p=tls-server-end-point,,n=,r=abc", &server), FAULT_UNSUPPORTED);
    ck_assert_int_eq(first_with("n,a=other,n=,r=abc", &server), FAULT_UNSUPPORTED);
    ck_assert_int_eq(first_with("n,,m=must,n=,r=abc", &server), FAULT_UNSUPPORTED);
}
END_TEST

/* Writes over the beginning of a text. */
static void replace(char *text, const char *start)
{
    for (; *start != '\0'; start++)
        *text++ = *start;
}

TEST(the_flag_of_the_first_message_must_be_repeated_in_the_last)
{
    /* The proof covers the flag, so a client that mixes them is either broken or attacked. */
    struct exchange all;
    char wrong[SCRAM_MESSAGE_MAX];
    exchange_init(&all);
    exchange_answer(&all);
    snprintf(wrong, sizeof(wrong), "%.*s", SPAN_ARG(buffer_span(&all.client_final)));
    ck_assert_int_eq(exchange_prove(&all, wrong), OK);
    replace(wrong, "c=eSws");
    ck_assert_int_eq(exchange_prove(&all, wrong), FAULT_PROTOCOL);
    snprintf(all.server.binding, sizeof(all.server.binding), "eSws");
    ck_assert_int_eq(exchange_prove(&all, wrong), FAULT_PASSWORD);
    replace(wrong, "c=biws");
    ck_assert_int_eq(exchange_prove(&all, wrong), FAULT_PROTOCOL);
    exchange_fini(&all);
}
END_TEST

TEST(a_malformed_first_message_is_refused)
{
    struct scram_server server;
    static const char *const bad[] = {
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=,r=abc",
        "N,,n=,r=abc",
        "n=,r=a",
        "n,,n=",
        "n,,n=,",
        "n,,n=,r=",
        "n,,r=abc",
        "n,,n=,r=a c",
        "n,,,r=a",
        "n,,n=,r=a\x7f",
        "n,,n=,r=a\xc3\xa4",
        "n,,n=,r=a,,",
        "n,,n=,r=a,1=x",
        "n,,n=,r=a,x",
        "nn,n=,r=abc",
        "n,x,n=,r=abc",
        "n,,n,r=abc",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(first_with(bad[i], &server) == FAULT_PROTOCOL, "%s", bad[i]);
    ck_assert_int_eq(first_with("n,,n=ignored=2Cname,r=abc,x=extension", &server), OK);
    struct exchange all;
    exchange_init(&all);
    ck_assert_int_eq(scram_server_first(&server, SPAN("n,,n=,r=a\0b"), &all.verifier, server_random,
                                        &all.server_first),
                     FAULT_PROTOCOL);
    exchange_fini(&all);
}
END_TEST

TEST(nonces_and_messages_have_an_end)
{
    struct scram_server server;
    char message[SCRAM_MESSAGE_MAX + 10], nonce[SCRAM_NONCE_MAX + 2];
    memset(nonce, 'a', sizeof(nonce));
    nonce[SCRAM_NONCE_MAX + 1] = '\0';
    snprintf(message, sizeof(message), "n,,n=,r=%s", nonce);
    ck_assert_int_eq(first_with(message, &server), FAULT_PROTOCOL);
    snprintf(message, sizeof(message), "n,,n=,r=%s", nonce + 1);
    ck_assert_int_eq(first_with(message, &server), OK);
    ck_assert_uint_eq(strlen(server.nonce), SCRAM_NONCE_MAX + 24);
    /* The largest message, and one more byte. */
    memset(message, 'x', sizeof(message));
    memcpy(message, "n,,n=,r=abc,x=", 14);
    message[SCRAM_MESSAGE_MAX - 1] = '\0';
    ck_assert_int_eq(first_with(message, &server), OK);
    message[SCRAM_MESSAGE_MAX - 1] = 'x';
    message[SCRAM_MESSAGE_MAX] = '\0';
    ck_assert_int_eq(first_with(message, &server), FAULT_PROTOCOL);
}
END_TEST

TEST(a_malformed_last_message_is_refused)
{
    struct exchange all;
    char final[SCRAM_MESSAGE_MAX], wrong[2 * SCRAM_MESSAGE_MAX];
    exchange_init(&all);
    exchange_answer(&all);
    snprintf(final, sizeof(final), "%.*s", SPAN_ARG(buffer_span(&all.client_final)));
    size_t size = strlen(final);
    for (size_t cut = 0; cut < size; cut++) {
        ck_assert_int_eq(
            scram_server_final(&all.server, span_of(final, cut), &all.verifier, &all.server_final),
            FAULT_PROTOCOL);
    }
    static const char *const formats[] = {"%sx", "%s,x=y", "%s=", "x%s", ",%s", "%s\n", "%s,p=%s"};
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(wrong, sizeof(wrong), formats[i], final, final);
#pragma GCC diagnostic pop
        ck_assert_msg(exchange_prove(&all, wrong) == FAULT_PROTOCOL, "%s", formats[i]);
    }
    ck_assert_int_eq(exchange_prove(&all, final), OK);
    exchange_fini(&all);
}
END_TEST

TEST(the_last_message_must_repeat_the_whole_nonce)
{
    struct exchange all;
    char wrong[SCRAM_MESSAGE_MAX];
    exchange_init(&all);
    exchange_answer(&all);
    const char *proof = memmem(all.client_final.at, all.client_final.size, ",p=", 3);
    ck_assert_ptr_nonnull(proof);
    static const char *const tails[] = {"", "x"};
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        snprintf(wrong, sizeof(wrong), "c=biws,r=%.47s%s,p=" GOOD_KEY, all.server.nonce, tails[i]);
        ck_assert_int_eq(exchange_prove(&all, wrong), FAULT_PROTOCOL);
    }
    snprintf(wrong, sizeof(wrong), "c=biws,r=%s,x=ignored,p=" GOOD_KEY, all.server.nonce);
    ck_assert_int_eq(exchange_prove(&all, wrong), FAULT_PASSWORD);
    /* Without a first message there is no nonce that an empty one could repeat. */
    all.server = (struct scram_server){0};
    ck_assert_int_eq(exchange_prove(&all, "c=,r=,p=" GOOD_KEY), FAULT_PROTOCOL);
    exchange_fini(&all);
}
END_TEST

/* --- what a server may try -------------------------------------------------------------------- */

static fault challenge_with(const char *format, const char *nonce)
{
    struct scram_client client;
    struct buffer out = BUFFER_INIT(256);
    char message[2 * SCRAM_MESSAGE_MAX];
    scram_client_first(&client, client_random, &out);
    buffer_fini(&out);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(message, sizeof(message), format, client.nonce, nonce);
#pragma GCC diagnostic pop
    return scram_client_challenge(&client, span_text(message));
}

TEST(a_challenge_must_extend_our_nonce_and_not_without_end)
{
    char nonce[SCRAM_NONCE_MAX + 1];
    memset(nonce, 'a', sizeof(nonce));
    ck_assert_int_eq(challenge_with("r=%s%s,s=c2FsdA==,i=1", "x"), OK);
    ck_assert_int_eq(challenge_with("r=%s%s,s=c2FsdA==,i=1", ""), FAULT_PROTOCOL);
    ck_assert_int_eq(challenge_with("r=x%s%s,s=c2FsdA==,i=1", "x"), FAULT_PROTOCOL);
    ck_assert_int_eq(challenge_with("r=%.23s%s,s=c2FsdA==,i=1", "~~"), FAULT_PROTOCOL);
    ck_assert_int_eq(challenge_with("r=%s%s,s=c2FsdA==,i=1", "a b"), FAULT_PROTOCOL);
    nonce[SCRAM_NONCE_MAX - 24] = '\0';
    ck_assert_int_eq(challenge_with("r=%s%s,s=c2FsdA==,i=1", nonce), OK);
    nonce[SCRAM_NONCE_MAX - 24] = 'a';
    nonce[SCRAM_NONCE_MAX - 23] = '\0';
    ck_assert_int_eq(challenge_with("r=%s%s,s=c2FsdA==,i=1", nonce), FAULT_PROTOCOL);
}
END_TEST

TEST(a_challenge_has_a_salt_and_a_number_that_make_sense)
{
    static const char *const bad[] = {
        "r=%s%s",
        "r=%s%s,s=,i=4096",
        "r=%s%s,s=c2FsdA=,i=4096",
        "r=%s%s,s=c2F$dA==,i=4096",
        "r=%s%s,s=c2FsdB==,i=4096",
        "r=%s%s,s=c2FsdA==",
        "r=%s%s,s=c2FsdA==,i=",
        "r=%s%s,s=c2FsdA==,i=0",
        "r=%s%s,s=c2FsdA==,i=-1",
        "r=%s%s,s=c2FsdA==,i=+1",
        "r=%s%s,s=c2FsdA==,i= 1",
        "r=%s%s,s=c2FsdA==,i=1x",
        "r=%s%s,s=c2FsdA==,i=0x10",
        "r=%s%s,s=c2FsdA==,i=10000001",
        "r=%s%s,s=c2FsdA==,i=4294967297",
        "r=%s%s,s=c2FsdA==,i=99999999999999999999",
        "r=%s%s,s=c2FsdA==,i=4096,x=y",
        "m=must,r=%s%s,s=c2FsdA==,i=4096",
        "s=c2FsdA==,r=%s%s,i=4096",
        "r=%s%s,i=4096,s=c2FsdA==",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(challenge_with(bad[i], "x") == FAULT_PROTOCOL, "%s", bad[i]);
    ck_assert_int_eq(challenge_with("r=%s%s,s=c2FsdA==,i=10000000", "x"), OK);
}
END_TEST

TEST(keys_of_another_salt_do_not_answer_a_challenge)
{
    struct exchange all;
    exchange_init(&all);
    ck_assert_int_eq(scram_client_final(&all.client, &all.keys, &all.client_final), FAULT_AUTH);
    exchange_answer(&all);
    buffer_clear(&all.client_final);
    scram_derive(SPAN("secret"), salt, sizeof(salt), 3, &all.keys);
    ck_assert_int_eq(scram_client_final(&all.client, &all.keys, &all.client_final), FAULT_AUTH);
    ck_assert_uint_eq(all.client_final.size, 0);
    exchange_fini(&all);
}
END_TEST

TEST(a_server_that_does_not_know_the_password_is_found_out)
{
    struct exchange all;
    exchange_init(&all);
    exchange_answer(&all);
    ck_assert_int_eq(scram_client_check(&all.client, SPAN("v=" GOOD_KEY)), FAULT_AUTH);
    ck_assert_int_eq(scram_client_check(&all.client, SPAN("e=other-error")), FAULT_AUTH);
    ck_assert_int_eq(scram_client_check(&all.client, SPAN("v=")), FAULT_PROTOCOL);
    ck_assert_int_eq(scram_client_check(&all.client, SPAN("v=c2FsdA==")), FAULT_PROTOCOL);
    ck_assert_int_eq(scram_client_check(&all.client, SPAN("v=" GOOD_KEY ",x=y")), FAULT_PROTOCOL);
    ck_assert_int_eq(scram_client_check(&all.client, SPAN_NONE), FAULT_PROTOCOL);
    exchange_fini(&all);
}
END_TEST

TEST(a_server_that_skips_to_the_end_is_found_out)
{
    struct scram_client client;
    struct buffer out = BUFFER_INIT(256);
    scram_client_first(&client, client_random, &out);
    struct span zeros = SPAN("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    ck_assert_int_eq(scram_client_check(&client, zeros), FAULT_AUTH);
    buffer_fini(&out);
}
END_TEST

/* --- md5, base64 ------------------------------------------------------------------------------ */

TEST(md5_secrets_and_answers_are_those_of_postgres)
{
    char secret[MD5_TEXT], answer[MD5_TEXT], expected[MD5_TEXT];
    static const uint8_t four[4] = {0, 1, 0xfe, 0xff};
    md5_secret(SPAN("pencil"), SPAN("md5user"), secret);
    ck_assert_str_eq(secret, "md50098e7fab7b4d8d091067152a80b3f12");
    md5_answer(secret, four, answer);
    md5_secret(SPAN("0098e7fab7b4d8d091067152a80b3f12"), span_of(four, 4), expected);
    ck_assert_str_eq(answer, expected);
    md5_secret(SPAN_NONE, SPAN_NONE, secret);
    ck_assert_str_eq(secret, "md5d41d8cd98f00b204e9800998ecf8427e");
}
END_TEST

TEST(secrets_are_equal_only_when_all_of_them_is)
{
    ck_assert(secret_equal(SPAN("abc"), SPAN("abc")));
    ck_assert(!secret_equal(SPAN("abc"), SPAN("abd")));
    ck_assert(!secret_equal(SPAN("abc"), SPAN("ab")));
    ck_assert(!secret_equal(SPAN("abc"), SPAN_NONE));
    ck_assert(secret_equal(SPAN_NONE, SPAN_NONE));
}
END_TEST

TEST(base64_is_strict_and_goes_both_ways)
{
    uint8_t bytes[64], again[64];
    char text[WIRE_BASE64_SIZE(64) + 1];
    size_t size;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + 250);
    for (size_t count = 0; count <= sizeof(bytes); count++) {
        struct span written = span_of(text, wire_base64_encode(span_of(bytes, count), text));
        ck_assert(wire_base64_decode(written, again, count, &size));
        ck_assert(span_equal(span_of(again, size), span_of(bytes, count)));
        ck_assert(count == 0 || !wire_base64_decode(written, again, count - 1, &size));
    }
    static const char *const bad[] = {"A",    "AA",       "AAA",   "A===", "====", "AA=A", "AB==",
                                      "AAB=", "AA==AAAA", "AAA\n", " AAA", "AA-A", "AA_A", "AAAAA"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(!wire_base64_decode(span_text(bad[i]), again, sizeof(again), &size), "%s",
                      bad[i]);
}
END_TEST

static const uint8_t channel_bytes[32] = "the digest of some certificate";

/* What the server makes of a client with this flag, under an offer. */
static fault bound_exchange(char flag, const struct scram_offer *offer, const uint8_t *channel)
{
    struct scram_client client;
    struct scram_server server = {0};
    struct scram_keys keys;
    struct buffer out = BUFFER_INIT(2048), back = BUFFER_INIT(2048);
    struct span bound = flag == 'p' ? span_of(channel, 32) : SPAN_NONE;
    scram_client_begin(&client, client_random, flag, bound, &out);
    fault result = scram_server_begin(&server, buffer_span(&out), offer, &back);
    if (result == OK) {
        ck_assert_int_eq(scram_client_challenge(&client, buffer_span(&back)), OK);
        scram_derive(SPAN("secret"), client.salt, client.salt_size, client.iterations, &keys);
        buffer_clear(&out);
        buffer_clear(&back);
        ck_assert_int_eq(scram_client_final(&client, &keys, &out), OK);
        result = scram_server_final(&server, buffer_span(&out), offer->verifier, &back);
    }
    if (result == OK)
        ck_assert_int_eq(scram_client_check(&client, buffer_span(&back)), OK);
    buffer_fini(&out);
    buffer_fini(&back);
    return result;
}

START_TEST(a_channel_is_bound_to_or_missed)
{
    struct scram_keys keys;
    struct scram_verifier verifier;
    uint8_t other[32] = "the digest of an impostor's one";
    scram_derive(SPAN("secret"), (const uint8_t *)"salt", 4, 4096, &keys);
    scram_verifier_of(&keys, &verifier);
    struct scram_offer offer = {.verifier = &verifier, .random = server_random};
    ck_assert_int_eq(bound_exchange('n', &offer, NULL), OK);
    ck_assert_int_eq(bound_exchange('y', &offer, NULL), OK);
    ck_assert_int_eq(bound_exchange('p', &offer, channel_bytes), FAULT_UNSUPPORTED);
    offer.channel = span_of(channel_bytes, sizeof(channel_bytes));
    ck_assert_int_eq(bound_exchange('n', &offer, NULL), OK);
    ck_assert_int_eq(bound_exchange('y', &offer, NULL), FAULT_AUTH);
    ck_assert_int_eq(bound_exchange('p', &offer, channel_bytes), FAULT_UNSUPPORTED);
    offer.plus = true;
    ck_assert_int_eq(bound_exchange('p', &offer, channel_bytes), OK);
    ck_assert_int_eq(bound_exchange('p', &offer, other), FAULT_AUTH);
    ck_assert_int_eq(bound_exchange('n', &offer, NULL), FAULT_PROTOCOL);
    ck_assert_int_eq(bound_exchange('y', &offer, NULL), FAULT_PROTOCOL);
}
END_TEST

TESTS("wire_scram", the_server_side_agrees_with_rfc_7677, the_client_side_agrees_with_rfc_7677,
      verifiers_are_those_that_postgres_15_makes,
      passwords_that_saslprep_refuses_are_hashed_raw_as_postgres_15_does,
      passwords_are_respelled_as_postgres_15_does, any_bytes_and_any_length_make_a_password,
      a_malformed_verifier_is_refused, a_verifier_with_the_largest_salt_goes_through_its_text,
      keys_fit_one_salt_and_one_number_of_iterations,
      a_user_that_does_not_exist_has_a_stable_verifier_that_looks_like_any_other,
      both_sides_agree_and_the_client_key_becomes_known,
      keys_passed_through_log_in_to_a_server_with_the_same_verifier,
      a_wrong_password_is_told_as_one_and_leaves_no_client_key,
      a_client_may_say_that_it_could_or_could_not_bind_but_not_that_it_does,
      the_flag_of_the_first_message_must_be_repeated_in_the_last,
      a_malformed_first_message_is_refused, nonces_and_messages_have_an_end,
      a_malformed_last_message_is_refused, the_last_message_must_repeat_the_whole_nonce,
      a_challenge_must_extend_our_nonce_and_not_without_end,
      a_challenge_has_a_salt_and_a_number_that_make_sense,
      keys_of_another_salt_do_not_answer_a_challenge,
      a_server_that_does_not_know_the_password_is_found_out,
      a_server_that_skips_to_the_end_is_found_out, md5_secrets_and_answers_are_those_of_postgres,
      secrets_are_equal_only_when_all_of_them_is, base64_is_strict_and_goes_both_ways,
      a_channel_is_bound_to_or_missed)
