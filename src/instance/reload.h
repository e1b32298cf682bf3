#pragma once
/*
 * reload.h - loads a version of the configuration while the pooler runs: elsewhere, as files block.
 */
#include "base/buffer.h"
#include "config/config.h"

/** As config_load_with, on an offload thread.  Suspends.  Faults: as config_load; SYSTEM,
 * CANCELLED. */
fault reload_load(const char *path, uint64_t version, struct span overrides, struct config **ret,
                  struct buffer *report) MUST_USE;
