/* Answers of HTTP servers: however the bytes come in, the status is the same. */
#include "base/check.h"
#include "fuzz.h"
#include "wire/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t whole = 0, pieces = 0;
    fault found = wire_read_http_status(span_of(data, size), &whole);
    invariant(found == OK || found == FAULT_AGAIN || found == FAULT_PROTOCOL);
    invariant(found != OK || (whole >= 100 && whole <= 599));
    fault piece = FAULT_AGAIN;
    for (size_t have = 0; have <= size && piece == FAULT_AGAIN; have++)
        piece = wire_read_http_status(span_of(data, have), &pieces);
    invariant(piece == found && pieces == whole);
    return 0;
}
