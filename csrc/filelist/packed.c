/* What an entry shares with the one before is left out: a listing's client never asks for one, and its list is held all the same. */
#include "filelist/packed.h"

#include <stdlib.h>

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
#define PACKED_ROOM (256u * 1024u)

static void remember(packed_before *p, const ps_file *f, const char *name) {
    p->file = *f;
    p->name_len = f->name_len < PS_PACKED_SHARED ? f->name_len : PS_PACKED_SHARED;
    memcpy(p->name, name, p->name_len);
}

static bool put_name(ps_buf *b, const packed_before *before, const char *name, u32 len) {
    u32 most = len < before->name_len ? len : before->name_len, shared = 0;
    while (shared < most && name[shared] == before->name[shared]) shared++;
    return buf_u8(b, (u8)shared) && buf_varint(b, (i32)(len - shared)) && buf_put(b, name + shared, len - shared);
}

static bool put_entry(ps_flist *l, const ps_file *f) {
    ps_buf *b = &l->packed;
    const packed_before *p = l->packed_last;
    const ps_file *before = &p->file;
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
    ok = ok && put_name(b, p, file_name(l, f), f->name_len);
    if (x) {
        u32 n = x->link == PS_NO_OFFSET ? 0 : x->link_len;
        ok = ok && buf_u32(b, x->rdev_major) && buf_u32(b, x->rdev_minor) && buf_u32(b, n);
        if (n) ok = ok && buf_put(b, arena_at(&l->names, x->link), n);
    }
    remember(l->packed_last, f, file_name(l, f));
    l->packed_marked = false;
    return ok;
}

bool flist_pack(ps_flist *l) {
    u32 n = l->count - l->packed_count;
    if (n && !l->packed_last && !(l->packed_last = calloc(1, sizeof *l->packed_last))) return false;
    /* What is not used of it is no memory; growing from a small one, through the heap, leaves holes there. */
    if (n && !l->packed_count && !buf_reserve(&l->packed, PACKED_ROOM)) return false;
    for (u32 i = 0; i < n; i++)
        if (!put_entry(l, &l->files[i])) return false;
    l->packed_count = l->count;
    l->names.len = 0;
    l->extra_count = 0;
    return true;
}

packed_cursor flist_packed_mark(ps_flist *l) {
    if (l->packed_last) *l->packed_last = (packed_before){0};
    l->packed_marked = true;
    return (packed_cursor){.at = buf_used(&l->packed)};
}

/* false: it does not fit, which no name that was packed does. */
static bool read_name(ps_reader *r, const packed_before *before, packed_entry *e) {
    u32 shared = rd_u8(r), own = (u32)rd_varint(r);
    const u8 *rest = rd_bytes(r, own);
    if (!rest || shared > before->name_len || own > PS_LIMIT_NAME - shared) return false;
    memcpy(e->name, before->name, shared);
    memcpy(e->name + shared, rest, own);
    e->file.name_len = (u16)(shared + own);
    e->name[e->file.name_len] = 0;
    return true;
}

bool flist_packed_next(const ps_flist *l, packed_cursor *c, packed_entry *e) {
    size_t used = buf_used(&l->packed);
    if (c->at >= used) return false;
    ps_reader r = rd_make(buf_head(&l->packed) + c->at, used - c->at);
    u32 head = rd_u8(&r);
    if (head & AT_MARK) c->before = (packed_before){0};
    ps_file *f = &e->file;
    *f = c->before.file;
    if (head & NEW_MODE) f->mode = rd_u32(&r);
    if (head & NEW_OWNER) {
        f->uid = rd_u32(&r);
        f->gid = rd_u32(&r);
    }
    if (head & NEW_DIR) f->dir = (u32)rd_varint(&r);
    if (head & NEW_FLAGS) f->flags = rd_u16(&r);
    f->size = rd_varlong(&r, SIZE_BYTES);
    u64 later = (u64)rd_varlong(&r, TIME_BYTES);
    f->mtime = (i64)((u64)f->mtime + (later >> 1 ^ (0 - (later & 1))));
    f->mtime_ns = head & WITH_NS ? rd_u32(&r) : 0;
    f->extra = PS_NO_EXTRA;
    if (!read_name(&r, &c->before, e)) return false;
    e->link = NULL;
    if (head & WITH_EXTRA) {
        e->rdev_major = rd_u32(&r);
        e->rdev_minor = rd_u32(&r);
        e->link_len = rd_u32(&r);
        e->link = (const char *)rd_bytes(&r, e->link_len);
    }
    remember(&c->before, f, e->name);
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
    free(l->packed_last);
    l->packed_last = NULL;
    return l->count == count;
}
