#pragma once
/*
 * flight_once_parts.h - one of several coroutines asks, and the others wait for what it finds.
 *
 * Flights of one text begin together, and each needs the verdict on it.  On one relay.
 */
#include "base/fault.h"
#include "base/list.h"

struct co;

struct flight_once {
    struct node node; /* in the list of all that ask or wait */
    struct span key;  /* borrowed */
    struct co *co;
    bool asks;
};

/** Waits while another coroutine asks for the same key.  With OK the caller asks, unless what it
 *  wants has been found meanwhile, and leaves then.  Suspends.  Faults: CANCELLED. */
fault flight_once_enter(struct list *all, struct flight_once *once, struct span key) MUST_USE;
void flight_once_leave(struct list *all, struct flight_once *once);
