/* PROXY headers: however the bytes come in, the answer is the same, and never a byte too many. */
#include "base/check.h"
#include "fuzz.h"
#include "link/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct link_proxied whole, pieces;
    size_t have = 0, more;
    fault found;
    /* As the reader would: what is asked for, and no more. */
    while ((found = link_proxy_decode(span_of(data, have), &pieces, &more)) == FAULT_AGAIN) {
        invariant(more > 0 && have + more <= LINK_PROXY_MAX);
        if (have + more > size)
            return 0;
        have += more;
    }
    invariant(found == OK || found == FAULT_PROTOCOL);
    invariant(link_proxy_decode(span_of(data, have), &whole, &more) == found);
    if (found != OK)
        return 0;
    invariant(whole.what == pieces.what && whole.behind == pieces.behind);
    invariant(whole.behind <= UINT16_MAX);
    invariant(whole.what != LINK_PROXY_FOR || whole.from.family == ADDRESS_IPV4 ||
              whole.from.family == ADDRESS_IPV6);
    /* A byte at a time says the same, or that more is needed, until it is all there. */
    for (size_t i = 0; i < have; i++)
        invariant(link_proxy_decode(span_of(data, i), &whole, &more) == FAULT_AGAIN &&
                  more <= have - i);
    return 0;
}
