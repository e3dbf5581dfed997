/* Token streams of a remote: whatever comes, tokens, an end, or a refusal. First byte: compression kind, second: protocol,
 * third: bytes fed at a time (0: all). */
#include "delta/token.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int no_message(void *owner, u32 code, const u8 *data, u32 len) {
    (void)owner, (void)code, (void)data, (void)len;
    return PS_OK;
}

/* false: the stream ended or was refused. */
static bool take_all(ps_token_in *t, ps_mux_in *m, const u8 *block_data, size_t *budget) {
    const u8 *data;
    size_t len;
    i32 block;
    while (*budget) {
        ps_token_kind kind = token_in_next(t, m, no_message, NULL, &data, &len, &block);
        if (kind == PS_TOK_MORE) return true;
        if (kind == PS_TOK_BAD) return false;
        if (kind == PS_TOK_END) token_in_begin(t);
        if (kind == PS_TOK_BLOCK) token_in_see(t, block_data, 700);
        if (kind == PS_TOK_LITERAL && len && data[0] + data[len - 1] == 511) return false; /* both ends must be readable */
        --*budget;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const u8 block[700] = "matched data";
    if (size < 3) return 0;
    ps_ctx *c = ps_ctx_new();
    c->o.compress = data[0] % 5;
    c->o.protocol = 30 + data[1] % 3;
    size_t step = data[2] ? data[2] : size, budget = 20000;
    data += 3;
    size -= 3;
    ps_token_in *t = token_in_new(c);
    ps_mux_in m;
    mux_in_init(&m);
    m.plain = true;
    token_in_begin(t);
    for (size_t at = 0; at < size; at += step) {
        mux_in_feed(&m, data + at, size - at < step ? size - at : step);
        if (!take_all(t, &m, block, &budget)) break;
    }
    token_in_free(t);
    mux_in_free(&m);
    ps_ctx_free(c);
    return 0;
}
