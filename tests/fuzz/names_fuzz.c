/* What names become: raw answers to A and AAAA, and the text of a hosts file.  The first byte says
 * which. */
#include "base/check.h"
#include "fuzz.h"
#include "machine/dns_parts.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_answer answer = {.ttl = NO_LIMIT};
    if (size == 0)
        return 0;
    /* Exactly as long as the input, so that a read behind it is seen. */
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    struct span rest = span_skip(span_of(copy, size), 1);
    if (*copy == 'h') {
        dns_hosts_find(rest, "db.test", 5432, &answer);
    } else {
        int type = *copy == '4' ? DNS_TYPE_A : DNS_TYPE_AAAA;
        int status = dns_answer_read(type, rest, 5432, &answer);
        invariant(status <= 0 && (status == 0) == (answer.count > 0));
    }
    check_answer(&answer);
    free(copy);
    return 0;
}
