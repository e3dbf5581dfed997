#include "core/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reader ------------------------------------------------------------------------------ */

/* Extra bytes that follow the first byte of a varint, by its upper six bits (io.c:int_byte_extra). */
static int varint_extra(u8 first) {
    if (first < 0x80) return 0;
    if (first < 0xC0) return 1;
    if (first < 0xE0) return 2;
    if (first < 0xF0) return 3;
    if (first < 0xF8) return 4;
    if (first < 0xFC) return 5;
    return 6;
}

i32 rd_varint(ps_reader *r) {
    u8 first = rd_u8(r);
    if (!rd_ok(r)) return 0;
    int extra = varint_extra(first);
    if (extra == 0) return first;
    if (extra > 4) {
        r->bad = true;
        return 0;
    }
    const u8 *b = rd_bytes(r, (size_t)extra);
    if (!b) return 0;
    u64 v = 0;
    for (int i = 0; i < extra; i++) v |= (u64)b[i] << (8 * i);
    v |= (u64)(first & ((1u << (8 - extra)) - 1)) << (8 * extra);
    return (i32)(u32)v;
}

i64 rd_varlong(ps_reader *r, int min_bytes) {
    const u8 *head = rd_bytes(r, (size_t)min_bytes);
    if (!head) return 0;
    u8 first = head[0];
    int extra = varint_extra(first);
    if (min_bytes + extra > 9) {
        r->bad = true;
        return 0;
    }
    u64 v = 0;
    for (int i = 1; i < min_bytes; i++) v |= (u64)head[i] << (8 * (i - 1));
    if (extra) {
        const u8 *more = rd_bytes(r, (size_t)extra);
        if (!more) return 0;
        for (int i = 0; i < extra; i++) v |= (u64)more[i] << (8 * (min_bytes - 1 + i));
        int at = 8 * (min_bytes + extra - 1);
        if (at < 64) v |= (u64)(first & ((1u << (8 - extra)) - 1)) << at;
    } else {
        v |= (u64)first << (8 * (min_bytes - 1));
    }
    return (i64)v;
}

i64 rd_longint(ps_reader *r) {
    i32 low = rd_i32(r);
    if (low != -1) return low;
    return (i64)rd_u64(r);
}

i32 rd_varint30(ps_reader *r, int protocol) { return protocol < 30 ? rd_i32(r) : rd_varint(r); }

i64 rd_varlong30(ps_reader *r, int protocol, int min_bytes) {
    return protocol < 30 ? rd_longint(r) : rd_varlong(r, min_bytes);
}

const u8 *rd_vstring(ps_reader *r, size_t limit, size_t *len) {
    *len = 0;
    size_t n = rd_u8(r);
    if (n & 0x80) n = (n & 0x7f) << 8 | rd_u8(r);
    if (!rd_ok(r)) return NULL;
    if (n > limit) {
        r->bad = true;
        return NULL;
    }
    const u8 *s = rd_bytes(r, n);
    if (s) *len = n;
    return s;
}

/* ---- buffer ------------------------------------------------------------------------------ */

void buf_free(ps_buf *b) {
    free(b->data);
    *b = (ps_buf){0};
}

bool buf_reserve(ps_buf *b, size_t more) {
    if (b->cap - b->len >= more) return true;
    if (b->start && b->cap - (b->len - b->start) >= more && b->start >= b->cap / 2) {
        memmove(b->data, b->data + b->start, b->len - b->start);
        b->len -= b->start;
        b->start = 0;
        return true;
    }
    if (more > SIZE_MAX / 4 || b->len > SIZE_MAX / 4) {
        b->failed = true;
        return false;
    }
    size_t cap = b->cap ? b->cap : 256;
    while (cap - b->len < more) cap *= 2;
    u8 *grown = realloc(b->data, cap);
    if (!grown) {
        b->failed = true;
        return false;
    }
    b->data = grown;
    b->cap = cap;
    return true;
}

bool buf_varint(ps_buf *b, i32 value) {
    u8 out[5] = {0};
    u32 v = (u32)value;
    int count = 4;
    for (int i = 0; i < 4; i++) out[i + 1] = (u8)(v >> (8 * i));
    while (count > 1 && out[count] == 0) count--;
    u8 bit = (u8)(1u << (8 - count));
    if (out[count] >= bit) {
        out[0] = (u8)~(bit - 1);
        return buf_put(b, out, (size_t)count + 1);
    }
    out[0] = count > 1 ? (u8)(out[count] | (u8) ~(bit * 2 - 1)) : out[1];
    return buf_put(b, out, (size_t)count);
}

bool buf_varlong(ps_buf *b, i64 value, int min_bytes) {
    u8 out[9] = {0};
    u64 v = (u64)value;
    int count = 8;
    for (int i = 0; i < 8; i++) out[i + 1] = (u8)(v >> (8 * i));
    while (count > min_bytes && out[count] == 0) count--;
    u8 bit = (u8)(1u << (7 - count + min_bytes));
    if (out[count] >= bit) {
        out[0] = (u8)~(bit - 1);
        return buf_put(b, out, (size_t)count + 1);
    }
    out[0] = count > min_bytes ? (u8)(out[count] | (u8) ~(bit * 2 - 1)) : out[count];
    return buf_put(b, out, (size_t)count);
}

bool buf_longint(ps_buf *b, i64 v) {
    if (v >= 0 && v <= 0x7fffffff) return buf_i32(b, (i32)v);
    return buf_i32(b, -1) && buf_u64(b, (u64)v);
}

bool buf_varint30(ps_buf *b, int protocol, i32 v) { return protocol < 30 ? buf_i32(b, v) : buf_varint(b, v); }

bool buf_varlong30(ps_buf *b, int protocol, i64 v, int min_bytes) {
    return protocol < 30 ? buf_longint(b, v) : buf_varlong(b, v, min_bytes);
}

bool buf_vstring(ps_buf *b, const void *s, size_t n) {
    if (n > 0x7fff) return false;
    if (n > 0x7f && !buf_u8(b, (u8)(n >> 8 | 0x80))) return false;
    return buf_u8(b, (u8)n) && buf_put(b, s, n);
}

bool buf_vprintf(ps_buf *b, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0 || !buf_reserve(b, (size_t)n + 1)) return false;
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, args);
    b->len += (size_t)n;
    return true;
}

bool buf_printf(ps_buf *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    bool ok = buf_vprintf(b, fmt, args);
    va_end(args);
    return ok;
}

/* ---- arena ------------------------------------------------------------------------------- */

u32 arena_put(ps_arena *a, const void *s, size_t n) {
    if (a->len + n + 1 > PS_LIMIT_LIST_ARENA) return PS_NO_OFFSET;
    if (a->cap - a->len < n + 1) {
        size_t cap = a->cap ? a->cap : 1024;
        while (cap - a->len < n + 1) cap *= 2;
        char *grown = realloc(a->data, cap);
        if (!grown) return PS_NO_OFFSET;
        a->data = grown;
        a->cap = cap;
    }
    u32 at = (u32)a->len;
    if (n) memcpy(a->data + at, s, n);
    a->data[at + n] = 0;
    a->len += n + 1;
    return at;
}

void arena_free(ps_arena *a) {
    free(a->data);
    *a = (ps_arena){0};
}

/* ---- ndx --------------------------------------------------------------------------------- */

i32 rd_ndx(ps_reader *r, ps_ndx_state *s, int protocol) {
    if (protocol < 30) return rd_i32(r);
    u8 first = rd_u8(r);
    if (!rd_ok(r) || first == 0) return -1; /* 0 is NDX_DONE */
    bool negative = first == 0xFF;
    u8 b = negative ? rd_u8(r) : first;
    i32 previous = negative ? s->prev_negative : s->prev_positive, value;
    if (b == 0xFE) {
        const u8 *two = rd_bytes(r, 2);
        if (!two) return 0;
        if (two[0] & 0x80) {
            const u8 *more = rd_bytes(r, 2);
            if (!more) return 0;
            value = (i32)((u32)two[1] | (u32)more[0] << 8 | (u32)more[1] << 16 | (u32)(two[0] & 0x7f) << 24);
        } else {
            value = (i32)(((u32)two[0] << 8 | two[1]) + (u32)previous);
        }
    } else {
        value = (i32)((u32)b + (u32)previous);
    }
    if (!rd_ok(r)) return 0;
    if (negative) {
        s->prev_negative = value;
        return (i32)(0u - (u32)value);
    }
    s->prev_positive = value;
    return value;
}

bool buf_ndx(ps_buf *b, ps_ndx_state *s, int protocol, i32 ndx) {
    if (protocol < 30) return buf_i32(b, ndx);
    if (ndx == -1) return buf_u8(b, 0);
    i32 value = ndx, diff;
    if (ndx >= 0) {
        diff = value - s->prev_positive;
        s->prev_positive = value;
    } else {
        value = -ndx;
        diff = value - s->prev_negative;
        s->prev_negative = value;
        if (!buf_u8(b, 0xFF)) return false;
    }
    if (diff < 0xFE && diff > 0) return buf_u8(b, (u8)diff);
    if (diff < 0 || diff > 0x7FFF) {
        u8 x[5] = {0xFE, (u8)((u32)value >> 24 | 0x80), (u8)value, (u8)(value >> 8), (u8)(value >> 16)};
        return buf_put(b, x, 5);
    }
    u8 x[3] = {0xFE, (u8)(diff >> 8), (u8)diff};
    return buf_put(b, x, 3);
}
