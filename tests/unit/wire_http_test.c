/* wire_http_test.c - the status of an HTTP answer. */
#include "unit.h"
#include "wire/http.h"

static fault status_of(const char *answer, uint32_t *ret)
{
    return wire_read_http_status(span_text(answer), ret);
}

TEST(the_status_of_patronis_answers)
{
    uint32_t status = 0;
    ck_assert_int_eq(status_of("HTTP/1.0 200 OK\r\n"
                               "Server: BaseHTTP/0.6 Python/3.11.2\r\n"
                               "Date: Mon, 23 Nov 2026 08:21:50 GMT\r\n"
                               "Content-Type: application/json\r\n\r\n{\"state\": \"running\"}",
                               &status),
                     OK);
    ck_assert_uint_eq(status, 200);
    ck_assert_int_eq(status_of("HTTP/1.0 503 Service Unavailable\r\n\r\n", &status), OK);
    ck_assert_uint_eq(status, 503);
    ck_assert_int_eq(status_of("HTTP/1.1 404\r\nConnection:close\r\nX:\r\n\r\n", &status), OK);
    ck_assert_uint_eq(status, 404);
}
END_TEST

TEST(an_answer_may_come_in_pieces)
{
    static const char answer[] = "HTTP/1.0 503 Service Unavailable\r\nServer: x\r\n\r\n";
    uint32_t status = 0;
    for (size_t size = 0; size < sizeof(answer) - 1; size++)
        ck_assert_int_eq(wire_read_http_status(span_of(answer, size), &status), FAULT_AGAIN);
    ck_assert_int_eq(wire_read_http_status(span_of(answer, sizeof(answer) - 1), &status), OK);
    ck_assert_uint_eq(status, 503);
}
END_TEST

TEST(anything_else_is_malformed)
{
    static const char *const answers[] = {
        "E",
        "SSH-2.0-OpenSSH_9.2p1\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.x 200 OK\r\n\r\n",
        "HTTP/1.0  200 OK\r\n\r\n",
        "HTTP/1.0 20\r\n\r\n",
        "HTTP/1.0 2000\r\n\r\n",
        "HTTP/1.0 2o0 OK\r\n\r\n",
        "HTTP/1.0 099 OK\r\n\r\n",
        "HTTP/1.0 600 OK\r\n\r\n",
        "HTTP/1.0 200 OK\n\n",
        "HTTP/1.0 200 O\tK\x01\r\n\r\n",
        "HTTP/1.0 200 OK\r\nno field\r\n\r\n",
        "HTTP/1.0 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.0 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.0 200 OK\r\nA: b\n\r\n",
    };
    uint32_t status;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
        ck_assert_msg(status_of(answers[i], &status) == FAULT_PROTOCOL, "%s", answers[i]);
    static const uint8_t nul[] = "HTTP/1.0 200 OK\r\nA\0: b\r\n\r\n";
    ck_assert_int_eq(wire_read_http_status(span_of(nul, sizeof(nul) - 1), &status), FAULT_PROTOCOL);
}
END_TEST

TESTS("wire_http", the_status_of_patronis_answers, an_answer_may_come_in_pieces,
      anything_else_is_malformed)
