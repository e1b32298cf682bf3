#include "flight/relation.h"

#include "base/map.h"

uint32_t flight_relation_number(struct span schema, struct span name)
{
    uint64_t hash = hash_data(name.at, name.size, hash_span(schema));
    return (uint32_t)(hash >> 32);
}
