/* What an entry shares with the one before is left out: a listing's client never asks for one, and its list is held all the same. */
#include "filelist/packed.h"

enum {
    NEW_MODE = 1,
    NEW_OWNER = 2,
    NEW_DIR = 4,
    NEW_FLAGS = 8,
    WITH_NS = 16,
    WITH_EXTRA = 32,
    AT_MARK = 64 /* nothing is before it */
};
#define SIZE_BYTES 3 /* least lengths of a size and of a difference of times */
#define TIME_BYTES 3

static bool put_entry(ps_flist *l, const ps_file *f) {
    ps_buf *b = &l->packed;
    const ps_file *before = &l->packed_before;
    const ps_file_extra *x = file_extra(l, f);
    u32 head = l->packed_marked ? AT_MARK : 0;
    if (f->mode != before->mode) head |= NEW_MODE;
    if (f->uid != before->uid || f->gid != before->gid) head |= NEW_OWNER;
    if (f->dir != before->dir) head |= NEW_DIR;
    if (f->flags != before->flags) head |= NEW_FLAGS;
    if (f->mtime_ns) head |= WITH_NS;
    if (x) head |= WITH_EXTRA;
    u64 later = (u64)f->mtime - (u64)before->mtime;
    bool ok = buf_u8(b, (u8)head);
    if (head & NEW_MODE) ok = ok && buf_u32(b, f->mode);
    if (head & NEW_OWNER) ok = ok && buf_u32(b, f->uid) && buf_u32(b, f->gid);
    if (head & NEW_DIR) ok = ok && buf_varint(b, (i32)f->dir);
    if (head & NEW_FLAGS) ok = ok && buf_u16(b, f->flags);
    /* The difference's sign goes into its lowest bit, so that a small one stays short. */
    ok = ok && buf_varlong(b, f->size, SIZE_BYTES) && buf_varlong(b, (i64)(later << 1 ^ (0 - (later >> 63))), TIME_BYTES);
    if (head & WITH_NS) ok = ok && buf_u32(b, f->mtime_ns);
    ok = ok && buf_varint(b, f->name_len) && buf_put(b, file_name(l, f), f->name_len);
    if (x) {
        u32 n = x->link == PS_NO_OFFSET ? 0 : x->link_len;
        ok = ok && buf_u32(b, x->rdev_major) && buf_u32(b, x->rdev_minor) && buf_u32(b, n);
        if (n) ok = ok && buf_put(b, arena_at(&l->names, x->link), n);
    }
    l->packed_before = *f;
    l->packed_marked = false;
    return ok;
}

bool flist_pack(ps_flist *l) {
    u32 n = l->count - l->packed_count;
    for (u32 i = 0; i < n; i++)
        if (!put_entry(l, &l->files[i])) return false;
    l->packed_count = l->count;
    l->names.len = 0;
    l->extra_count = 0;
    return true;
}

packed_cursor flist_packed_mark(ps_flist *l) {
    l->packed_before = (ps_file){0};
    l->packed_marked = true;
    return (packed_cursor){.at = buf_used(&l->packed)};
}

bool flist_packed_next(const ps_flist *l, packed_cursor *c, packed_entry *e) {
    size_t used = buf_used(&l->packed);
    if (c->at >= used) return false;
    ps_reader r = rd_make(buf_head(&l->packed) + c->at, used - c->at);
    u32 head = rd_u8(&r);
    if (head & AT_MARK) c->before = (ps_file){0};
    ps_file f = c->before;
    if (head & NEW_MODE) f.mode = rd_u32(&r);
    if (head & NEW_OWNER) {
        f.uid = rd_u32(&r);
        f.gid = rd_u32(&r);
    }
    if (head & NEW_DIR) f.dir = (u32)rd_varint(&r);
    if (head & NEW_FLAGS) f.flags = rd_u16(&r);
    f.size = rd_varlong(&r, SIZE_BYTES);
    u64 later = (u64)rd_varlong(&r, TIME_BYTES);
    f.mtime = (i64)((u64)f.mtime + (later >> 1 ^ (0 - (later & 1))));
    f.mtime_ns = head & WITH_NS ? rd_u32(&r) : 0;
    f.name_len = (u16)rd_varint(&r);
    f.extra = PS_NO_EXTRA;
    *e = (packed_entry){.file = f, .name = (const char *)rd_bytes(&r, f.name_len)};
    if (head & WITH_EXTRA) {
        e->rdev_major = rd_u32(&r);
        e->rdev_minor = rd_u32(&r);
        e->link_len = rd_u32(&r);
        e->link = (const char *)rd_bytes(&r, e->link_len);
    }
    c->before = f;
    c->at = used - rd_left(&r);
    return rd_ok(&r);
}

static bool take_entry(ps_flist *l, const packed_entry *e) {
    ps_file *f = flist_push(l);
    if (!f) return false;
    *f = e->file;
    if ((f->name = arena_put(&l->names, e->name, f->name_len)) == PS_NO_OFFSET) return false;
    if (!e->link) return true;
    ps_file_extra *x = flist_push_extra(l, f);
    if (!x) return false;
    x->rdev_major = e->rdev_major;
    x->rdev_minor = e->rdev_minor;
    if (!S_ISLNK(f->mode)) return true;
    x->link = arena_put(&l->names, e->link, e->link_len);
    x->link_len = e->link_len;
    return x->link != PS_NO_OFFSET;
}

bool flist_unpack(ps_flist *l) {
    if (!flist_pack(l)) return false; /* what came last, behind the others */
    u32 count = l->count;
    packed_cursor c = {0};
    packed_entry e;
    l->count = l->packed_count = 0;
    while (flist_packed_next(l, &c, &e))
        if (!take_entry(l, &e)) return false;
    buf_free(&l->packed);
    return l->count == count;
}
