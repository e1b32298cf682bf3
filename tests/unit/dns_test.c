#include "machine/clock.h"
#include "machine/co.h"
#include "machine/dns_parts.h"
#include "machine/os_linux_dns.h"
#include "machine/stream.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- a name server with a script -------------------------------------------------------------- */

enum { NAME_ERROR = 3, SERVER_FAILURE = 2, REFUSED = 5, SILENCE = 100, GARBAGE = 101 };

/* What is answered to a question of this name and type.  `data`: address, or alias target. */
struct record {
    const char *name;
    int type;
    int code; /* response code, or SILENCE or GARBAGE */
    const char *data[3];
    uint32_t ttl;
    const char *alias; /* the name's canonical one, sent in front of the addresses */
};

static const struct record script[] = {
    {.name = "both.test", .type = DNS_TYPE_A, .data = {"192.0.2.1", "192.0.2.2"}, .ttl = 300},
    {.name = "both.test", .type = DNS_TYPE_AAAA, .data = {"2001:db8::1"}, .ttl = 60},
    {.name = "four.test", .type = DNS_TYPE_A, .data = {"192.0.2.3"}, .ttl = 0},
    {.name = "four.test", .type = DNS_TYPE_AAAA},
    {.name = "lame.test", .type = DNS_TYPE_A, .data = {"192.0.2.4"}, .ttl = 5},
    {.name = "lame.test", .type = DNS_TYPE_AAAA, .code = SILENCE},
    {.name = "alias.test",
     .type = DNS_TYPE_A,
     .data = {"192.0.2.5"},
     .ttl = 900,
     .alias = "true.test"},
    {.name = "alias.test", .type = DNS_TYPE_AAAA, .code = SERVER_FAILURE},
    {.name = "none.test", .type = DNS_TYPE_A},
    {.name = "none.test", .type = DNS_TYPE_AAAA},
    {.name = "broken.test", .type = DNS_TYPE_A, .code = SERVER_FAILURE},
    {.name = "broken.test", .type = DNS_TYPE_AAAA, .code = SERVER_FAILURE},
    {.name = "refused.test", .type = DNS_TYPE_A, .code = REFUSED},
    {.name = "refused.test", .type = DNS_TYPE_AAAA, .code = REFUSED},
    {.name = "garbage.test", .type = DNS_TYPE_A, .code = GARBAGE},
    {.name = "garbage.test", .type = DNS_TYPE_AAAA, .code = GARBAGE},
    {.name = "silent.test", .type = DNS_TYPE_A, .code = SILENCE},
    {.name = "silent.test", .type = DNS_TYPE_AAAA, .code = SILENCE},
};

/* A message being written. */
struct packet {
    uint8_t at[512];
    size_t size;
};

static void put16(struct packet *packet, unsigned value)
{
    packet->at[packet->size++] = (uint8_t)(value >> 8);
    packet->at[packet->size++] = (uint8_t)value;
}

static void put_name(struct packet *packet, const char *name)
{
    while (*name != '\0') {
        size_t size = strcspn(name, ".");
        packet->at[packet->size++] = (uint8_t)size;
        memcpy(packet->at + packet->size, name, size);
        packet->size += size;
        name += size + (name[size] == '.');
    }
    packet->at[packet->size++] = 0;
}

static void put_record_head(struct packet *packet, const char *name, int type, uint32_t ttl)
{
    put_name(packet, name);
    put16(packet, (unsigned)type);
    put16(packet, 1);
    put16(packet, ttl >> 16);
    put16(packet, ttl & 0xffff);
}

/* The question's name as text, and its type; 0 when it is none. */
static int read_question(const uint8_t *bytes, size_t size, char *name, size_t *ret_end)
{
    size_t at = 12;
    size_t filled = 0;
    while (at < size && bytes[at] != 0 && filled + bytes[at] < 250) {
        memcpy(name + filled, bytes + at + 1, bytes[at]);
        filled += bytes[at];
        name[filled++] = '.';
        at += bytes[at] + 1u;
    }
    name[filled > 0 ? filled - 1 : 0] = '\0';
    *ret_end = at + 5;
    return at + 5 > size ? 0 : bytes[at + 1] << 8 | bytes[at + 2];
}

static const struct record *find_record(const char *name, int type)
{
    static const struct record unknown = {.code = NAME_ERROR};
    for (size_t i = 0; i < ARRAY_SIZE(script); i++)
        if (strcasecmp(script[i].name, name) == 0 && script[i].type == type)
            return &script[i];
    return &unknown;
}

static void put_records(struct packet *packet, const struct record *record)
{
    const char *owner = record->alias != NULL ? record->alias : record->name;
    int family = record->type == DNS_TYPE_A ? AF_INET : AF_INET6;
    size_t width = family == AF_INET ? 4 : 16;
    if (record->alias != NULL) {
        put_record_head(packet, record->name, 5, record->ttl / 2);
        put16(packet, (unsigned)strlen(record->alias) + 2);
        put_name(packet, record->alias);
    }
    for (size_t i = 0; i < ARRAY_SIZE(record->data) && record->data[i] != NULL; i++) {
        put_record_head(packet, owner, record->type, record->ttl);
        put16(packet, (unsigned)width);
        inet_pton(family, record->data[i], packet->at + packet->size);
        packet->size += width;
    }
}

/* The answer; of no size when there is none. */
static struct packet answer_to(const uint8_t *question, size_t size)
{
    struct packet packet = {0};
    char name[256] = "";
    size_t end;
    int type = size > 12 ? read_question(question, size, name, &end) : 0;
    const struct record *record = find_record(name, type);
    unsigned count = record->alias != NULL;
    for (size_t i = 0; i < ARRAY_SIZE(record->data); i++)
        count += record->data[i] != NULL;
    if (type == 0 || record->code == SILENCE)
        return packet;
    memcpy(packet.at, question, end);
    packet.size = end;
    packet.at[2] = 0x85;
    packet.at[3] = record->code < SILENCE ? (uint8_t)(0x80 | record->code) : 0x80;
    memset(packet.at + 6, 0, 6);
    packet.at[7] = (uint8_t)count;
    if (record->code == GARBAGE) {
        packet.at[7] = 3;
        packet.at[packet.size++] = 0xc0;
        return packet;
    }
    put_records(&packet, record);
    return packet;
}

static int server_socket = -1;
static int server_stop[2];
static int questions_seen; /* atomic */
static char server_text[64];

static void *server_main(void *argument)
{
    struct pollfd wait[] = {{.fd = server_socket, .events = POLLIN},
                            {.fd = server_stop[0], .events = POLLIN}};
    while (poll(wait, 2, -1) > 0 && wait[1].revents == 0) {
        uint8_t question[512];
        struct sockaddr_in from;
        socklen_t from_size = sizeof(from);
        ssize_t size = recvfrom(server_socket, question, sizeof(question), 0,
                                (struct sockaddr *)&from, &from_size);
        if (size <= 0)
            continue;
        __atomic_add_fetch(&questions_seen, 1, __ATOMIC_RELAXED);
        struct packet packet = answer_to(question, (size_t)size);
        if (packet.size > 0)
            sendto(server_socket, packet.at, packet.size, 0, (struct sockaddr *)&from, from_size);
    }
    return NULL;
}

/* --- the bench -------------------------------------------------------------------------------- */

struct ask {
    const char *host;
    duration wait;
    fault result;
    struct dns_answer answer;
    char detail[256];
};

static void ask_main(void *argument)
{
    struct ask *ask = argument;
    ask->result = dns_resolve(ask->host, 5432, &ask->answer, after(ask->wait));
    snprintf(ask->detail, sizeof(ask->detail), "%s", fault_detail(ask->result));
    machine_stop();
}

/* On a machine of its own, with the scripted server. */
static const struct ask *resolved_within(const char *host, duration wait)
{
    static struct ask ask;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    pthread_t server;
    server_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server_socket, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(getsockname(server_socket, (struct sockaddr *)&at, &size), 0);
    ck_assert_int_eq(pipe2(server_stop, O_CLOEXEC), 0);
    snprintf(server_text, sizeof(server_text), "127.0.0.1:%d", ntohs(at.sin_port));
    os_linux_dns_set(server_text, 50);
    pthread_create(&server, NULL, server_main, NULL);
    ask = (struct ask){.host = host, .wait = wait};
    ck_assert_int_eq(machine_run("test", ask_main, &ask), OK);
    close(server_stop[1]);
    pthread_join(server, NULL);
    close(server_stop[0]);
    close(server_socket);
    return &ask;
}

static const struct ask *resolved(const char *host)
{
    return resolved_within(host, sec(20));
}

static void expect(const struct dns_answer *answer, size_t place, const char *text)
{
    char found[ADDRESS_TEXT_SIZE];
    ck_assert_uint_lt(place, answer->count);
    ck_assert_str_eq(address_text(&answer->addresses[place], found, sizeof(found)), text);
}

/* --- without a server ------------------------------------------------------------------------- */

TEST(numbers_and_directories_need_no_server)
{
    const struct ask *ask = resolved("192.0.2.9");
    ck_assert_int_eq(ask->result, OK);
    ck_assert_uint_eq(ask->answer.count, 1);
    expect(&ask->answer, 0, "192.0.2.9:5432");
    ck_assert_int_eq(ask->answer.ttl.us, NO_LIMIT.us);
    expect(&resolved("::1")->answer, 0, "[::1]:5432");
    expect(&resolved("/run/x")->answer, 0, "/run/x/.s.PGSQL.5432");
    ck_assert_int_eq(resolved("")->result, FAULT_NAME);
    ck_assert_int_eq(questions_seen, 0);
}
END_TEST

TEST(a_star_is_every_address_of_every_family)
{
    const struct ask *ask = resolved("*");
    ck_assert_int_eq(ask->result, OK);
    expect(&ask->answer, ask->answer.count - 1, "0.0.0.0:5432");
    if (ask->answer.count > 1)
        expect(&ask->answer, 0, "[::]:5432");
    ck_assert_uint_le(ask->answer.count, 2);
}
END_TEST

TEST(a_hosts_file_is_read_by_lines_and_words)
{
    struct dns_answer answer = {.ttl = NO_LIMIT};
    struct span text = SPAN("# db.test\n"
                            "192.0.2.1\tother db.test # 192.0.2.9 db.test\n"
                            "  2001:db8::7 DB.Test\r\n"
                            "192.0.2.1 db.test again\n"
                            "nonsense db.test\n"
                            "/tmp db.test\n"
                            "@tmp db.test\n"
                            "\n"
                            "192.0.2.3 xdb.test db.testx\n"
                            "192.0.2.2 db.test");
    dns_hosts_find(text, "db.test", 1, &answer);
    ck_assert_uint_eq(answer.count, 3);
    expect(&answer, 0, "192.0.2.1:1");
    expect(&answer, 1, "[2001:db8::7]:1");
    expect(&answer, 2, "192.0.2.2:1");
}
END_TEST

TEST(a_name_in_the_hosts_file_is_not_asked_for)
{
    char path[] = "/tmp/dns_test.XXXXXX";
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(write(file, "192.0.2.77 both.test\n", 21), 21);
    close(file);
    dns_set_hosts_path(path);
    const struct ask *ask = resolved("both.test");
    ck_assert_int_eq(ask->result, OK);
    ck_assert_uint_eq(ask->answer.count, 1);
    expect(&ask->answer, 0, "192.0.2.77:5432");
    ck_assert_int_eq(questions_seen, 0);
    unlink(path);
}
END_TEST

/* --- with one --------------------------------------------------------------------------------- */

TEST(both_families_are_asked_and_the_shorter_life_counts)
{
    const struct ask *ask = resolved("both.test");
    ck_assert_int_eq(ask->result, OK);
    ck_assert_uint_eq(ask->answer.count, 3);
    expect(&ask->answer, 0, "192.0.2.1:5432");
    expect(&ask->answer, 1, "192.0.2.2:5432");
    expect(&ask->answer, 2, "[2001:db8::1]:5432");
    ck_assert_int_eq(ask->answer.ttl.us, sec(60).us);
}
END_TEST

TEST(one_family_is_enough)
{
    const struct ask *ask = resolved("four.test");
    ck_assert_int_eq(ask->result, OK);
    ck_assert_uint_eq(ask->answer.count, 1);
    ck_assert_int_eq(ask->answer.ttl.us, 0);
}
END_TEST

TEST(a_server_that_ignores_one_family_does_not_hold_up_the_other)
{
    const struct ask *ask = resolved("lame.test");
    ck_assert_int_eq(ask->result, OK);
    expect(&ask->answer, 0, "192.0.2.4:5432");
}
END_TEST

TEST(an_alias_is_followed_and_its_life_counts_too)
{
    const struct ask *ask = resolved("alias.test");
    ck_assert_int_eq(ask->result, OK);
    expect(&ask->answer, 0, "192.0.2.5:5432");
    ck_assert_int_eq(ask->answer.ttl.us, sec(450).us);
}
END_TEST

TEST(what_goes_wrong_is_told_apart)
{
    static const struct {
        const char *host;
        const char *detail;
    } cases[] = {
        {"unknown.test", "host \"unknown.test\" could not be resolved: no such name"},
        {"none.test", "host \"none.test\" could not be resolved: the name has no address"},
        {"broken.test", "host \"broken.test\" could not be resolved: every name server failed, "
                        "refused or can't be reached"},
        {"refused.test", "host \"refused.test\" could not be resolved: every name server failed, "
                         "refused or can't be reached"},
        {"garbage.test", "host \"garbage.test\" could not be resolved: malformed answer"},
        {"silent.test", "host \"silent.test\" could not be resolved: no name server answered"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct ask *ask = resolved(cases[i].host);
        ck_assert_int_eq(ask->result, FAULT_NAME);
        ck_assert_str_eq(ask->detail, cases[i].detail);
    }
}
END_TEST

TEST(a_deadline_ends_the_wait_and_the_questions_die_with_their_machine)
{
    ck_assert_int_eq(resolved_within("silent.test", ms(5))->result, FAULT_TIMEOUT);
}
END_TEST

TEST(an_answer_cut_anywhere_is_refused_and_harmless)
{
    struct packet packet = {.size = 12, .at = {0, 1, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0}};
    put_name(&packet, "both.test");
    put16(&packet, DNS_TYPE_A);
    put16(&packet, 1);
    put_records(&packet, &script[0]);
    for (size_t size = 0; size < packet.size; size++) {
        struct dns_answer answer = {.ttl = NO_LIMIT};
        ck_assert_int_lt(dns_answer_read(DNS_TYPE_A, span_of(packet.at, size), 1, &answer), 0);
        ck_assert_uint_eq(answer.count, 0);
    }
    struct dns_answer answer = {.ttl = NO_LIMIT};
    ck_assert_int_eq(dns_answer_read(DNS_TYPE_A, span_of(packet.at, packet.size), 1, &answer), 0);
    ck_assert_uint_eq(answer.count, 2);
    ck_assert_int_eq(dns_answer_read(DNS_TYPE_AAAA, span_of(packet.at, packet.size), 1, &answer),
                     -ENODATA);
}
END_TEST

/* Of a hosts file and of answers together. */
static struct dns_answer filled(unsigned before)
{
    char lines[1024] = "";
    size_t size = 0;
    struct dns_answer answer = {.ttl = NO_LIMIT};
    struct packet packet = {.size = 12, .at = {0, 1, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0}};
    for (unsigned i = 0; i < before; i++)
        size += (size_t)snprintf(lines + size, sizeof(lines) - size, "10.0.0.%u both.test\n", i);
    dns_hosts_find(span_text(lines), "both.test", 1, &answer);
    put_name(&packet, "both.test");
    put16(&packet, DNS_TYPE_A);
    put16(&packet, 1);
    put_records(&packet, &script[0]);
    ck_assert_int_eq(dns_answer_read(DNS_TYPE_A, span_of(packet.at, packet.size), 1, &answer), 0);
    return answer;
}

TEST(a_name_has_as_many_addresses_as_it_may_and_the_rest_is_left_out)
{
    struct dns_answer answer = filled(14);
    ck_assert_uint_eq(answer.count, 16);
    expect(&answer, 13, "10.0.0.13:1");
    expect(&answer, 15, "192.0.2.2:1");
    answer = filled(15);
    ck_assert_uint_eq(answer.count, 16);
    expect(&answer, 15, "192.0.2.1:1");
    answer = filled(17);
    ck_assert_uint_eq(answer.count, 16);
    expect(&answer, 15, "10.0.0.15:1");
}
END_TEST

TESTS("dns", numbers_and_directories_need_no_server, a_star_is_every_address_of_every_family,
      a_hosts_file_is_read_by_lines_and_words, a_name_in_the_hosts_file_is_not_asked_for,
      both_families_are_asked_and_the_shorter_life_counts, one_family_is_enough,
      a_server_that_ignores_one_family_does_not_hold_up_the_other,
      an_alias_is_followed_and_its_life_counts_too, what_goes_wrong_is_told_apart,
      a_deadline_ends_the_wait_and_the_questions_die_with_their_machine,
      an_answer_cut_anywhere_is_refused_and_harmless,
      a_name_has_as_many_addresses_as_it_may_and_the_rest_is_left_out)
