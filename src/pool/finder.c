#include "pool/finder_parts.h"

#include "fleet/resolver.h"

/* One row for each value of `resolver`. */
static const struct {
    const char *text;
    const struct finder_kind *kind;
} kinds[] = {
    [RESOLVER_FIXED] = {"fixed", &finder_hosts},
    [RESOLVER_DNS] = {"dns", &finder_records},
    [RESOLVER_SRV] = {"srv", &finder_records},
};

const struct finder_kind *finder_kind_of(const struct service_config *settings)
{
    invariant(settings->resolver < ARRAY_SIZE(kinds));
    return kinds[settings->resolver].kind;
}

const char *finder_text(const struct service_config *settings)
{
    invariant(settings->resolver < ARRAY_SIZE(kinds));
    return kinds[settings->resolver].text;
}
