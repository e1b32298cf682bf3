#pragma once
/* ids.h - new connection ids: UUIDv7 from the wall clock and the system's random bytes. */
#include "base/uuid.h"

struct uuid uuid_new(void);
/** Random bytes from the system's generator. */
void random_bytes(void *bytes, size_t size);
