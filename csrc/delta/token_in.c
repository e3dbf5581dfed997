#include "delta/token.h"
#include "delta/token_coding.h"

#include <lz4.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum state {
    ST_FLAG,     /* a flag byte comes next */
    ST_CHUNK,    /* within compressed bytes */
    ST_RUN       /* repeats of a token run */
};

struct ps_token_in {
    ps_ctx *ctx;
    int kind;
    enum state state;
    u8 head[8];
    u32 head_have;
    u32 left;         /* plain: literal bytes to come; compressed: bytes of the chunk to come */
    i32 token, run;
    bool inflated;    /* zlib: deflated data came since the last token: the stream stands before a sync marker */
    bool more_output; /* zstd: the last call filled the output buffer */
    z_stream z;
    bool z_ready;
    ZSTD_DCtx *zstd;
    u8 *chunk;        /* lz4: a chunk that came in parts */
    u32 chunk_have, chunk_len;
    u8 *out;
    size_t out_size;
};

static size_t output_size(int kind) {
    if (kind == PS_Z_ZSTD) return ZSTD_DStreamOutSize() * 2;
    if (kind == PS_Z_LZ4) return (size_t)LZ4_compressBound(LZ4_PLAIN_MAX);
    return 65536;
}

ps_token_in *token_in_new(ps_ctx *c) {
    ps_token_in *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->ctx = c;
    t->kind = c->o.compress;
    if (t->kind == PS_Z_NONE) return t;
    t->out_size = output_size(t->kind);
    t->out = malloc(t->out_size);
    bool ok = t->out != NULL;
    if (t->kind == PS_Z_ZLIB || t->kind == PS_Z_ZLIBX) ok = ok && (t->z_ready = inflateInit2(&t->z, -15) == Z_OK);
    if (t->kind == PS_Z_ZSTD) ok = ok && (t->zstd = ZSTD_createDCtx());
    if (t->kind == PS_Z_LZ4) ok = ok && (t->chunk = malloc(CHUNK_MAX));
    if (ok) return t;
    token_in_free(t);
    return NULL;
}

void token_in_free(ps_token_in *t) {
    if (!t) return;
    if (t->z_ready) inflateEnd(&t->z);
    ZSTD_freeDCtx(t->zstd);
    free(t->chunk);
    free(t->out);
    free(t);
}

/* zlib starts afresh with each file; zstd's window goes on through the session. */
void token_in_begin(ps_token_in *t) {
    t->state = ST_FLAG;
    t->head_have = 0;
    t->left = 0;
    t->token = t->run = 0;
    t->inflated = t->more_output = false;
    if (t->z_ready) inflateReset(&t->z);
}

static ps_token_kind bad(ps_token_in *t, int code, const char *text) {
    ps_fail(t->ctx, code, 0, "%s", text);
    return PS_TOK_BAD;
}

/* Collects head bytes until there are `want`. PS_OK, PS_AGAIN, PS_FAIL. */
static int need_head(ps_token_in *t, ps_mux_in *m, ps_message_fn fn, void *owner, u32 want) {
    while (t->head_have < want) {
        const u8 *p;
        size_t n;
        int status = mux_span(t->ctx, m, &p, &n, fn, owner);
        if (status != PS_OK) return status;
        if (n > want - t->head_have) n = want - t->head_have;
        memcpy(t->head + t->head_have, p, n);
        t->head_have += (u32)n;
        mux_span_used(m, n);
    }
    return PS_OK;
}

static ps_token_kind no_input(int status) { return status == PS_FAIL ? PS_TOK_BAD : PS_TOK_MORE; }

static ps_token_kind next_plain(ps_token_in *t, ps_mux_in *m, ps_message_fn fn, void *owner, const u8 **data, size_t *len,
                                i32 *block) {
    if (!t->left) {
        int status = need_head(t, m, fn, owner, 4);
        if (status != PS_OK) return no_input(status);
        ps_reader r = rd_make(t->head, 4);
        i32 token = rd_i32(&r);
        t->head_have = 0;
        if (token == 0) return PS_TOK_END;
        if (token < 0) {
            *block = -(token + 1);
            return PS_TOK_BLOCK;
        }
        t->left = (u32)token;
    }
    int status = mux_span(t->ctx, m, data, len, fn, owner);
    if (status != PS_OK) return no_input(status);
    if (*len > t->left) *len = t->left;
    t->left -= (u32)*len;
    mux_span_used(m, *len);
    return PS_TOK_LITERAL;
}

/* Gives what inflate still holds, then passes the sync marker that the wire leaves out. LITERAL, or END for "passed". */
static ps_token_kind leave_deflated(ps_token_in *t, const u8 **data, size_t *len) {
    static const u8 marker[FLUSH_TAIL] = {0, 0, 0xff, 0xff};
    t->z.avail_in = 0;
    t->z.next_out = t->out;
    t->z.avail_out = (uInt)t->out_size;
    int r = inflate(&t->z, Z_SYNC_FLUSH);
    size_t n = t->out_size - t->z.avail_out;
    if (r != Z_OK && r != Z_BUF_ERROR) {
        ps_fail(t->ctx, 12, 0, "inflate flush returned %d (%zu bytes)", r, n);
        return PS_TOK_BAD;
    }
    if (n) {
        *data = t->out;
        *len = n;
        return PS_TOK_LITERAL;
    }
    if (!inflateSyncPoint(&t->z)) return bad(t, 12, "decompressor lost sync!");
    t->z.next_in = (Bytef *)(uintptr_t)marker;
    t->z.avail_in = FLUSH_TAIL;
    inflate(&t->z, Z_SYNC_FLUSH);
    t->inflated = false;
    return PS_TOK_END;
}

/* Takes compressed bytes from p; *used of them. LITERAL with data, MORE when nothing came out, BAD. */
static ps_token_kind unpack_zlib(ps_token_in *t, const u8 *p, size_t n, size_t *used, size_t *len) {
    t->z.next_in = (Bytef *)(uintptr_t)p;
    t->z.avail_in = (uInt)n;
    t->z.next_out = t->out;
    t->z.avail_out = (uInt)t->out_size;
    int r = inflate(&t->z, Z_NO_FLUSH);
    *used = n - t->z.avail_in;
    *len = t->out_size - t->z.avail_out;
    if (r != Z_OK) {
        ps_fail(t->ctx, 12, 0, "inflate returned %d (%zu bytes)", r, *len);
        return PS_TOK_BAD;
    }
    return *len ? PS_TOK_LITERAL : PS_TOK_MORE;
}

static ps_token_kind unpack_zstd(ps_token_in *t, const u8 *p, size_t n, size_t *used, size_t *len) {
    ZSTD_inBuffer in = {p, n, 0};
    ZSTD_outBuffer out = {t->out, t->out_size, 0};
    size_t r = ZSTD_decompressStream(t->zstd, &out, &in);
    *used = in.pos;
    *len = out.pos;
    if (ZSTD_isError(r)) {
        ps_fail(t->ctx, 12, 0, "ZSTD decomp returned %s (%zu bytes)", ZSTD_getErrorName(r), *len);
        return PS_TOK_BAD;
    }
    t->more_output = out.pos == out.size;
    return *len ? PS_TOK_LITERAL : PS_TOK_MORE;
}

/* lz4 chunks are independent and must be whole. */
static ps_token_kind unpack_lz4(ps_token_in *t, const u8 *p, size_t n, size_t *used, size_t *len) {
    const u8 *whole = p;
    *used = n;
    *len = 0;
    if (t->chunk_have || n < t->chunk_len) {
        memcpy(t->chunk + t->chunk_have, p, n);
        t->chunk_have += (u32)n;
        if (t->chunk_have < t->chunk_len) return PS_TOK_MORE;
        whole = t->chunk;
    }
    t->chunk_have = 0;
    int got = LZ4_decompress_safe((const char *)whole, (char *)t->out, (int)t->chunk_len, (int)t->out_size);
    if (got < 0) {
        ps_fail(t->ctx, 12, 0, "uncompress failed: %d", got);
        return PS_TOK_BAD;
    }
    *len = (size_t)got;
    return got ? PS_TOK_LITERAL : PS_TOK_MORE;
}

static ps_token_kind next_of_chunk(ps_token_in *t, ps_mux_in *m, ps_message_fn fn, void *owner, const u8 **data, size_t *len) {
    *data = t->out;
    while (t->left || t->more_output) {
        const u8 *p = NULL;
        size_t n = 0, used = 0;
        if (t->left) {
            int status = mux_span(t->ctx, m, &p, &n, fn, owner);
            if (status != PS_OK && !t->more_output) return no_input(status);
            if (status == PS_FAIL) return PS_TOK_BAD;
            if (n > t->left) n = t->left;
        }
        ps_token_kind kind = t->kind == PS_Z_ZSTD  ? unpack_zstd(t, p, n, &used, len)
                             : t->kind == PS_Z_LZ4 ? unpack_lz4(t, p, n, &used, len)
                                                   : unpack_zlib(t, p, n, &used, len);
        if (kind == PS_TOK_BAD) return kind;
        t->left -= (u32)used;
        if (used) mux_span_used(m, used);
        if (kind == PS_TOK_LITERAL) return kind;
    }
    t->state = ST_FLAG;
    return PS_TOK_MORE;
}

/* The token that a whole head names, and its run. */
static ps_token_kind take_token(ps_token_in *t, i32 *block) {
    u8 flag = t->head[0];
    ps_reader r = rd_make(t->head + 1, t->head_have - 1);
    bool run;
    if (flag & FLAG_TOKEN_REL) {
        i32 step = flag & 0x3f;
        if (t->token > TOKEN_MAX - step) return bad(t, 2, "invalid token number in compressed stream");
        t->token += step;
        run = flag & 0x40;
    } else {
        t->token = rd_i32(&r);
        if (t->token < 0 || t->token > TOKEN_MAX) return bad(t, 2, "invalid token number in compressed stream");
        run = flag & 1;
    }
    if (run) {
        t->run = rd_u16(&r);
        if (t->run == 0 || t->token > TOKEN_MAX - t->run) return bad(t, 2, "invalid token number in compressed stream");
        t->state = ST_RUN;
    }
    t->head_have = 0;
    *block = t->token;
    return PS_TOK_BLOCK;
}

/* Bytes of a head by its flag; 0 for a flag that means nothing. */
static u32 head_length(u8 flag) {
    if (flag & FLAG_TOKEN_REL) return flag & 0x40 ? 3 : 1;
    if (flag & FLAG_DEFLATED) return 2;
    if (flag == FLAG_TOKEN_LONG) return 5;
    if (flag == FLAG_TOKENRUN_LONG) return 7;
    return flag == FLAG_END;
}

static ps_token_kind next_compressed(ps_token_in *t, ps_mux_in *m, ps_message_fn fn, void *owner, const u8 **data, size_t *len,
                                     i32 *block) {
    for (;;) {
        if (t->state == ST_RUN) {
            if (--t->run == 0) t->state = ST_FLAG;
            *block = ++t->token;
            return PS_TOK_BLOCK;
        }
        if (t->state == ST_CHUNK) {
            ps_token_kind kind = next_of_chunk(t, m, fn, owner, data, len);
            if (kind != PS_TOK_MORE || t->state == ST_CHUNK) return kind;
            continue;
        }
        int status = need_head(t, m, fn, owner, 1);
        if (status != PS_OK) return no_input(status);
        u8 flag = t->head[0];
        u32 want = head_length(flag);
        if (!want) return bad(t, 2, "invalid token number in compressed stream");
        status = need_head(t, m, fn, owner, want);
        if (status != PS_OK) return no_input(status);
        if ((flag & 0xC0) == FLAG_DEFLATED) {
            t->left = t->chunk_len = (u32)(flag & 0x3f) << 8 | t->head[1];
            if (!t->left) return bad(t, 12, "an empty chunk in the compressed stream");
            t->head_have = 0;
            t->inflated = t->z_ready;
            t->state = ST_CHUNK;
            continue;
        }
        if (t->inflated) {
            ps_token_kind kind = leave_deflated(t, data, len);
            if (kind != PS_TOK_END) return kind;
        }
        if (flag != FLAG_END) return take_token(t, block);
        t->head_have = 0;
        return PS_TOK_END;
    }
}

ps_token_kind token_in_next(ps_token_in *t, ps_mux_in *m, ps_message_fn fn, void *owner, const u8 **data, size_t *len,
                            i32 *block) {
    *data = NULL;
    *len = 0;
    *block = -1;
    if (t->kind == PS_Z_NONE) return next_plain(t, m, fn, owner, data, len, block);
    return next_compressed(t, m, fn, owner, data, len, block);
}

/* Feeds n bytes to inflate and drops what comes out. */
static void drop_inflated(ps_token_in *t, const u8 *p, size_t n) {
    t->z.next_in = (Bytef *)(uintptr_t)p;
    t->z.avail_in = (uInt)n;
    do {
        t->z.next_out = t->out;
        t->z.avail_out = (uInt)t->out_size;
        int r = inflate(&t->z, Z_SYNC_FLUSH);
        if (r != Z_OK && r != Z_BUF_ERROR) {
            ps_fail(t->ctx, 12, 0, "inflate (token) returned %d", r);
            return;
        }
    } while (t->z.avail_in || t->z.avail_out == 0);
}

void token_in_see(ps_token_in *t, const u8 *data, size_t n) {
    if (t->kind != PS_Z_ZLIB) return;
    while (n) {
        size_t part = n < STORED_MAX ? n : STORED_MAX;
        u8 head[5] = {0, (u8)part, (u8)(part >> 8), (u8)~part, (u8)(~part >> 8)}; /* a stored block's header */
        drop_inflated(t, head, sizeof head);
        drop_inflated(t, data, part);
        if (t->ctx->o.protocol >= 31) data += part; /* older peers see the first part again: token.c keeps their bug */
        n -= part;
    }
}
