/* Bytes and numbers: the bounds-checked reader, growable buffers, an arena for strings, rsync's variable-length numbers. */
#ifndef PS_BYTES_H
#define PS_BYTES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>

#include "core/limits.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

#define PS_LIKELY(x) __builtin_expect(!!(x), 1)
#define PS_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PS_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- reader: the only way bytes from a remote are looked at --------------------------------
 * All rd_* return 0 (or NULL) and set `need` when the bytes are not there yet, or `bad` when the
 * value is malformed. Decode one record, then test the flags once; on `need` go back to the mark
 * and try again with more input. */
typedef struct ps_reader {
    const u8 *p, *end;
    bool need, bad;
} ps_reader;

static inline ps_reader rd_make(const void *data, size_t len) {
    const u8 *p = data;
    ps_reader r = {p, len ? p + len : p, false, false}; /* not even 0 may be added to NULL */
    return r;
}
static inline size_t rd_left(const ps_reader *r) { return (size_t)(r->end - r->p); }
static inline bool rd_ok(const ps_reader *r) { return !(r->need | r->bad); }
static inline const u8 *rd_bytes(ps_reader *r, size_t n) {
    if (PS_UNLIKELY(r->need | r->bad) || PS_UNLIKELY(rd_left(r) < n)) {
        r->need = true;
        return NULL;
    }
    const u8 *at = r->p;
    r->p += n;
    return at;
}
static inline u8 rd_u8(ps_reader *r) {
    const u8 *b = rd_bytes(r, 1);
    return b ? b[0] : 0;
}
static inline u16 rd_u16(ps_reader *r) {
    const u8 *b = rd_bytes(r, 2);
    return (u16)(b ? (u32)b[0] | (u32)b[1] << 8 : 0u);
}
static inline u32 rd_u32(ps_reader *r) {
    const u8 *b = rd_bytes(r, 4);
    return b ? (u32)b[0] | (u32)b[1] << 8 | (u32)b[2] << 16 | (u32)b[3] << 24 : 0;
}
static inline i32 rd_i32(ps_reader *r) { return (i32)rd_u32(r); }
static inline u64 rd_u64(ps_reader *r) {
    u64 lo = rd_u32(r);
    return lo | (u64)rd_u32(r) << 32;
}
/* io.c:read_varint, read_varlong(min_bytes), read_longint, read_varint30 (protocol < 30: 4 bytes) */
i32 rd_varint(ps_reader *r);
i64 rd_varlong(ps_reader *r, int min_bytes);
i64 rd_longint(ps_reader *r);
i32 rd_varint30(ps_reader *r, int protocol);
i64 rd_varlong30(ps_reader *r, int protocol, int min_bytes);
/* io.c:read_vstring: length in 1 or 2 bytes; at most `limit` bytes, else bad. */
const u8 *rd_vstring(ps_reader *r, size_t limit, size_t *len);

/* ---- growable buffer --------------------------------------------------------------------- */
typedef struct ps_buf {
    u8 *data;
    size_t start, len, cap; /* readable bytes: data[start .. len) */
    bool failed;            /* an allocation failed: contents incomplete */
} ps_buf;

void buf_free(ps_buf *b);
bool buf_reserve(ps_buf *b, size_t more); /* room for `more` bytes after len; compacts consumed bytes */
static inline size_t buf_used(const ps_buf *b) { return b->len - b->start; }
static inline u8 *buf_head(const ps_buf *b) { return b->start ? b->data + b->start : b->data; }
static inline void buf_consume(ps_buf *b, size_t n) {
    b->start += n;
    if (b->start >= b->len) b->start = b->len = 0;
}
static inline void buf_clear(ps_buf *b) { b->start = b->len = 0; }
static inline bool buf_put(ps_buf *b, const void *data, size_t n) {
    if (PS_UNLIKELY(b->cap - b->len < n) && !buf_reserve(b, n)) return false;
    if (n) memcpy(b->data + b->len, data, n);
    b->len += n;
    return true;
}
static inline bool buf_u8(ps_buf *b, u8 v) { return buf_put(b, &v, 1); }
static inline bool buf_u16(ps_buf *b, u16 v) {
    u8 x[2] = {(u8)v, (u8)(v >> 8)};
    return buf_put(b, x, 2);
}
static inline bool buf_u32(ps_buf *b, u32 v) {
    u8 x[4] = {(u8)v, (u8)(v >> 8), (u8)(v >> 16), (u8)(v >> 24)};
    return buf_put(b, x, 4);
}
static inline bool buf_i32(ps_buf *b, i32 v) { return buf_u32(b, (u32)v); }
static inline bool buf_u64(ps_buf *b, u64 v) { return buf_u32(b, (u32)v) && buf_u32(b, (u32)(v >> 32)); }
bool buf_varint(ps_buf *b, i32 v);                 /* io.c:write_varint */
bool buf_varlong(ps_buf *b, i64 v, int min_bytes); /* io.c:write_varlong */
bool buf_longint(ps_buf *b, i64 v);                /* io.c:write_longint */
bool buf_varint30(ps_buf *b, int protocol, i32 v);
bool buf_varlong30(ps_buf *b, int protocol, i64 v, int min_bytes);
bool buf_vstring(ps_buf *b, const void *s, size_t n); /* n <= 0x7fff */
bool buf_printf(ps_buf *b, const char *fmt, ...) PS_PRINTF(2, 3);
bool buf_vprintf(ps_buf *b, const char *fmt, va_list args) PS_PRINTF(2, 0);

/* ---- arena: strings that live as long as their owner. Offsets stay valid when it grows; pointers do not. */
typedef struct ps_arena {
    char *data;
    size_t len, cap;
} ps_arena;
#define PS_NO_OFFSET UINT32_MAX
u32 arena_put(ps_arena *a, const void *s, size_t n); /* appends n bytes and a NUL; PS_NO_OFFSET when it cannot */
void arena_free(ps_arena *a);
static inline const char *arena_at(const ps_arena *a, u32 off) { return a->data + off; }

/* ---- ndx coding, io.c:read_ndx / write_ndx: one state per direction ----------------------- */
typedef struct ps_ndx_state {
    i32 prev_positive, prev_negative;
} ps_ndx_state;
static inline ps_ndx_state ndx_state_make(void) {
    ps_ndx_state s = {-1, 1};
    return s;
}
i32 rd_ndx(ps_reader *r, ps_ndx_state *s, int protocol); /* on `need` the state is untouched */
bool buf_ndx(ps_buf *b, ps_ndx_state *s, int protocol, i32 ndx);

#endif
