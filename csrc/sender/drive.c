/* The sender of a local copy, in a thread of its own. */
#include "sender/sender_inner.h"

#define CHUNK (256u * 1024u)        /* worth handing on while there is more to do */
#define LOG_WAITS (16u * 1024u)     /* bytes of messages that are not worth an interruption */

void ps_send_hands_over(ps_send *s, ps_local *l) { s->local = l; }

static int put_out(ps_send *s, ps_local *l) {
    mux_out_close_frame(&s->out);
    s->ctx->stats.total_written += (i64)buf_used(&s->out.out);
    return local_send(l, &s->out.out) ? PS_OK : ps_fail_memory(s->ctx, "output");
}

static bool has_news(const ps_send *s) { return buf_used(&s->ctx->log) || buf_used(&s->frames) || s->ctx->events.count; }

/* The receiver's answers, once the last ones are used up. What is to be shown is shown before the wait for them. */
static int take_answers(ps_send *s, ps_local *l) {
    if (!local_answers(l, &s->answers)) return PS_AGAIN;
    return ps_send_feed(s, buf_head(&s->answers), buf_used(&s->answers));
}

int ps_send_drive(ps_send *s, ps_local *l) {
    for (;;) {
        int status = ps_send_step(s);
        bool waits = status != PS_OK || buf_used(&s->out.out) >= CHUNK;
        if (waits && put_out(s, l) != PS_OK) return PS_FAIL;
        if (status == PS_FAIL || status == PS_DONE) return status;
        if (status == PS_FULL) local_wait_for_room(l);
        if (buf_used(&s->ctx->log) >= LOG_WAITS || (waits && has_news(s))) return PS_OK;
        if (status == PS_AGAIN && (status = take_answers(s, l)) != PS_OK) return status;
    }
}
