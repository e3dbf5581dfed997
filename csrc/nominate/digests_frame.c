#include "nominate/digests_frame.h"

#include "api/frames_api.h"

void digests_put_start(ps_buf *b, u32 id) {
    buf_u8(b, PS_FRAME_DIGESTS);
    buf_u32(b, id);
}

const char *digests_start(ps_reader *r, u32 *id) {
    *id = rd_u32(r);
    return rd_ok(r) ? NULL : "it has no id";
}

void digests_put(ps_buf *b, const digests_part *p) {
    buf_u8(b, p->kind);
    buf_u32(b, p->entry);
    if (p->kind != DIGESTS_HEAD) {
        buf_u32(b, p->first);
        buf_u16(b, p->count);
        buf_put(b, p->records, p->count * digests_record_bytes(p->kind));
        return;
    }
    buf_u8(b, p->status);
    if (p->status != DIGESTS_OK) return;
    buf_u64(b, p->size);
    buf_u64(b, (u64)p->mtime);
    buf_u32(b, p->mtime_ns);
    buf_u8(b, p->digest_kind);
    buf_put(b, p->root, DIGESTS_PIECE_BYTES);
}

const char *digests_next(ps_reader *r, digests_part *p) {
    *p = (digests_part){.kind = rd_u8(r)};
    p->entry = rd_u32(r);
    switch (p->kind) {
    case DIGESTS_HEAD:
        p->status = rd_u8(r);
        if (!rd_ok(r)) return "a head ends too early";
        if (p->status != DIGESTS_OK) return NULL;
        p->size = rd_u64(r);
        p->mtime = (i64)rd_u64(r);
        p->mtime_ns = rd_u32(r);
        p->digest_kind = rd_u8(r);
        p->root = rd_bytes(r, DIGESTS_PIECE_BYTES);
        return p->root ? NULL : "a head ends too early";
    case DIGESTS_PIECES:
    case DIGESTS_BLOCKS:
        p->first = rd_u32(r);
        p->count = rd_u16(r);
        p->records = rd_bytes(r, p->count * digests_record_bytes(p->kind));
        return p->records ? NULL : "a part ends too early";
    default: return rd_ok(r) ? "an unknown part" : "a part ends too early";
    }
}
