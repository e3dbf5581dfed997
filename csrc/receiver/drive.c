/* The receiving side of a local copy, in the thread that sees signals. */
#include "receiver/receiving_inner.h"

#include <time.h>

#define SLICE_MS 50                  /* until the caller is asked back */
#define ANSWERS_WAIT (4u << 20)      /* bytes that the sender has not taken: no more requests then */

static i64 now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int put_answers(ps_receiving *p, ps_local *l) {
    size_t n;
    const u8 *data = ps_receiving_out(p, &n);
    if (!local_answer(l, data, n)) return PS_FAIL;
    ps_receiving_sent(p, n);
    return PS_OK;
}

void ps_receiving_last_words(ps_receiving *p, ps_local *l) { put_answers(p, l); }

/* What the sender has said. While it works for us there will be more; else the files under way are waited for first. */
static int take(ps_receiving *p, ps_local *l, bool idle) {
    const u8 *data = NULL;
    size_t n = 0;
    if (!p->feeding) {
        local_state found = local_receive(l, idle ? SLICE_MS : 0, true, &data, &n);
        if (found == LOCAL_NOTHING && idle) {
            int status = ps_receiving_settle(p);
            if (status != PS_AGAIN) return status;
            found = local_receive(l, SLICE_MS, false, &data, &n);
        }
        if (found != LOCAL_DATA) return found == LOCAL_ENDED ? PS_DONE : PS_AGAIN;
    }
    int status = ps_receiving_feed_from(p, data, n);
    p->feeding = status == PS_FULL;
    return status == PS_DONE ? PS_OK : status;
}

int ps_receiving_drive(ps_receiving *p, ps_local *l) {
    i64 until = now_ms() + SLICE_MS;
    do {
        int status = local_waiting(l) > ANSWERS_WAIT ? PS_AGAIN : ps_receiving_step(p);
        if (status == PS_FAIL) return PS_FAIL;
        if (buf_used(&p->c->log) || p->c->events.count) return PS_OK; /* texts overtake what is still to be said */
        if (put_answers(p, l) != PS_OK) return PS_FAIL;
        if (status == PS_DONE) return PS_DONE;
        if (p->stage == RECEIVING_OVER) continue;
        int taken = take(p, l, status == PS_AGAIN);
        if (taken == PS_FAIL || taken == PS_DONE) return taken == PS_DONE ? PS_AGAIN : PS_FAIL;
    } while (now_ms() < until);
    return PS_OK;
}
