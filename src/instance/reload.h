#pragma once
/*
 * reload.h - loads a configuration version while the pooler runs, on an offload thread because
 * files block.
 */
#include "base/buffer.h"
#include "config/config.h"

/** As config_load_with, on an offload thread.  Suspends.  Faults: those of config_load; SYSTEM,
 *  CANCELLED. */
fault reload_load(const char *path, uint64_t version, struct span overrides, struct config **ret,
                  struct buffer *report) MUST_USE;
