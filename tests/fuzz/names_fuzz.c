/* What names become: raw answers to A and AAAA, any raw answer record by record, and the texts of a
 * hosts file and of a resolv.conf.  The first byte says which. */
#include "base/check.h"
#include "fuzz.h"
#include "machine/dns_parts.h"
#include "machine/dns_system.h"

#include <stdlib.h>
#include <string.h>

static void check_answer(const struct dns_answer *answer)
{
    invariant(answer->count <= DNS_ADDRESSES_MAX && answer->ttl.us >= 0);
    for (size_t i = 0; i < answer->count; i++) {
        invariant(answer->addresses[i].family == ADDRESS_IPV4 ||
                  answer->addresses[i].family == ADDRESS_IPV6);
        invariant(answer->addresses[i].port == 5432);
    }
}

static void check_name(const char *name, bool may_be_empty)
{
    invariant(memchr(name, '\0', DNS_NAME_SIZE) != NULL);
    invariant(may_be_empty || *name != '\0');
    for (; *name != '\0'; name++)
        invariant(*name > ' ' && *name < 0x7f && (*name < 'A' || *name > 'Z'));
}

/* Reads every record.  A message that is read to its end has no more of them than it announced. */
static void check_message(struct span raw)
{
    struct dns_message message;
    struct dns_record record;
    struct dns_reply reply;
    if (dns_message_open(raw, &message)) {
        uint32_t announced = message.left[0] + message.left[1] + message.left[2];
        uint32_t count = 0;
        for (; dns_message_next(&message, &record); count++) {
            check_name(record.owner, record.type == 0);
            if (record.type == DNS_TYPE_SRV || record.type == DNS_TYPE_CNAME)
                check_name(record.target, false);
            invariant(record.ttl <= INT32_MAX);
        }
        invariant(message.malformed ? count < announced : count == announced);
    }
    enum dns_said said = dns_message_reply(raw, "db.test", DNS_TYPE_SRV, &reply);
    if (said != DNS_MALFORMED)
        invariant((said == DNS_RECORDS) == (reply.count > 0));
}

static void check_resolv_conf(struct span text)
{
    struct dns_system system = {.dots = 1};
    dns_system_parse(text, &system);
    invariant(system.server_count <= DNS_SERVERS_MAX && system.search_count <= DNS_SEARCH_MAX);
    for (size_t i = 0; i < system.search_count; i++)
        invariant(memchr(system.search[i], '\0', DNS_NAME_SIZE) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_answer answer = {.ttl = NO_LIMIT};
    uint8_t *memory;
    if (size == 0)
        return 0;
    struct span input = fuzz_copy(data, size, &memory), rest = span_skip(input, 1);
    if (*input.at == 'h') {
        dns_hosts_find(rest, "db.test", 5432, &answer);
    } else if (*input.at == 'm') {
        check_message(rest);
    } else if (*input.at == 'r') {
        check_resolv_conf(rest);
    } else {
        int type = *input.at == '4' ? DNS_TYPE_A : DNS_TYPE_AAAA;
        int status = dns_answer_read(type, rest, 5432, &answer);
        invariant(status <= 0 && (status == 0) == (answer.count > 0));
    }
    check_answer(&answer);
    free(memory);
    return 0;
}
