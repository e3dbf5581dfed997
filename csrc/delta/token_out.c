#include "delta/token.h"
#include "delta/token_coding.h"

#include <limits.h>
#include <lz4.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define NO_TOKEN (-1)  /* the file has just begun */
#define DATA_TOKEN (-2) /* literal data was the last */
#define PACKED_SIZE (4 * CHUNK_MAX)
#define LZ4_LEAST_EFFORT 65537 /* acceleration */

struct ps_token_out {
    ps_ctx *ctx;
    int kind;
    int level, least_level;
    bool compress; /* this file */
    i32 last_token, run_start, last_run_end;
    bool flush_pending;
    z_stream z;
    bool z_ready;
    ZSTD_CCtx *zstd;
    int zstd_level; /* of the open frame; INT_MIN: no frame is open */
    u8 *packed;     /* compressed bytes not yet sent */
    size_t have;
};

static int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

/* token.c:init_compression_level. That a level can mean "off" is settled before, where the kind is negotiated. */
static void choose_levels(ps_token_out *t) {
    int level = t->ctx->o.compress_level;
    if (t->kind == PS_Z_ZSTD) {
        t->least_level = ZSTD_minCLevel();
        t->level = level == INT_MIN || level == 0 ? ZSTD_CLEVEL_DEFAULT : clamp(level, t->least_level, ZSTD_maxCLevel());
    } else {
        t->least_level = Z_NO_COMPRESSION;
        t->level = level == INT_MIN || level == Z_DEFAULT_COMPRESSION ? 6 : clamp(level, 1, Z_BEST_COMPRESSION);
    }
}

ps_token_out *token_out_new(ps_ctx *c) {
    ps_token_out *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->ctx = c;
    t->kind = c->o.compress;
    t->compress = true;
    t->last_token = NO_TOKEN;
    t->zstd_level = INT_MIN;
    if (t->kind == PS_Z_NONE) return t;
    choose_levels(t);
    bool ok = (t->packed = malloc(PACKED_SIZE));
    if (t->kind == PS_Z_ZLIB || t->kind == PS_Z_ZLIBX)
        ok = ok && (t->z_ready = deflateInit2(&t->z, t->level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    if (t->kind == PS_Z_ZSTD) ok = ok && (t->zstd = ZSTD_createCCtx());
    if (ok) return t;
    token_out_free(t);
    return NULL;
}

void token_out_free(ps_token_out *t) {
    if (!t) return;
    if (t->z_ready) deflateEnd(&t->z);
    ZSTD_freeCCtx(t->zstd);
    free(t->packed);
    free(t);
}

void token_out_begin(ps_token_out *t, bool compress_this_file) {
    t->last_token = NO_TOKEN;
    t->run_start = t->last_run_end = 0;
    t->flush_pending = false;
    t->have = 0;
    bool changed = compress_this_file != t->compress;
    t->compress = compress_this_file;
    if (!t->z_ready) return;
    deflateReset(&t->z);
    if (changed) deflateParams(&t->z, compress_this_file ? t->level : t->least_level, Z_DEFAULT_STRATEGY);
}

static int put(ps_token_out *t, ps_mux_out *m, const void *data, size_t n) {
    return mux_out_data(m, data, n) ? PS_OK : ps_fail_memory(t->ctx, "output");
}

static int put_i32(ps_token_out *t, ps_mux_out *m, i32 v) {
    u8 x[4] = {(u8)v, (u8)((u32)v >> 8), (u8)((u32)v >> 16), (u8)((u32)v >> 24)};
    return put(t, m, x, 4);
}

u8 *token_out_room(ps_mux_out *m, size_t n) {
    u8 *p = mux_out_room(m, n + 4);
    if (!p) return NULL;
    for (int i = 0; i < 4; i++) p[i] = (u8)(n >> (8 * i));
    return p + 4;
}

void token_out_filled(ps_mux_out *m, size_t n) { mux_out_commit(m, n + 4); }

static int plain_literal(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n) {
    while (n) {
        size_t part = n < PS_TOKEN_RUN ? n : PS_TOKEN_RUN;
        u8 *to = token_out_room(m, part);
        if (!to) return ps_fail_memory(t->ctx, "output");
        memcpy(to, data, part);
        token_out_filled(m, part);
        data += part;
        n -= part;
    }
    return PS_OK;
}

/* ---- compressed bytes into chunks ---- */

static int put_chunk(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n) {
    u8 head[2] = {(u8)(FLAG_DEFLATED + (n >> 8)), (u8)n};
    int status = put(t, m, head, 2);
    return status == PS_OK ? put(t, m, data, n) : status;
}

/* Sends full chunks of what is packed but for its last `keep` bytes; with `all`, the rest too. */
static int send_packed(ps_token_out *t, ps_mux_out *m, size_t keep, bool all) {
    size_t at = 0, end = t->have > keep ? t->have - keep : 0;
    while (end - at >= CHUNK_MAX || (all && at < end)) {
        size_t n = end - at < CHUNK_MAX ? end - at : CHUNK_MAX;
        int status = put_chunk(t, m, t->packed + at, n);
        if (status != PS_OK) return status;
        at += n;
    }
    memmove(t->packed, t->packed + at, t->have - at);
    t->have -= at;
    return PS_OK;
}

static int pack_zlib(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n, bool flush) {
    t->z.next_in = (Bytef *)(uintptr_t)data;
    t->z.avail_in = (uInt)n;
    do {
        t->z.next_out = t->packed + t->have;
        t->z.avail_out = (uInt)(PACKED_SIZE - t->have);
        int r = deflate(&t->z, flush ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        if (r != Z_OK) return ps_fail(t->ctx, 12, 0, "deflate returned %d", r);
        t->have = PACKED_SIZE - t->z.avail_out;
        int status = send_packed(t, m, flush ? FLUSH_TAIL : 0, false);
        if (status != PS_OK) return status;
    } while (t->z.avail_in || t->z.avail_out == 0);
    if (!flush) return PS_OK;
    int status = send_packed(t, m, FLUSH_TAIL, true);
    t->have = 0;
    return status;
}

/* One call of the compressor with all of its input and output loops. */
static int zstd_run(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n, ZSTD_EndDirective how) {
    ZSTD_inBuffer in = {data, n, 0};
    size_t r;
    do {
        ZSTD_outBuffer out = {t->packed, PACKED_SIZE, t->have};
        r = ZSTD_compressStream2(t->zstd, &out, &in, how);
        if (ZSTD_isError(r)) return ps_fail(t->ctx, 12, 0, "ZSTD_compressStream returned %s", ZSTD_getErrorName(r));
        t->have = out.pos;
        int status = send_packed(t, m, 0, false);
        if (status != PS_OK) return status;
    } while (how == ZSTD_e_continue ? in.pos < in.size : r != 0);
    return how == ZSTD_e_continue ? PS_OK : send_packed(t, m, 0, true);
}

/* One frame lasts as long as the level stays the same: rsync's is the whole session. */
static int zstd_level_for_file(ps_token_out *t, ps_mux_out *m) {
    int level = t->compress ? t->level : t->least_level;
    if (level == t->zstd_level) return PS_OK;
    if (t->zstd_level != INT_MIN) {
        int status = zstd_run(t, m, NULL, 0, ZSTD_e_end);
        if (status != PS_OK) return status;
    }
    ZSTD_CCtx_setParameter(t->zstd, ZSTD_c_compressionLevel, level);
    t->zstd_level = level;
    return PS_OK;
}

static int pack_zstd(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n, bool flush) {
    int status = zstd_level_for_file(t, m);
    return status == PS_OK ? zstd_run(t, m, data, n, flush ? ZSTD_e_flush : ZSTD_e_continue) : status;
}

static int pack_lz4(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n) {
    int effort = t->compress ? 1 : LZ4_LEAST_EFFORT;
    while (n) {
        size_t part = n < CHUNK_MAX ? n : CHUNK_MAX;
        int got;
        for (;; part /= 2) { /* what does not shrink may not fit into a chunk */
            got = LZ4_compress_fast((const char *)data, (char *)t->packed, (int)part, (int)PACKED_SIZE, effort);
            if (got <= 0) return ps_fail(t->ctx, 12, 0, "compress returned %d", got);
            if ((u32)got <= CHUNK_MAX) break;
        }
        int status = put_chunk(t, m, t->packed, (size_t)got);
        if (status != PS_OK) return status;
        data += part;
        n -= part;
    }
    return PS_OK;
}

static int pack(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n, bool flush) {
    if (t->kind == PS_Z_LZ4) return pack_lz4(t, m, data, n);
    if (t->kind == PS_Z_ZSTD) return pack_zstd(t, m, data, n, flush);
    return pack_zlib(t, m, data, n, flush);
}

/* ---- tokens ---- */

static int put_run(ps_token_out *t, ps_mux_out *m) {
    u8 x[7];
    size_t n = 0;
    i32 distance = t->run_start - t->last_run_end, more = t->last_token - t->run_start;
    if (distance >= 0 && distance <= 63) {
        x[n++] = (u8)((more ? FLAG_TOKENRUN_REL : FLAG_TOKEN_REL) + distance);
    } else {
        x[n++] = more ? FLAG_TOKENRUN_LONG : FLAG_TOKEN_LONG;
        for (int i = 0; i < 4; i++) x[n++] = (u8)((u32)t->run_start >> (8 * i));
    }
    if (more) {
        x[n++] = (u8)more;
        x[n++] = (u8)(more >> 8);
    }
    t->last_run_end = t->last_token;
    return put(t, m, x, n);
}

int token_out_literal(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n) {
    if (!n) return PS_OK;
    if (t->kind == PS_Z_NONE) return plain_literal(t, m, data, n);
    if (t->last_token >= 0) {
        int status = put_run(t, m);
        if (status != PS_OK) return status;
    }
    t->last_token = DATA_TOKEN;
    t->flush_pending = true;
    while (n) { /* the compressors count in 32 bits */
        size_t part = n < (1u << 30) ? n : 1u << 30;
        int status = pack(t, m, data, part, false);
        if (status != PS_OK) return status;
        data += part;
        n -= part;
    }
    return PS_OK;
}

static int flush_literals(ps_token_out *t, ps_mux_out *m) {
    if (!t->flush_pending) return PS_OK;
    t->flush_pending = false;
    return pack(t, m, NULL, 0, true);
}

/* The receiver has the block in its window (token_in_see), so ours must have it too. The stream stands at a flush, where
 * zlib takes a dictionary into the history of a raw stream without any output. */
static int remember_block(ps_token_out *t, const u8 *data, size_t n) {
    if (!t->compress) return PS_OK; /* stored blocks refer to nothing */
    while (n) {
        size_t part = n < STORED_MAX ? n : STORED_MAX;
        int r = deflateSetDictionary(&t->z, data, (uInt)part);
        if (r != Z_OK) return ps_fail(t->ctx, 12, 0, "deflate on token returned %d (%zu bytes left)", r, n);
        if (t->ctx->o.protocol >= 31) data += part; /* older receivers see the first part again */
        n -= part;
    }
    return PS_OK;
}

int token_out_block(ps_token_out *t, ps_mux_out *m, i32 block, const u8 *data, size_t n) {
    if (t->kind == PS_Z_NONE) return put_i32(t, m, -(block + 1));
    int status = PS_OK;
    if (t->last_token < 0) {
        t->run_start = block;
    } else if (block != t->last_token + 1 || block - t->run_start >= RUN_MAX) {
        status = put_run(t, m);
        t->run_start = block;
    }
    t->last_token = block;
    if (status == PS_OK) status = flush_literals(t, m);
    if (status == PS_OK && t->kind == PS_Z_ZLIB) status = remember_block(t, data, n);
    return status;
}

int token_out_end(ps_token_out *t, ps_mux_out *m) {
    if (t->kind == PS_Z_NONE) return put_i32(t, m, 0);
    int status = t->last_token >= 0 ? put_run(t, m) : PS_OK;
    if (status == PS_OK) status = flush_literals(t, m);
    t->last_token = NO_TOKEN;
    u8 end = FLAG_END;
    return status == PS_OK ? put(t, m, &end, 1) : status;
}
