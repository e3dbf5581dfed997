/* A reader of the multiplexed stream for Python: what comes before there is a pump is read piece by piece. */
#include "wire/mux.h"

#include <stdlib.h>

struct ps_demux {
    ps_ctx *ctx;
    ps_mux_in in;
    u32 code;       /* of the message at hand */
    ps_buf message;
};

ps_demux *ps_demux_new(ps_ctx *c) {
    ps_demux *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->ctx = c;
    mux_in_init(&d->in);
    d->in.plain = mux_input_is_plain(&c->o);
    return d;
}

void ps_demux_free(ps_demux *d) {
    if (!d) return;
    mux_in_free(&d->in);
    buf_free(&d->message);
    free(d);
}

static int keep_message(void *owner, u32 code, const u8 *data, u32 len) {
    ps_demux *d = owner;
    d->code = code;
    buf_clear(&d->message);
    if (!buf_put(&d->message, data, len)) return ps_fail_memory(d->ctx, "a message of the remote");
    return PS_FULL;
}

int ps_demux_next(ps_demux *d, const u8 *bytes, size_t len, size_t *used, u32 *code, const u8 **found, size_t *found_len) {
    *used = *found_len = 0;
    mux_in_feed(&d->in, bytes, len);
    int status = mux_span(d->ctx, &d->in, found, found_len, keep_message, d);
    if (status == PS_FULL) {
        *code = d->code;
        *found = buf_head(&d->message);
        *found_len = buf_used(&d->message);
        status = PS_OK;
    } else if (status == PS_OK) {
        *code = PS_MSG_DATA;
        mux_span_used(&d->in, *found_len);
    }
    *used = (size_t)(d->in.raw - bytes);
    return status;
}

u32 ps_demux_frame_left(const ps_demux *d) { return d->in.frame_left; }
