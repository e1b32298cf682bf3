#pragma once
/*
 * flight_analyze.h - the analysis of a text, on an offload thread.
 */
#include "base/fault.h"
#include "base/span.h"
#include "base/time.h"

struct query_analysis;

/** Analyzes a text; the caller owns the result.  Suspends.  Faults: MEMORY, TIMEOUT, CANCELLED. */
fault flight_analyze(struct span text, deadline by, struct query_analysis **ret) MUST_USE;
