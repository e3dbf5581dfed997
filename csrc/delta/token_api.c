#include "delta/token.h"
#include "api/token_api.h"

#include <stdlib.h>

struct ps_token_probe {
    ps_token_in *in;
    ps_token_out *out;
    ps_mux_in mux_in;
    ps_mux_out mux_out;
};

ps_token_probe *ps_token_probe_new(ps_ctx *c) {
    ps_token_probe *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    mux_in_init(&p->mux_in);
    mux_out_init(&p->mux_out);
    p->mux_in.plain = p->mux_out.plain = true;
    p->in = token_in_new(c);
    p->out = token_out_new(c);
    if (p->in && p->out) return p;
    ps_token_probe_free(p);
    return NULL;
}

void ps_token_probe_free(ps_token_probe *p) {
    if (!p) return;
    token_in_free(p->in);
    token_out_free(p->out);
    mux_in_free(&p->mux_in);
    mux_out_free(&p->mux_out);
    free(p);
}

int ps_token_probe_begin(ps_token_probe *p, bool compress_this_file) {
    token_out_begin(p->out, compress_this_file);
    return PS_OK;
}

int ps_token_probe_literal(ps_token_probe *p, const uint8_t *data, size_t n) {
    return token_out_literal(p->out, &p->mux_out, data, n);
}

int ps_token_probe_block(ps_token_probe *p, int32_t block, const uint8_t *data, size_t n) {
    return token_out_block(p->out, &p->mux_out, block, data, n);
}

int ps_token_probe_end(ps_token_probe *p) { return token_out_end(p->out, &p->mux_out); }

const uint8_t *ps_token_probe_encoded(ps_token_probe *p, size_t *len) {
    *len = buf_used(&p->mux_out.out);
    return buf_head(&p->mux_out.out);
}

void ps_token_probe_clear(ps_token_probe *p) { buf_clear(&p->mux_out.out); }
void ps_token_probe_begin_in(ps_token_probe *p) { token_in_begin(p->in); }
void ps_token_probe_feed(ps_token_probe *p, const uint8_t *data, size_t len) { mux_in_feed(&p->mux_in, data, len); }

static int no_message(void *owner, u32 code, const u8 *data, u32 len) {
    (void)owner, (void)code, (void)data, (void)len;
    return PS_OK;
}

int ps_token_probe_next(ps_token_probe *p, const uint8_t **data, size_t *len, int32_t *block) {
    return (int)token_in_next(p->in, &p->mux_in, no_message, p, data, len, block);
}

size_t ps_token_probe_left(const ps_token_probe *p) { return (size_t)(p->mux_in.raw_end - p->mux_in.raw); }
void ps_token_probe_see(ps_token_probe *p, const uint8_t *data, size_t n) { token_in_see(p->in, data, n); }

bool ps_token_skips(const char *patterns, const char *name) {
    ps_token_skip *s = token_skip_new(patterns);
    bool found = s && token_skip_match(s, name);
    token_skip_free(s);
    return found;
}
